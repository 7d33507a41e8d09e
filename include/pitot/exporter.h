/*
 * exporter: the exporting process (RFC 5470 §5.3) without its thread: records in, messages out.
 *
 * One struct exporter has all collectors; each has its own format, templates, sequence and transport, and
 * none can harm another.  Time is an argument.  It is driven by one thread; exporter_get_stats() may be
 * called by that thread only.
 */
#ifndef PITOT_EXPORTER_H
#define PITOT_EXPORTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pitot/clock.h"
#include "pitot/collector.h"
#include "pitot/counters.h"
#include "pitot/diag.h"
#include "pitot/flow_record.h"
#include "pitot/interface.h"
#include "pitot/packet_sample.h"
#include "pitot/sections.h"
#include "pitot/totals.h"
#include "pitot/transport.h"
#include "pitot/waiting.h"

/* Which collectors of those that are hosts get a record. */
enum collector_group {
	COLLECTOR_GROUP_REPLICATE, /* all */
	COLLECTOR_GROUP_FAILOVER,  /* the first that is up */
	COLLECTOR_GROUP_HASH, /* one, by the flow's addresses, ports and protocol, whatever its direction */
};

struct format_ops;

/* How packets were selected (RFC 5476 §6.5.2). */
struct export_sampling {
	uint16_t algorithm; /* IANA psamp-parameters, selectorAlgorithm; 0: every packet, which is 3 with 1 of
			       1 */
	uint32_t interval;  /* one of so many; 0 and 1: all */
	/* polite mode: 0 and 1 up to this; k takes one packet of 2^k.  0: there is one selector for all */
	unsigned n_selectors;
	uint32_t hash_initial, hash_limit; /* of a hash selector: selected is what is below the limit */
};

struct exporter_config {
	const struct collector_config *collectors;
	unsigned n_collectors;
	struct transport_config transport; /* template: collector is set for each */
	/* Of each: shared with a process that may follow, or left by the one before (transport.again).  May
	 * be NULL. */
	struct transport_mark *marks;
	/* With transport.again: what the process before counted of each. */
	const struct collector_stats *earlier;
	/* Opens the transport of each, in their order; NULL: transport_open(), by its kind. */
	int (*open_transport)(void *ctx, struct transport **tp, const struct transport_config *config,
			      struct diag *diag);
	void *open_ctx;
	const struct format_ops *const *formats; /* by enum export_format; NULL: those that there are */
	const struct waiting *waiting; /* where collectors are waited for; NULL: as time really passes */
	enum collector_group group;    /* of the collectors that are hosts; files get every record */
	uint64_t stop_ns; /* how long exporter_finish() waits for collectors to take what is left */
	/* Whoever asks for the end writes it: nothing is waited for beyond that instant of waiting's clock.
	 * UINT64_MAX, or no such word: open. */
	const _Atomic uint64_t *stop_by_ns;
	const _Atomic bool *cut_short; /* what files have is not all; NULL: it is */

	uint32_t domain;	    /* observation domain id, source id, engine */
	uint64_t template_ns;	    /* refresh by time */
	uint32_t template_messages; /* and by count */
	uint64_t stats_ns;	    /* period of the statistics options (RFC 7011 §4); 0: template_ns */
	uint64_t flush_ns;	    /* a partly filled message leaves after this long */
	struct export_sampling sampling;
	uint64_t active_ns; /* announced with the sampling option */
	uint64_t inactive_ns;

	struct record_layout layout; /* of the records; all zero: the core alone */
	const char *fields;	     /* --fields; NULL: the standard list of fields.def */
	uint32_t flow_key;	     /* enum flow_key_extra bits, for the flow keys option */
	bool key_interface; /* likewise: several interfaces are captured, and records are apart by them */
	bool opens_tunnels; /* elements of the outer packet may be known */
	bool has_ethernet;  /* MAC and VLAN are known: they are in the standard list */
	bool has_direction; /* flowDirection is known */
	unsigned top; /* flows, hosts and ports that exporter_print_top() tells of; 0: none are counted */
	bool offline; /* clocks follow the records: see export_clock */

	const struct export_interface *interfaces;
	unsigned n_interfaces;
	/* sFlow: by what a collector knows the agent, whatever interfaces come and go */
	struct export_agent {
		uint8_t family; /* 4 or 6; 0: 0.0.0.0 */
		uint8_t address[16];
	} agent;
	uint64_t start_ns; /* realtime when the process began */
	uint64_t start_monotonic_ns;
};

