/* capture_pcapng_interface: see capture_pcapng_interface.h. */
#include "capture/capture_pcapng_interface.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture/capture_source.h"
#include "pitot/clock.h"

enum {
	INTERFACES_MAX = 65536, /* in a section: what a hostile file may cost in memory */
	BODY_LEAST = 8,
	OPTION_HEADER = 4,
	OPT_ENDOFOPT = 0,
	IF_TSRESOL = 9,
	IF_TSOFFSET = 14,
	BINARY = 0x80,
};

__extension__ typedef __int128 wide;
__extension__ typedef unsigned __int128 unsigned_wide;

/* ---- time */

static uint64_t pcapng_power_of_10(unsigned exponent)
{
	uint64_t v = 1;

	while (exponent--)
		v *= 10;
	return v;
}

/* 10^19 is the last power of 10 in 64 bits: in a second of 10^28 ticks and less it is one division. */
static unsigned_wide interface_ns(uint8_t resolution, uint64_t ticks)
{
	unsigned exponent = resolution & (BINARY - 1);

	if (resolution & BINARY)
		return (unsigned_wide)ticks * NS_PER_SEC >> exponent; /* below 2^94, by at most 127 */
	if (exponent <= 9)
		return (unsigned_wide)ticks * pcapng_power_of_10(9 - exponent);
	return exponent <= 9 + 19 ? ticks / pcapng_power_of_10(exponent - 9) : 0;
}

static wide interface_time(const struct pcapng_interface *i, uint64_t ticks)
{
	return (wide)interface_ns(i->resolution, ticks) + (wide)i->offset_s * (wide)NS_PER_SEC;
}

bool pcapng_interface_moves(const struct pcapng_interface *i, uint64_t ticks)
{
	wide ns = interface_time(i, ticks);

	return ns < 0 || ns > INT64_MAX;
}

uint64_t pcapng_interface_odd_time(const struct pcapng_interface *i, uint64_t ticks)
{
	wide ns = interface_time(i, ticks);

	if (ns < 0)
		return 0;
	return ns > INT64_MAX ? INT64_MAX : (uint64_t)ns;
}

static void interface_set_clock(struct pcapng_interface *i)
{
	bool plain = i->offset_s == 0 && i->resolution <= 9;

	i->multiply = plain ? pcapng_power_of_10(9u - i->resolution) : 0;
	i->plain_end = plain ? (uint64_t)INT64_MAX / i->multiply : 0;
}

/* ---- filters */

bool pcapng_interfaces_decodes(const struct pcapng_interfaces *s, int link_type)
{
	for (unsigned i = 0; i < s->config->n_link_types; i++)
		if (s->config->link_types[i] == link_type)
			return true;
	return s->config->n_link_types == 0;
}

static int interfaces_compile(struct pcapng_interfaces *s, int link_type, struct diag *diag)
{
	struct pcapng_filter *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return diag_set(diag, -ENOMEM, "--filter \"%s\": out of memory", s->config->filter);
	f->link_type = link_type;
	f->next = s->filters;
	s->filters = f;
	r = capture_filter_compile_frames(&f->program, s->config->filter, link_type, &f->why);
	f->compiled = r == 0;
	if (r == -ENOMEM)
		*diag = f->why;
	return r == -ENOMEM ? r : 0;
}

/* Compiled now where it was not before.  Frames that nobody decodes are not filtered, they are ignored. */
static int interfaces_find_filter(struct pcapng_interfaces *s, struct pcapng_interface *i, struct diag *diag)
{
	int r = 0;

	i->filter = NULL;
	if (!s->config->filter || !s->config->filter[0] || !pcapng_interfaces_decodes(s, i->link_type))
		return 0;
	for (i->filter = s->filters; i->filter && i->filter->link_type != i->link_type;)
		i->filter = i->filter->next;
	if (i->filter)
		return 0;
	r = interfaces_compile(s, i->link_type, diag);
	i->filter = s->filters;
	return r;
}

