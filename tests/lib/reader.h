/*
 * reader: a collector for tests.  Reads NetFlow v9 and IPFIX messages by what they announce, NetFlow v5 by
 * its one layout, and knows no ie.def; a message that does not follow the format fails the test.
 */
#ifndef TEST_READER_H
#define TEST_READER_H

#include <stdbool.h>
#include <string.h>

#include "cm.h"

#define READER_TEMPLATES 32u
#define READER_FIELDS	 80u

struct reader_template {
	uint16_t id, n, scope;
	bool options;
	unsigned seen;	  /* messages that announced it */
	unsigned message; /* the last one that did */
	struct reader_field {
		uint16_t id, length;
	} fields[READER_FIELDS];
};

struct reader_record {
	const struct reader_template *template;
	const uint8_t *values[READER_FIELDS];
	uint16_t sizes[READER_FIELDS];
};

struct reader {
	struct reader_template templates[READER_TEMPLATES];
	unsigned n_templates;
	unsigned messages;
	/* of the last message */
	uint16_t version, count;
	uint32_t uptime, seconds, nanoseconds, sequence, domain;
	unsigned template_records, option_records, flow_records;
	void (*record)(struct reader *r, const struct reader_record *record);
	void *context;
};

/* NetFlow v5's record, under the numbers that IPFIX has for its fields; 210 is padding. */
static const struct reader_template reader_netflow5 = {
	.n = 16,
	.fields = {{8, 4},
		   {12, 4},
		   {210, 4},
		   {10, 2},
		   {14, 2},
		   {2, 4},
		   {1, 4},
		   {22, 4},
		   {21, 4},
		   {7, 2},
		   {11, 2},
		   {210, 1},
		   {6, 1},
		   {4, 1},
		   {5, 1},
		   {210, 8}},
};

static inline uint64_t reader_uint(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

static inline struct reader_template *reader_find(struct reader *r, uint64_t id)
{
	for (unsigned i = 0; i < r->n_templates; i++)
		if (r->templates[i].id == id)
			return &r->templates[i];
	return NULL;
}

/* The value of an element, or -1 when the record has it not. */
static inline int64_t reader_value(const struct reader_record *record, uint16_t id)
{
	for (unsigned i = 0; i < record->template->n; i++)
		if (record->template->fields[i].id == id)
			return (int64_t)reader_uint(record->values[i], record->sizes[i]);
	return -1;
}

static inline const uint8_t *reader_octets(const struct reader_record *record, uint16_t id)
{
	for (unsigned i = 0; i < record->template->n; i++)
		if (record->template->fields[i].id == id)
			return record->values[i];
	return NULL;
}

static inline const uint8_t *reader_announce(struct reader *r, const uint8_t *p, const uint8_t *end,
					     bool options)
{
	struct reader_template t = {.options = options}, *old;

	assert_true(p + (options ? 6 : 4) <= end);
	t.id = (uint16_t)reader_uint(p, 2);
	t.n = (uint16_t)reader_uint(p + 2, 2);
	if (options) {
		t.scope = (uint16_t)reader_uint(p + 4, 2);
		if (r->version == 9) { /* octets of scope, octets of options */
			uint16_t scope = t.n / 4;

			t.n = (uint16_t)(scope + t.scope / 4);
			t.scope = scope;
		}
		assert_in_range(t.scope, 1, t.n - 1);
	}
	p += options ? 6 : 4;
	assert_in_range(t.id, 256, 65535);
	assert_in_range(t.n, 1, READER_FIELDS);
	assert_true(p + 4 * t.n <= end);
	for (unsigned i = 0; i < t.n; i++, p += 4) {
		t.fields[i].id = (uint16_t)reader_uint(p, 2);
		t.fields[i].length = (uint16_t)reader_uint(p + 2, 2);
		assert_in_range(t.fields[i].id, 1, 32767);
		assert_int_not_equal(t.fields[i].length, 0);
	}
	old = reader_find(r, t.id);
	if (old) { /* never redefined */
		assert_int_equal(old->n, t.n);
		assert_memory_equal(old->fields, t.fields, sizeof(t.fields));
		old->seen += old->message != r->messages;
		old->message = r->messages;
	} else {
		assert_true(r->n_templates < READER_TEMPLATES);
		t.seen = 1;
		t.message = r->messages;
		r->templates[r->n_templates++] = t;
	}
	r->template_records++;
	return p;
}

static inline const uint8_t *reader_data(struct reader *r, const struct reader_template *t, const uint8_t *p,
					 const uint8_t *end)
{
	struct reader_record record = {.template = t};

	for (unsigned i = 0; i < t->n; i++) {
		unsigned length = t->fields[i].length;

		if (length == 65535) {
			assert_true(p < end);
			length = *p++;
			if (length == 255) {
				assert_true(p + 2 <= end);
				length = (unsigned)reader_uint(p, 2);
				p += 2;
			}
		}
		assert_true(p + length <= end);
		record.values[i] = p;
		record.sizes[i] = (uint16_t)length;
		p += length;
	}
	if (t->options)
		r->option_records++;
	else
		r->flow_records++;
	if (r->record)
		r->record(r, &record);
	return p;
}

static inline unsigned reader_least(const struct reader_template *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->n; i++)
		n += t->fields[i].length == 65535 ? 1 : t->fields[i].length;
	return n;
}