enum { EXPORT_SELECTORS = 11 };
enum flow_key_extra { FLOW_KEY_TOS = 1, FLOW_KEY_VLAN = 2, FLOW_KEY_MAC = 4, FLOW_KEY_TUNNEL = 8 };

/*
 * One collector's ledger: each record of the exporter that is meant for it counts once here.
 *
 *   taken = sent + lost + unfit + pending	in records, and in the packets and octets that they tell of
 */
struct collector_stats {
	const char *url;
	bool is_file;
	bool unnamed;  /* a file that is complete, and has not got its name */
	bool reliable; /* the collector has what was sent, or it is lost */
	bool takes;    /* flow records: not only samples */
	bool shares;   /* a record goes to one of several, and this is one of them */
	struct totals taken;
	uint64_t messages, octets;
	struct totals sent; /* in messages that were handed to the system */
	/* In the same messages, beside it: records of sliced flows (blocks.h), and the packets and octets
	 * that these were given for those that nobody counted. */
	struct totals estimated;
	struct totals pending; /* in messages that are not full or not sent yet; at the end: left in the
				  spool */
	uint32_t sequence;     /* of the next message; of some formats it counts records */
	bool sequence_of_records;
	struct totals open;	 /* of those: in a message that is not full, and is nowhere else */
	uint64_t resent_records; /* beside those: again in a later session, or for an earlier run */
	/* --spool: system calls that failed; of an earlier run: records dropped, octets that were torn */
	uint64_t spool_errors, spool_dropped_records, spool_torn_octets;
	uint64_t sessions;
	uint64_t templates; /* template and options template records sent */
	uint64_t option_records;
	struct totals lost;  /* not sent: transport */
	struct totals unfit; /* the format cannot carry them: IPv6 in NetFlow v5 */
	uint64_t samples; /* packet samples and counter samples in messages that were handed to the system */
	uint64_t lost_samples;	/* not sent */
	uint64_t unfit_samples; /* longer than a message */
	uint64_t saturated;	/* values that did not fit their field */
	uint64_t errors;
	int last_error;		/* errno */
	const char *last_cause; /* static text that says it better; NULL: strerror(last_error) does */
	char reason[192];	/* and what says it best; "" none */
	bool has_cause;		/* there was a last_cause, where it is in reason by now */
	enum transport_state state;
};

/* Why the last error was. */
const char *collector_cause(const struct collector_stats *c);

/* What not one of them was sent: by the ledger of the one that lost least, or of all that share. */
struct totals collectors_not_sent(const struct collector_stats *c, unsigned n);
/* What was estimated of what they were sent: by the one that was sent most, or all that share. */
struct totals collectors_estimated(const struct collector_stats *c, unsigned n);

struct exporter_stats {
	struct totals taken;
	uint64_t unwanted; /* records that no collector takes: there is none, or all are for samples */
	uint64_t exported; /* records that were sent, or are pending */
	/* by the ledger of the collector that lost least: exported + not_sent + unwanted = taken */
	struct totals not_sent;
	uint64_t dropped;	 /* of those: by exporter_drop() */
	struct totals estimated; /* of the collector that was sent most */
};

/* What other processes know and the statistics options report; totals since start. */
struct export_process_facts {
	uint64_t observed_packets[EXPORT_SELECTORS],
		selected_packets[EXPORT_SELECTORS]; /* by the selectors */
	uint64_t ignored_packets, ignored_octets;   /* by the metering process */
	uint64_t first_ignored_ns, last_ignored_ns;
	uint64_t dropped_packets; /* by the kernel, before the metering process */
	struct totals lost;	  /* between metering and exporter: full ring */
};

/* A template that a collector is sent, for those who look on. */
enum { EXPORT_TEMPLATE_FIELDS = 64 };
struct export_template {
	uint32_t there; /* 0: there are not so many */
	uint16_t id, n_fields;
	uint16_t n_scope; /* the first fields are the scope: options data */
	struct export_template_field {
		char name[54];
		uint16_t id, length;
		uint32_t pen;
	} fields[EXPORT_TEMPLATE_FIELDS];
};

struct exporter;

int exporter_new(struct exporter **ep, const struct exporter_config *config, struct diag *diag);
/* One record to every collector. */
void exporter_record(struct exporter *e, const struct flow_record *r, const struct clock_time *now);
/* The same of a packet sample and of counters: formats that have a door for them. */
void exporter_sample(struct exporter *e, const struct packet_sample *s, const struct clock_time *now);
void exporter_counters(struct exporter *e, const struct interface_counters *n, const struct clock_time *now);
/* One record that collectors will not get: its sequence numbers show them. */
void exporter_drop(struct exporter *e, const struct flow_record *r, const struct clock_time *now);
/* Timers: refresh templates, flush partly filled messages, connect.  Call every 20 ms while anything comes.
 */
