/*
 * config: what the user asked for, as one plain struct.
 *
 * options.def has a row per option: the command line, the configuration file, --help and the lint against the
 * man page all come from it.  process/setup.c gives each stage its slice; no stage includes this header.
 */
#ifndef PITOT_CONFIG_H
#define PITOT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pitot/collector.h"
#include "pitot/diag.h"
#include "pitot/tunnel.h"

struct config_interface {
	char name[64];
	uint32_t ifindex; /* 0: the system's */
};

/* CONFIG_RUN measures; the others do something else instead. */
enum config_action {
	CONFIG_RUN,
	CONFIG_HELP,
	CONFIG_VERSION,
	CONFIG_LIST_FIELDS,
	CONFIG_PRINT_TEMPLATE,
	CONFIG_DRY_RUN,
	CONFIG_DOCTOR
};

/* As the stages count them (test_config.c asserts it): this folder includes none of their headers. */
enum config_capture { CONFIG_CAPTURE_AUTO, CONFIG_CAPTURE_AFPACKET, CONFIG_CAPTURE_PCAP, CONFIG_CAPTURE_XDP };
enum config_direction { CONFIG_DIRECTION_BOTH, CONFIG_DIRECTION_IN, CONFIG_DIRECTION_OUT };
enum config_log { CONFIG_LOG_AUTO, CONFIG_LOG_STDERR, CONFIG_LOG_SYSLOG, CONFIG_LOG_JOURNAL };
enum config_sandbox { CONFIG_SANDBOX_ON, CONFIG_SANDBOX_OFF, CONFIG_SANDBOX_LOG };
enum config_collector_group { CONFIG_GROUP_REPLICATE, CONFIG_GROUP_FAILOVER, CONFIG_GROUP_HASH };
enum config_flow_key { CONFIG_KEY_TOS = 1, CONFIG_KEY_VLAN = 2, CONFIG_KEY_MAC = 4, CONFIG_KEY_TUNNEL = 8 };

enum config_fanout { CONFIG_FANOUT_HASH, CONFIG_FANOUT_CPU, CONFIG_FANOUT_ROLLOVER };

enum config_sampling {
	CONFIG_SAMPLE_ALL,
	CONFIG_SAMPLE_RANDOM,
	CONFIG_SAMPLE_SYSTEMATIC,
	CONFIG_SAMPLE_HASH
};

struct config_sample {
	int kind; /* enum config_sampling */
	uint32_t interval;
};

/* --polite; all in percent */
struct config_polite {
	bool on;
	bool slice; /* new flows may be left out when the flow table is nearly full */
	uint32_t cpu, yield, spare;
	char pressure[256]; /* a file, "none"; "": the host's */
};

struct config {
	enum config_action action;

	/* capture */
	struct config_interface *interfaces;
	unsigned n_interfaces;
	char **files;
	unsigned n_files;
	char *filter; /* --filter or the trailing words; NULL for none */
	int capture;  /* enum capture_method */
	uint64_t buffer_octets;
	uint32_t snap_len;
	bool no_promiscuous;
	bool wait;
	int direction; /* enum capture_direction */
	bool include_own;

	/* metering */
	uint64_t active_ns;
	uint64_t inactive_ns;
	uint64_t tcp_end_ns; /* UINT64_MAX: off */
	uint32_t max_flows;
	uint32_t flow_key; /* enum flow_key_extra bits of exporter.h */
	bool no_fragment_tracking;
	uint32_t max_fragments;
	uint64_t fragment_timeout_ns;
	uint32_t max_layers;
	uint32_t decapsulate;		     /* 1 << enum tunnel */
	uint16_t tunnel_ports[TUNNEL_COUNT]; /* 0: the registered one */
	unsigned workers;		     /* 0: auto */
	char *cpus;			     /* NULL: threads are not bound */
	int fanout;			     /* enum config_fanout */
	uint32_t busy_poll_us;
	uint32_t queue_records;

