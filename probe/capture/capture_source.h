/*
 * capture_source: an opened savefile and its first octets, which tell who reads the rest.
 */
#ifndef CAPTURE_SOURCE_H
#define CAPTURE_SOURCE_H

#include "pitot/capture.h"

#define PCAP_FILE_HEADER 24

struct capture_source {
	int fd; /* stands behind head */
	const char *path;
	uint8_t head[PCAP_FILE_HEADER];
	size_t n_head;
	enum capture_source_kind {
		CAPTURE_SOURCE_PCAP,   /* version 2.4, us or ns, either byte order */
		CAPTURE_SOURCE_PCAPNG, /* either byte order */
		CAPTURE_SOURCE_OTHER,
	} kind;
	bool is_file; /* not a pipe */
};

/* "-" is stdin.  A file that is too short to be a savefile is an error here. */
int capture_source_open(struct capture_source *s, const char *path, struct diag *diag);

/* What a unit of the fraction of a second is in a pcap file. */
uint32_t capture_source_fraction_ns(const struct capture_source *s);

/* The link type of a pcap file's header: 0, or -EBADMSG with a sentence when the field has more than that. */
int capture_source_link_type(const struct capture_source *s, int *link_type, struct diag *diag);

/* All take over source->fd, also when they fail. */
int capture_file_open(struct capture **cp, struct capture_source *s, const struct capture_config *config,
		      struct diag *diag);
int capture_pcapng_open(struct capture **cp, struct capture_source *s, const struct capture_config *config,
			struct diag *diag);
int capture_savefile_open(struct capture **cp, struct capture_source *s, const struct capture_config *config,
			  struct diag *diag);

#endif