static inline void reader_set(struct reader *r, const uint8_t *p, const uint8_t *end, uint16_t id)
{
	uint16_t templates = r->version == 9 ? 0 : 2;
	unsigned records = 0, least = id == templates || id == templates + 1 ? 8 : 0;
	size_t size = (size_t)(end - p);
	struct reader_template *t = NULL;

	if (!least) {
		assert_in_range(id, 256, 65535);
		t = reader_find(r, id);
		if (!t)
			fail_msg("message %u: data of %u before its template", r->messages, id);
		least = reader_least(t);
	}
	for (; p < end && (size_t)(end - p) >= least; records++)
		p = t ? reader_data(r, t, p, end) : reader_announce(r, p, end, id == templates + 1);
	assert_in_range(records, 1, id == templates + 1 ? 1 : 65535); /* nfacctd reads the first of a set */
	/* sets of whole words, unless the padding would be as long as a record (RFC 3954 errata 2096) */
	if (r->version == 9 && size % 4)
		assert_true(least <= 4 - size % 4 && p == end);
	for (; p < end; p++)
		assert_int_equal(*p, 0);
}

static inline void reader_message5(struct reader *r, const uint8_t *p, size_t size)
{
	const uint8_t *end = p + size;

	assert_in_range(r->count, 1, 30);
	assert_int_equal(size, 24 + 48 * (size_t)r->count);
	r->uptime = (uint32_t)reader_uint(p + 4, 4);
	r->seconds = (uint32_t)reader_uint(p + 8, 4);
	r->nanoseconds = (uint32_t)reader_uint(p + 12, 4);
	r->sequence = (uint32_t)reader_uint(p + 16, 4);
	r->domain = (uint32_t)reader_uint(p + 20, 2);
	assert_in_range(r->nanoseconds, 0, 999999999);
	assert_int_equal(reader_uint(p + 22, 2), 0); /* not sampled */
	for (p += 24; p < end;)
		p = reader_data(r, &reader_netflow5, p, end);
}

static inline void reader_message(struct reader *r, const uint8_t *p, size_t size)
{
	const uint8_t *end = p + size;
	unsigned head;

	assert_true(size >= 20);
	r->messages++;
	r->template_records = r->option_records = r->flow_records = 0;
	r->version = (uint16_t)reader_uint(p, 2);
	r->count = (uint16_t)reader_uint(p + 2, 2);
	r->nanoseconds = 0;
	if (r->version == 5) {
		reader_message5(r, p, size);
		return;
	}
	if (r->version == 9) {
		head = 20;
		r->uptime = (uint32_t)reader_uint(p + 4, 4);
		r->seconds = (uint32_t)reader_uint(p + 8, 4);
		r->sequence = (uint32_t)reader_uint(p + 12, 4);
		r->domain = (uint32_t)reader_uint(p + 16, 4);
	} else {
		head = 16;
		assert_int_equal(r->version, 10);
		assert_int_equal(r->count, size);
		r->seconds = (uint32_t)reader_uint(p + 4, 4);
		r->sequence = (uint32_t)reader_uint(p + 8, 4);
		r->domain = (uint32_t)reader_uint(p + 12, 4);
	}
	for (p += head; p < end;) {
		uint16_t id, length;

		assert_true(end - p >= 4);
		id = (uint16_t)reader_uint(p, 2);
		length = (uint16_t)reader_uint(p + 2, 2);
		assert_in_range(length, 5, end - p);
		reader_set(r, p + 4, p + length, id);
		p += length;
	}
	if (r->flow_records) /* who gives up on templates or options loses no flows */
		assert_int_equal(r->template_records + r->option_records, 0);
	if (r->version == 9)
		assert_int_equal(r->count, r->template_records + r->option_records + r->flow_records);
}

#endif
