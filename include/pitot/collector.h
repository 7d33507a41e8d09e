/*
 * collector: one destination of records, as --collector names it.
 *
 *   [FORMAT[+TRANSPORT]://]HOST[:PORT]   json:FILE   text:FILE   FORMAT+file:PATH
 *
 * FORMAT netflow5 netflow9 ipfix sflow; TRANSPORT udp (default) tcp tls dtls sctp file.  HOST is a name, an
 * IPv4 address or an IPv6 address in brackets.  Default ports 2055 (netflow5, netflow9), 4739 (ipfix), 4740
 * (ipfix over tls or dtls), 6343 (sflow).
 */
#ifndef PITOT_COLLECTOR_H
#define PITOT_COLLECTOR_H

#include <stdint.h>

#include "pitot/diag.h"

enum export_format {
	FORMAT_NETFLOW5,
	FORMAT_NETFLOW9,
	FORMAT_IPFIX,
	FORMAT_SFLOW,
	FORMAT_JSON,
	FORMAT_TEXT,
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
	char path[4096]; /* TRANSPORT_FILE: "-" is stdout */
};

/* 0, or -EINVAL with a sentence that quotes the part of text it is about. */
int collector_parse(struct collector_config *c, const char *text, enum export_format default_format,
		    struct diag *diag);

#endif
