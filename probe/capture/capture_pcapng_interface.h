/*
 * capture_pcapng_interface: what a pcapng file says of the interfaces of a section.
 */
#ifndef CAPTURE_PCAPNG_INTERFACE_H
#define CAPTURE_PCAPNG_INTERFACE_H

#include "capture/capture_filter.h"
#include "pitot/capture.h"

/* The filter for one link type.  It may be that it has no meaning there, and `why` says so. */
struct pcapng_filter {
	struct pcapng_filter *next;
	int link_type;
	bool compiled;
	struct capture_filter program;
	struct diag why;
};

struct pcapng_interface {
	/* ticks below plain_end are multiply ns each, and that is all of the time */
	uint64_t multiply, plain_end;
	int64_t offset_s;	      /* if_tsoffset */
	struct pcapng_filter *filter; /* NULL: every frame passes */
	uint32_t snap_len;	      /* 0: no limit */
	uint16_t link_type;
	uint8_t resolution; /* if_tsresol: a power of 10 in a second, or of 2 with the upper bit */
};

struct pcapng_interfaces {
	const struct capture_config *config;
	struct pcapng_interface *all;
	uint32_t n, room;
	struct pcapng_filter *filters;
};

/*
 * Compiles the filter for all link types that the caller decodes: names in it are looked up in files and on
 * the network, which is over once packets are measured.
 */
int pcapng_interfaces_init(struct pcapng_interfaces *s, const struct capture_config *config,
			   struct diag *diag);
void pcapng_interfaces_deinit(struct pcapng_interfaces *s);

/* A section ends and another one begins. */
static inline void pcapng_interfaces_clear(struct pcapng_interfaces *s)
{
	s->n = 0;
}

/*
 * One more, from the body of its block.  -EBADMSG: diag has what is wrong with the block, the end of a
 * sentence; else negative errno and a sentence.
 */
int pcapng_interfaces_add(struct pcapng_interfaces *s, const uint8_t *body, size_t size, bool swapped,
			  struct diag *diag);

/* The one whose link type is said to be the file's: the first that the caller decodes, or the first; or NULL.
 */
const struct pcapng_interface *pcapng_interfaces_main(const struct pcapng_interfaces *s);
/* Whether the caller decodes its frames. */
bool pcapng_interfaces_decodes(const struct pcapng_interfaces *s, int link_type);
bool pcapng_interfaces_have(const struct pcapng_interfaces *s, int link_type);

uint64_t pcapng_interface_odd_time(const struct pcapng_interface *i, uint64_t ticks);

/* Nanoseconds since 1970, at least 0 and at most INT64_MAX. */
static inline uint64_t pcapng_interface_time(const struct pcapng_interface *i, uint64_t ticks)
{
	return ticks < i->plain_end ? ticks * i->multiply : pcapng_interface_odd_time(i, ticks);
}

/* Is that not the packet's own time, but the nearest that can be said? */
bool pcapng_interface_moves(const struct pcapng_interface *i, uint64_t ticks);

static inline uint32_t pcapng_u32(const uint8_t *p, bool swapped)
{
	uint32_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return swapped ? __builtin_bswap32(v) : v;
}

static inline uint16_t pcapng_u16(const uint8_t *p, bool swapped)
{
	uint16_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return swapped ? __builtin_bswap16(v) : v;
}

#endif
