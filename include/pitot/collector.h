/*
 * collector: one destination of records, as --collector names it.
 *
 *   [FORMAT[+TRANSPORT]://]HOST[:PORT]   json:FILE   csv:FILE   text:FILE   FORMAT+file:FILE
 *
 * FILE may be followed by ?rotate=SECONDS, a size, or both with a comma or | between, and by ?compress=gz or
 * zst; several are joined by &.
 *
 * FORMAT and its default port are a row of formats.def, TRANSPORT is one of transports.def, udp without one.
 * HOST is a name, an IPv4 address or an IPv6 address in brackets.
 */
#ifndef PITOT_COLLECTOR_H
#define PITOT_COLLECTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "pitot/diag.h"

enum export_format {
#define FORMAT(NAME, name, text, number, port, carriers, only) FORMAT_##NAME,
#include "pitot/formats.def"
	FORMAT_COUNT
};

enum transport_kind {
#define TRANSPORT(NAME, name, traits) TRANSPORT_##NAME,
#include "pitot/transports.def"
	TRANSPORT_COUNT
};

enum compression {
	COMPRESSION_NONE,
#define COMPRESSION(NAME, name, library) COMPRESSION_##NAME,
#include "pitot/compressions.def"
	COMPRESSION_COUNT
};

enum transport_trait { TRANSPORT_SESSION = 1, TRANSPORT_OVER_TCP = 2, TRANSPORT_SECURE = 4 };

enum format_carrier {
#define TRANSPORT(NAME, name, traits) CARRIED_BY_##NAME = 1 << TRANSPORT_##NAME,
#include "pitot/transports.def"
	CARRIED_BY_ALL = (1 << TRANSPORT_COUNT) - 1
};

/* The rows of formats.def and transports.def. */
struct format_row {
	const char *name, *text, *number, *only;
	uint16_t port;
	uint16_t carriers; /* enum format_carrier */
};
struct transport_row {
	const char *name;
	unsigned traits; /* enum transport_trait */
};
extern const struct format_row format_rows[FORMAT_COUNT];
extern const struct transport_row transport_rows[TRANSPORT_COUNT];

struct collector_config {
	char url[512]; /* canonical, for messages and statistics */
	enum export_format format;
	enum transport_kind transport;
	char host[256]; /* without brackets */
	uint16_t port;
	/* TRANSPORT_FILE */
	char path[4096]; /* "-" is stdout; with a time in its name where there are several files (path.h) */
	uint64_t rotate_ns;	      /* each file is for so long; 0: no limit */
	uint64_t rotate_octets;	      /* and as large as that */
	enum compression compression; /* its name is at the end of the path */
	bool local_time;	      /* of names and tables; else UTC */
};

static inline bool collector_is_stdout(const struct collector_config *c)
{
	return c->transport == TRANSPORT_FILE && strcmp(c->path, "-") == 0;
}

/* Is what this format writes lines, and never for a host? */
static inline bool collector_is_lines(enum export_format format)
{
	return format_rows[format].carriers == CARRIED_BY_FILE;
}

static inline bool transport_is(enum transport_kind kind, enum transport_trait trait)
{
	return (transport_rows[kind].traits & trait) != 0;
}

/* Does it name a file?  That may have a comma in its name. */
bool collector_is_file(const char *text);

/* 0, or -EINVAL with a sentence that quotes the part of text it is about. */
int collector_parse(struct collector_config *c, const char *text, enum export_format default_format,
		    struct diag *diag);

#endif
