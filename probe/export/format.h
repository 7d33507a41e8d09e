/*
 * format: one collector inside the exporter, and what an export format is: a row of format_ops in a file.
 *
 * Every format builds messages by message_begin(), the cursor message.wire and message_finish(), so the
 * ledger and lost messages are kept in one place (message.c).
 */
#ifndef PITOT_EXPORT_FORMAT_H
#define PITOT_EXPORT_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "export_clock.h"
#include "options.h"
#include "pitot/exporter.h"
#include "pitot/wire.h"
#include "template.h"

#define FORMAT_MAX_MESSAGE 65535

struct collector;

/*
 * All may be NULL.  Times are the exporter's.  A format opens the doors that it has: flow records, packet
 * samples, counters.
 */
struct format_ops {
	const char *name;
	enum ie_protocol protocol;
	enum export_clock_kind clock;
	bool has_fields;	       /* --fields says what it carries */
	bool counts_messages;	       /* its sequence numbers do; else records */
	const struct dialect *dialect; /* of formats with templates: templated.h */
	/* its own state: collector.state, which close() frees; setup() may have failed in the middle */
	int (*setup)(struct collector *c, struct diag *diag);
	void (*close)(struct collector *c);
	bool (*fits)(const struct flow_record *r); /* can the format carry it at all?  NULL: yes */
	void (*record)(struct collector *c, const struct flow_record *r, const struct clock_time *now);
	void (*sample)(struct collector *c, const struct packet_sample *s);
	void (*counters)(struct collector *c, const struct interface_counters *n);
	/* writes the header of a message that is complete */
	void (*header)(struct collector *c);
	/* what is due without records */
	void (*tick)(struct collector *c, const struct clock_time *now);
	/* when that is (monotonic), beside what an open message waits for; UINT64_MAX: never; NULL: never */
	uint64_t (*due_ns)(const struct collector *c);
	void (*refresh)(struct collector *c);
	void (*selector)(struct collector *c); /* exporter.selector is another one */
	void (*periods)(struct collector *c);  /* those of the configuration are new */
	/* the last messages; a format that has sent nothing yet sends its beginning */
	void (*finish)(struct collector *c, const struct clock_time *now);
	/* the templates that it announces, counted from 0; NULL: no more */
	const struct template *(*template)(const struct collector *c, unsigned number);
	/* what a file of lines begins with, "" for nothing: setup is done.  NULL: messages */
	const char *(*heading)(struct collector *c);
	/*
	 * Handing over to another process: what of its state goes with a session.  take_over: 0, or the
	 * sentence's end why the session cannot go on: "... its templates are others now".  NULL: there is
	 * nothing.
	 */
	void (*hand_over)(const struct collector *c, struct sections_writer *w);
	const char *(*take_over)(struct collector *c, struct section *s);
	/* for transports that are spooled: see transport.h; setup is done */
	int (*announce)(struct collector *c);
	void (*restamp)(struct collector *c, uint8_t *message, uint32_t records);
	size_t (*withdraw)(struct collector *c, uint8_t *message);
};

#define FORMAT(NAME, name, text, number, port, carriers, only) extern const struct format_ops name##_ops;
#include "pitot/formats.def"

struct message {
	struct wire wire;
	bool open;
	bool lent; /* the transport's memory; else scratch, and the message will be lost */
	struct transport_load load;
	uint8_t *set; /* header of the set that is being filled; NULL none */
	uint16_t set_id;
	uint16_t set_records;
	uint64_t begun_ns;   /* monotonic */
	uint64_t touched_ns; /* monotonic, of the last record */
};

struct collector {
	struct exporter *exporter;
	struct collector_config config;
	const struct format_ops *format;
	struct transport *transport;
	struct collector_stats stats;
	struct {
		uint64_t messages, octets, records;
	} waiting; /* given to the transport, which has not told yet what became of it */
	struct message message;
	struct export_clock clock;
	struct template_context context;
	void *state; /* the format's own */

	unsigned index;
	uint64_t session;	/* the transport's, in which this is */
	uint64_t stamp_session; /* the one that sequence and stamp_s are of: spooled transports */
	uint32_t stamp_s;	/* the last Export Time of any session */
	bool started;		/* templates, or the header line, are out */
	uint32_t sequence;
	uint16_t selector;	 /* of the records in the message, where its header tells (NetFlow v5) */
	uint64_t error_count;	 /* of the transport, when last looked */
	uint64_t error_ns;	 /* when it last grew; 0: the collector was heard to be well since */
	uint64_t error_messages; /* sent then */
	uint64_t probe_ns; /* since when nothing was heard of what was sent after that; 0: nothing was */
	bool refused;	   /* a message was, and no templates were sent since */

	struct totals lost;  /* not sent, all causes but unfit ones; includes losses before the exporter */
	struct totals shown; /* of those, what a message that was sent has shown by its sequence number */
	uint64_t first_lost_ns, last_lost_ns;