int pcapng_interfaces_init(struct pcapng_interfaces *s, const struct capture_config *config,
			   struct diag *diag)
{
	int r = 0;

	*s = (struct pcapng_interfaces){.config = config};
	for (unsigned i = 0; r == 0 && config->filter && config->filter[0] && i < config->n_link_types; i++)
		r = interfaces_compile(s, config->link_types[i], diag);
	return r;
}

void pcapng_interfaces_deinit(struct pcapng_interfaces *s)
{
	while (s->filters) {
		struct pcapng_filter *f = s->filters;

		s->filters = f->next;
		capture_filter_deinit(&f->program);
		free(f);
	}
	free(s->all);
}

/* ---- interfaces */

static int interface_option(struct pcapng_interface *i, unsigned code, const uint8_t *value, unsigned length,
			    bool swapped, struct diag *diag)
{
	if ((code == IF_TSRESOL && length != 1) || (code == IF_TSOFFSET && length != 8))
		return diag_set(diag, -EBADMSG, "has an option %u of %u octets", code, length);
	if (code == IF_TSRESOL)
		i->resolution = value[0];
	if (code == IF_TSOFFSET) {
		uint64_t v;

		memcpy(&v, value, sizeof(v));
		i->offset_s = (int64_t)(swapped ? __builtin_bswap64(v) : v);
	}
	return 0;
}

static int interface_parse(struct pcapng_interface *i, const uint8_t *body, size_t size, bool swapped,
			   struct diag *diag)
{
	size_t at = BODY_LEAST;
	int r = 0;

	if (size < BODY_LEAST)
		return diag_set(diag, -EBADMSG, "is too short for an interface");
	*i = (struct pcapng_interface){
		.link_type = pcapng_u16(body, swapped),
		.snap_len = pcapng_u32(body + 4, swapped),
		.resolution = 6,
	};
	while (r == 0 && size - at >= OPTION_HEADER) {
		unsigned code = pcapng_u16(body + at, swapped), length = pcapng_u16(body + at + 2, swapped);
		unsigned padded = (length + 3) & ~3u;

		at += OPTION_HEADER;
		if (code == OPT_ENDOFOPT)
			break;
		if (size - at < padded)
			return diag_set(diag, -EBADMSG, "has an option that ends behind it");
		r = interface_option(i, code, body + at, length, swapped, diag);
		at += padded;
	}
	interface_set_clock(i);
	return r;
}

static int interfaces_make_room(struct pcapng_interfaces *s, struct diag *diag)
{
	uint32_t room = s->room ? 2 * s->room : 8;
	struct pcapng_interface *all;

	if (s->n == INTERFACES_MAX)
		return diag_set(diag, -EBADMSG, "is one more interface than the %u that a section may have",
				INTERFACES_MAX);
	if (s->n < s->room)
		return 0;
	all = realloc(s->all, room * sizeof(*all));
	if (!all)
		return diag_set(diag, -ENOMEM, "--read: out of memory");
	s->all = all;
	s->room = room;
	return 0;
}

int pcapng_interfaces_add(struct pcapng_interfaces *s, const uint8_t *body, size_t size, bool swapped,
			  struct diag *diag)
{
	int r = interfaces_make_room(s, diag);

	if (r == 0)
		r = interface_parse(&s->all[s->n], body, size, swapped, diag);
	if (r == 0)
		r = interfaces_find_filter(s, &s->all[s->n], diag);
	s->n += r == 0;
	return r;
}

const struct pcapng_interface *pcapng_interfaces_main(const struct pcapng_interfaces *s)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (pcapng_interfaces_decodes(s, s->all[i].link_type))
			return &s->all[i];
	return s->n ? &s->all[0] : NULL;
}

bool pcapng_interfaces_have(const struct pcapng_interfaces *s, int link_type)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->all[i].link_type == link_type)
			return true;
	return false;
}