void exporter_tick(struct exporter *e, const struct clock_time *now);
/*
 * When the next tick is of use (monotonic), if nothing is handed over or asked before; 0: something is under
 * way. What collectors say meanwhile is heard whenever a tick comes, so some should.
 */
uint64_t exporter_due_ns(const struct exporter *e);
/* SIGHUP: templates again, names resolved again. */
void exporter_refresh(struct exporter *e, const struct clock_time *now);
/* The interfaces are these now; collectors are told.  0, or -ENOMEM: as before. */
int exporter_set_interfaces(struct exporter *e, const struct export_interface *interfaces, unsigned n);
/* Links, addresses or routes of this host have changed. */
void exporter_network_changed(struct exporter *e);
/* What of the configuration may change at any time. */
struct exporter_periods {
	uint64_t template_ns;
	uint32_t template_messages;
	uint64_t stats_ns, flush_ns;
	uint64_t active_ns, inactive_ns; /* announced */
};
/* From now on; templates and options are sent again. */
void exporter_set_periods(struct exporter *e, const struct exporter_periods *periods,
			  const struct clock_time *now);
/* Sends what is pending and closes.  Statistics stay readable until exporter_free(). */
void exporter_finish(struct exporter *e, const struct clock_time *now);
void exporter_free(struct exporter *e);
/* --top, of all records, line by line. */
void exporter_print_top(struct exporter *e, void (*print)(void *ctx, const char *line), void *ctx);
/*
 * Before a tick.  lost records also move the sequence numbers, so that collectors see them (RFC 7011
 * §10.3.2); they are the caller's loss and in none of the statistics here.
 */
void exporter_set_facts(struct exporter *e, const struct export_process_facts *facts);

/*
 * Polite mode: packets are selected by this one of sampling.n_selectors from now on.  Collectors are told,
 * with statistics: records that wait have their own selector.
 */
void exporter_set_selector(struct exporter *e, unsigned selector, const struct clock_time *now);

/*
 * Handing over to another process, which goes on in the sessions that are nothing but a socket, with their
 * sequence numbers, templates and clocks.
 *
 * exporter_settle(), again and again, pushes out what waits; true: no such session has anything left.
 * exporter_hand_over() writes a section for each of those that have nothing left, in their order, and how
 * many; their sockets, which stay ours, are fds.  exporter_let_go() is for those that the other process has
 * taken (bit i is collector i): they are gone from here on, and nobody says goodbye.
 */
#define EXPORT_SECTION_COLLECTOR "collector"
#define EXPORT_SECTION_FACTS	 "facts"
#define EXPORT_SECTION_VERSION	 1
bool exporter_settle(struct exporter *e, const struct clock_time *now);
size_t exporter_hand_over_octets(const struct exporter *e); /* at most */
unsigned exporter_hand_over(const struct exporter *e, struct sections_writer *w, int *fds, unsigned most);
void exporter_let_go(struct exporter *e, uint64_t taken);
/*
 * Before the first tick: takes of the sections what it can, and says in a sentence each what it does not
 * take, and why. fds are the sections' sockets, which stay the caller's.  The other exporter's numbers (bit
 * i) of what was taken.
 */
uint64_t exporter_take_over(struct exporter *e, const struct sections_reader *sections, const int *fds,
			    unsigned n_fds, void (*say)(void *ctx, const char *sentence), void *ctx);

void exporter_get_stats(const struct exporter *e, struct exporter_stats *stats);
unsigned exporter_collectors(const struct exporter *e);
void exporter_get_collector_stats(const struct exporter *e, unsigned i, struct collector_stats *stats);
/* Template number, from 0, of collector i. */
void exporter_get_template(const struct exporter *e, unsigned i, unsigned number, struct export_template *t);
const struct transport *exporter_transport(const struct exporter *e, unsigned i);

/* --list-fields, --print-template: to stdout through print. */
void exporter_list_fields(void (*print)(void *ctx, const char *line), void *ctx);
int exporter_print_templates(const struct exporter_config *config, void (*print)(void *ctx, const char *line),
			     void *ctx, struct diag *diag);
/* The blocks of records (1 << enum record_block) that the fields of the collectors are in. */
uint32_t exporter_blocks(const struct exporter_config *config);
/* 0, or -EINVAL with a sentence naming the unknown element. */
int exporter_check_fields(const char *fields, bool opens_tunnels, struct diag *diag);

#endif