	/* of the process that this one took the session over from, which told collectors of them */
	struct {
		uint64_t messages, octets, records;
		struct totals shown;
	} earlier;

	uint64_t stalled_ns;	   /* patience.c: since when it was waited for in vain; 0: it was not */
	uint64_t stalled_progress; /* the transport's then */
};

struct exporter {
	struct exporter_config config; /* own copies of what it points to, below */
	char *fields;
	struct export_interface *interfaces;
	struct collector *collectors;
	unsigned n_collectors;
	struct exporter_stats stats;
	struct export_process_facts facts, earlier; /* earlier: of a process that this one took over from */
	struct top *top;			    /* NULL: nobody asks */
	uint64_t all;	       /* collectors (bit i is collector i) that take flow records */
	uint64_t group;	       /* of those: they share records, by config.group */
	bool group_waited;     /* offline: for one of the group to be up, once */
	struct clock_time now; /* of the call that is running */
	unsigned selector;     /* in force, of several */
	struct totals added;   /* to the record that formats have: what packets nobody counted; else 0 */
	struct flow_record *estimate; /* it, layout.record_size octets; NULL: no record has a block SLICE */
	uint64_t latest_ns;	      /* latest record end: the clock of offline losses */
	bool may_wait;		      /* offline: a message was handed over, or a session is to begin */
	bool finished;
	uint8_t scratch[FORMAT_MAX_MESSAGE + 64]; /* messages that will be lost: nobody reads them */
};

/* Of a new session: a file that another process wrote goes on. */
static inline uint32_t collector_first_sequence(const struct collector *c)
{
	const struct exporter_config *config = &c->exporter->config;

	return c->transport->continues && config->earlier ? config->earlier[c->index].sequence : 0;
}

/* Opens a message; header_size octets are left for ops->header.  Does nothing if one is open. */
void message_begin(struct collector *c, unsigned header_size, unsigned reserve_at_end);
/* Counts a record that was just written, with so many packets and octets, as one of the message. */
static inline void message_count(struct collector *c, uint64_t packets, uint64_t octets, uint64_t now_ns)
{
	const struct totals *added = &c->exporter->added;
	struct message *m = &c->message;

	totals_count(&m->load.flows, packets - added->packets, octets - added->octets);
	totals_add(&m->load.estimated, added);
	m->touched_ns = now_ns;
}
/* Writes the header and hands the message over.  Does nothing if none is open. */
void message_finish(struct collector *c);
/* Hands over and pushes out: afterwards everything that can be resolved is. */
void message_flush(struct collector *c);
/* The session that the open message was written for is gone: its records are lost. */
void message_abandon(struct collector *c);

/* Room for size octets in a set of this id, which is begun if need be; false: the message has none, or is not
 * open. */
bool message_room(struct collector *c, uint16_t set_id, unsigned size);
/* Is there nothing in it that counts? */
bool message_is_empty(const struct message *m);
void message_close_set(struct collector *c);

/* collector.c */
const struct format_ops *collector_format(enum export_format format);
int collector_open(struct exporter *e, struct collector *c, const struct collector_config *config,
		   struct diag *diag);
void collector_close(struct collector *c, uint64_t deadline_ns);
/* If it is time for another file: what is for this one goes there, and the format begins anew. */
void collector_rotate(struct collector *c);
/*
 * A collector that refused datagrams is asked every second whether it takes them again, by templates where
 * there are any; once it does it gets everything again that it may have missed.
 */
void collector_watch_errors(struct collector *c, const struct clock_time *now);
/* When it is to be looked at by a tick next, if nothing is handed over before; 0: something is under way. */
uint64_t collector_due_ns(const struct collector *c);

/* collector_ledger.c */
/* Of its transport, which is open: what becomes of messages is told here from now on. */
void collector_ledger_begin(struct collector *c);
/* Not sent, and in no message. */
void collector_add_loss(struct collector *c, const struct totals *lost);
/* Records of a message are lost, or one does not fit the format. */
void collector_lose(struct collector *c, const struct transport_load *load);
void collector_unfit(struct collector *c, const struct flow_record *r); /* as formats have it */
/* The transport gets a message; it will tell what became of it. */
void collector_wait(struct collector *c, const struct transport_load *load, size_t octets);

/* The collectors that are to have r: group.c. */
void group_init(struct exporter *e);
uint64_t group_choose(struct exporter *e, const struct flow_record *r);
/* Of the i-th collector: flow records go to it; one record goes to it or to another one that shares. */
bool group_takes(const struct exporter *e, unsigned i);
bool group_shares(const struct exporter *e, unsigned i);
/*
 * How much was not sent: by the ledger of the collector that lost least, of those that are to have every
 * record. Collectors that share records are one of them together.
 */
struct totals group_not_sent(const struct exporter *e);
/* What was estimated of what was sent: by the one that was sent most; likewise. */
struct totals group_estimated(const struct exporter *e);

#endif