	/* sampling */
	struct config_sample sample; /* of what is metered */
	struct config_polite polite;
	uint32_t sflow_rate, sflow_header;
	uint64_t sflow_polling_ns; /* 0: no counters */
	char *agent;

	/* export */
	struct collector_config *collectors; /* text:- when the user names none, and none with --live */
	unsigned n_collectors;
	enum export_format format;
	char *source_host; /* a numeric address */
	uint16_t source_port;
	char *bind_device;
	int ttl;      /* 0: the system's */
	uint32_t mtu; /* 0: what the route takes */
	uint32_t domain;
	uint64_t template_ns;
	uint32_t template_messages;
	uint32_t max_export_rate; /* records a second; 0: no limit */
	uint64_t stats_ns;	  /* period of the statistics options */
	uint64_t flush_ns;	  /* a partly filled message leaves after this long */
	char *fields;
	bool local_time;
	uint32_t top;	     /* 0: none */
	int collector_group; /* enum collector_group of exporter.h */
	uint64_t reconnect_ns;
	uint64_t dtls_renew_ns; /* 0: never */
	uint64_t send_buffer_octets;
	char *spool_dir; /* NULL: memory only */
	uint64_t spool_octets;
	uint64_t replay_octets;
	uint64_t replay_ns;
	uint64_t stop_ns;
	char *tls_ca, *tls_cert, *tls_key, *tls_name; /* NULL: none */

	/* process */
	char *stats_path;	 /* "-": stderr */
	uint64_t stats_every_ns; /* 0: at the end and on SIGUSR1 only */
	char *control_path;	 /* "none"; NULL: the default, where that is possible */
	char *control_group;
	char *metrics; /* [ADDR:]PORT */
	char *metrics_path;
	int log; /* enum config_log */
	bool quiet;
	bool live; /* the view of pitotctl top on the terminal */
	bool daemon;
	bool debug;
	bool foreground; /* -d: accepted, the default */
	char *pidfile;
	bool takeover;
	char *user;
	bool stay_root;
	int sandbox; /* enum sandbox_mode */
	char *config_path;
};

/* Positive outcome: the usage is wrong; the sentence is in diag, exit status 2. */
enum { CONFIG_E_USAGE = 1 };

/*
 * Defaults, then --config FILE, then the command line over it.  0, CONFIG_E_USAGE, or negative errno; when it
 * is not 0 nothing is left to free.  With action CONFIG_HELP or CONFIG_VERSION nothing else is looked at.
 * For a program that runs: it waits for nobody, so the file cannot be a pipe.
 */
int config_parse_again(struct config *c, int argc, char **argv, struct diag *diag);
/*
 * The same, with all mistakes instead of the first one: mistake() gets the sentence of each.  check() may
 * look for more in what was understood, which it hands to the same; how many it found.
 */
struct config_listener {
	void (*mistake)(const char *sentence);
	unsigned (*check)(const struct config *c, void (*mistake)(const char *sentence));
};
int config_parse_all(struct config *c, int argc, char **argv, const struct config_listener *listener,
		     struct diag *diag);
/* The same from the text of a configuration file alone; name is for the sentences. */
int config_parse_text(struct config *c, const char *name, const char *text, size_t size, struct diag *diag);
void config_deinit(struct config *c);

/*
 * The name of an option that differs and that a running program cannot change; NULL: it can take over all of
 * next.
 */
const char *config_needs_restart(const struct config *now, const struct config *next);

/* --help to print line by line. */
void config_help(void (*print)(void *ctx, const char *line), void *ctx);

/* The i-th processor of a --cpus list, counting round; -1 when the list is NULL or no list. */
int config_cpu(const char *list, unsigned i);
/* What an address, as text, is beside that of one host, if it is one of these kinds; NULL: nothing of that.
 */
enum { CONFIG_UNSPECIFIED = 1, CONFIG_MULTICAST = 2, CONFIG_BROADCAST = 4 };
const char *config_address_is(const char *text, unsigned kinds);

#endif
