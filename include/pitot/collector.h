/*
 * collector: one destination of records, as --collector names it.
 *
 *   [FORMAT[+TRANSPORT]://]HOST[:PORT]   json:FILE   csv:FILE   text:FILE   FORMAT+file:FILE
 *
 * FILE may be followed by ?rotate=SECONDS, a size, or both with a comma or | between.
 *
 * FORMAT netflow5 netflow9 ipfix sflow; TRANSPORT udp (default) tcp tls dtls sctp file.  HOST is a name, an
 * IPv4 address or an IPv6 address in brackets.  Default ports 2055 (netflow5, netflow9), 4739 (ipfix), 4740
 * (ipfix over tls or dtls), 6343 (sflow).
 */
#ifndef PITOT_COLLECTOR_H
#define PITOT_COLLECTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "pitot/diag.h"

enum export_format {
	FORMAT_NETFLOW5,
	FORMAT_NETFLOW9,
	FORMAT_IPFIX,
	FORMAT_SFLOW,
	FORMAT_JSON,
	FORMAT_TEXT,
	FORMAT_CSV,
	FORMAT_COUNT
};

enum transport_kind {
	TRANSPORT_UDP,
	TRANSPORT_TCP,
	TRANSPORT_TLS,
	TRANSPORT_DTLS,
	TRANSPORT_SCTP,
	TRANSPORT_FILE,
	TRANSPORT_COUNT
};

struct collector_config {
	char url[512]; /* canonical, for messages and statistics */
	enum export_format format;
	enum transport_kind transport;
	char host[256]; /* without brackets */
	uint16_t port;
	/* TRANSPORT_FILE */
	char path[4096]; /* "-" is stdout; with a time in its name where there are several files (path.h) */
	uint64_t rotate_ns;	/* each file is for so long; 0: no limit */
	uint64_t rotate_octets; /* and as large as that */
	bool local_time;	/* of names and tables; else UTC */
};

static inline bool collector_is_stdout(const struct collector_config *c)
{
	return c->transport == TRANSPORT_FILE && strcmp(c->path, "-") == 0;
}

/* Is what this format writes lines, and never for a host? */
static inline bool collector_is_lines(enum export_format format)
{
	return format == FORMAT_JSON || format == FORMAT_TEXT || format == FORMAT_CSV;
}

/* Does it name a file?  That may have a comma in its name. */
bool collector_is_file(const char *text);

/* 0, or -EINVAL with a sentence that quotes the part of text it is about. */
int collector_parse(struct collector_config *c, const char *text, enum export_format default_format,
		    struct diag *diag);

#endif
