/*
 * doctor: which side is wrong when no flows arrive.
 *
 * Facts are gathered first (doctor_look_*), by whoever has the rights; checks.def then says what is wrong
 * with them, a row each, and knows nothing but the facts.
 */
#ifndef PITOT_DOCTOR_H
#define PITOT_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/collector.h"
#include "pitot/diag.h"
#include "pitot/resolve.h"

enum { DOCTOR_INTERFACES = 64, DOCTOR_COLLECTORS = 64, DOCTOR_PATHS = 64 };

/* Of an interface that is measured, or will be. */
struct doctor_interface {
	char name[64];
	bool any; /* all interfaces: it has no state of its own */
	bool exists, up, carrier;
	bool promiscuous; /* it is */
	bool ethtool;	  /* the next three are known */
	bool gro, lro, strips_vlan;
	uint64_t counted; /* packets in and out, by its own counters, while it was looked at */
	uint64_t dropped; /* that found no room in it, since it is there */
};

/* How it measures; what a running pitot has counted. */
struct doctor_capture {
	bool running;	    /* the counters are known */
	const char *filter; /* NULL: none */
	uint32_t snap_len;
	bool promiscuous; /* wanted */
	bool xdp;	  /* packets are taken before the kernel sees them */
	bool wants_vlan;  /* VLANs are part of the flow key or of the filter */
	bool paused;
	uint64_t received, dropped_by_kernel, cut, oversized; /* since the start */
	uint64_t seen; /* received or, as far as that is counted, filtered, while it was looked at */
};

struct doctor_clock {
	bool known, synchronised;
	uint64_t max_error_us;
};

/* Why a certificate is not accepted; the sentence is tls_error. */
enum doctor_certificate {
	DOCTOR_CERTIFICATE_OTHER, /* or it is accepted */
	DOCTOR_CERTIFICATE_EXPIRED,
	DOCTOR_CERTIFICATE_EARLY,     /* it is not valid yet */
	DOCTOR_CERTIFICATE_AUTHORITY, /* nobody who is trusted vouches for it */
	DOCTOR_CERTIFICATE_NAME	      /* it is somebody else's */
};

struct doctor_collector {
	struct collector_config config;
	const char *source, *device; /* --source and --bind-device; NULL or "": none */
	char name_error[128];	     /* why its name has no address; "" it has */
	struct resolve_result found; /* its addresses */
	char address[64];	     /* the one that the rest is about */
	bool no_sctp;		     /* it is on SCTP, which this kernel has not */
	int route_error;	     /* errno */
	uint32_t route_mtu;	     /* 0 unknown */
	uint32_t mtu;		     /* that was asked for; 0: what the route takes */
	int probe_error;	     /* errno; 0: nothing refused */
	bool host_silent;	     /* UDP: not even a closed port was refused */
	char said[48];		     /* what the port said, which no collector does; "" nothing */
	bool handshake_silent;	     /* TLS: it takes connections and never answers */
	char tls_error[192];	     /* "" none */
	enum doctor_certificate tls_certificate;
	const char *tls_name; /* that it has to have; NULL unknown */
	int tls_days;	      /* until its certificate expires; -1 unknown */
	/* of a pitot that runs */
	bool running, up;
	uint64_t records, templates, pending, not_sent;
	char last_error[192];
	char path_error[192]; /* of an output file */
};

/* A file or folder that an option names; or an address or a device of this host. */
struct doctor_path {
	char option[32], path[256];
	char error[96];	    /* "" none */
	const char *advice; /* NULL: that of files */
};

struct doctor_facts {
	struct doctor_capture capture;
	struct doctor_clock clock;
	unsigned n_interfaces, n_collectors, n_paths;
	struct doctor_path paths[DOCTOR_PATHS];
	struct doctor_interface interfaces[DOCTOR_INTERFACES];
	struct doctor_collector collectors[DOCTOR_COLLECTORS];
};

/* ---- looking */

/* The state of the interface that is named. */
void doctor_look_interface(struct doctor_interface *i);
/* Its own counter of packets; 0 unknown. */
uint64_t doctor_count_interface(const char *name);
void doctor_look_clock(struct doctor_clock *c);
/* Name, route and MTU of the one that is configured; or the folder of its file.  May take what a resolver
 * does. */
void doctor_look_collector(struct doctor_collector *c);
/* Tries its port: a datagram without contents, or a connection.  3 s at most. */
void doctor_probe_collector(struct doctor_collector *c, const char *tls_ca, const char *tls_name);
/* Whether it can be read (R_OK), written or searched. */
void doctor_look_path(struct doctor_facts *facts, const char *option, const char *path, int mode);
/* Whether it can be read, and is no folder. */
void doctor_look_file(struct doctor_facts *facts, const char *option, const char *path);
/* What keeps a file from being written: it, or, where it is no device or pipe, its folder. */
void doctor_look_output(char *error, size_t size, const char *path);
void doctor_look_written(struct doctor_facts *facts, const char *option, const char *path);
/* Something else that an option names, and what is wrong with it. */
void doctor_tell(struct doctor_facts *facts, const char *option, const char *text, const char *error,
		 const char *advice);
/* Whether this host has the address, and the device, that is to be sent from. */
void doctor_look_source(struct doctor_facts *facts, const char *option, const char *address);
void doctor_look_device(struct doctor_facts *facts, const char *option, const char *name);
/* Whether files can be made in this directory; or, where it is not there, it in its own one. */
void doctor_look_directory(struct doctor_facts *facts, const char *option, const char *path);
/* The handshake on a connection that is there: tls_*, handshake_silent. */
void doctor_probe_tls(struct doctor_collector *c, int fd, const char *ca, const char *name);

/* ---- saying */

enum doctor_severity { DOCTOR_DOUBT, DOCTOR_FAULT };

struct doctor_finding {
	enum doctor_severity severity;
	const char *check; /* its name: the row */
	char about[512];   /* interface or collector; "" the host */
	char verdict[320]; /* what is wrong */
	char advice[256];  /* what to do */
};

/* Calls say() for each finding; how many of them are faults. */
unsigned doctor_check(const struct doctor_facts *facts,
		      void (*say)(void *ctx, const struct doctor_finding *f), void *ctx);

/* A finding as two lines for people. */
void doctor_print(const struct doctor_finding *f, void (*print)(void *ctx, const char *line), void *ctx);
/* What is said at the end. */
void doctor_sum(unsigned faults, unsigned doubts, void (*print)(void *ctx, const char *line), void *ctx);

#endif
