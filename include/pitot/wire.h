/*
 * wire: a cursor that writes big-endian numbers into a bounded buffer.
 *
 * Overflow is sticky: after a put that does not fit nothing more is written and wire_overflowed() says so.
 * An encoder marks, puts one record, and on overflow rewinds to the mark, flushes and puts it once more.
 * There is no htons() outside this file.
 */
#ifndef PITOT_WIRE_H
#define PITOT_WIRE_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct wire {
	uint8_t *start;
	uint8_t *at;
	uint8_t *end;
	bool overflow;
};

static inline void wire_init(struct wire *w, void *buffer, size_t size)
{
	*w = (struct wire){.start = buffer, .at = buffer, .end = (uint8_t *)buffer + size};
}

static inline size_t wire_size(const struct wire *w)
{
	return (size_t)(w->at - w->start);
}
static inline size_t wire_room(const struct wire *w)
{
	/* the cursor may stand behind the end: in octets that were kept for padding */
	return w->at < w->end ? (size_t)(w->end - w->at) : 0;
}
static inline bool wire_overflowed(const struct wire *w)
{
	return w->overflow;
}

/* n octets to write to, or NULL (and overflow) when there is no room. */
static inline uint8_t *wire_take(struct wire *w, size_t n)
{
	uint8_t *p = w->at;

	if (w->overflow || wire_room(w) < n) {
		w->overflow = true;
		return NULL;
	}
	w->at += n;
	return p;
}

static inline uint8_t *wire_mark(const struct wire *w)
{
	return w->at;
}
static inline void wire_rewind(struct wire *w, uint8_t *mark)
{
	w->at = mark;
	w->overflow = false;
}

/* The lowest size octets of value, big-endian, at p. */
static inline void wire_store(uint8_t *p, uint64_t value, size_t size)
{
	uint64_t be = htobe64(value);

	switch (size) { /* constant sizes: one store each */
	case 1:
		*p = (uint8_t)value;
		break;
	case 2:
		memcpy(p, (uint8_t *)&be + 6, 2);
		break;
	case 4:
		memcpy(p, (uint8_t *)&be + 4, 4);
		break;
	case 8:
		memcpy(p, &be, 8);
		break;
	default:
		memcpy(p, (uint8_t *)&be + (8 - size), size);
	}
}

/* The big-endian number of 32 bits at p. */
static inline uint32_t wire_load32(const uint8_t *p)
{
	uint32_t be;

	memcpy(&be, p, sizeof(be));
	return be32toh(be);
}

static inline void wire_put_uint(struct wire *w, uint64_t value, size_t size)
{
	uint8_t *p = wire_take(w, size);

	if (p)
		wire_store(p, value, size);
}
static inline void wire_put_u8(struct wire *w, uint8_t v)
{
	wire_put_uint(w, v, 1);
}
static inline void wire_put_u16(struct wire *w, uint16_t v)
{
	wire_put_uint(w, v, 2);
}
static inline void wire_put_u32(struct wire *w, uint32_t v)
{
	wire_put_uint(w, v, 4);
}
static inline void wire_put_u64(struct wire *w, uint64_t v)
{
	wire_put_uint(w, v, 8);
}
static inline void wire_put_bytes(struct wire *w, const void *data, size_t n)
{
	uint8_t *p = wire_take(w, n);

	if (p)
		memcpy(p, data, n);
}
static inline void wire_put_zeros(struct wire *w, size_t n)
{
	uint8_t *p = wire_take(w, n);

	if (p)
		memset(p, 0, n);
}

#endif
