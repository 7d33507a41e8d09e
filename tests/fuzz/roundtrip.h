/*
 * roundtrip: what was given to the exporter, and what it has to be on the wire.
 *
 * What stands here about elements is from IANA's registry, RFC 7011 and RFC 3954; ie.def only says which rows
 * there are, so a row that is unknown here fails.
 */
#ifndef TEST_ROUNDTRIP_H
#define TEST_ROUNDTRIP_H

#define SINK_MESSAGES 4096u
#include "reader.h"
#include "sink.h"

#define GIVEN	2048u
#define DAY_MS	INT64_C(86400000)
#define WRAP_MS (INT64_C(1000) << 32) /* of headers that say seconds in 32 bits */

static struct given {
	struct flow_record record;
	struct clock_time now;
	bool unfit, dropped, decoded;
} given[GIVEN];
static unsigned n_given;

static struct run {
	enum export_format format;
	struct exporter_config config;
	struct export_interface interfaces[3];
	char fields[1500];
	uint16_t expected[2][READER_FIELDS]; /* elements of IPv4 and IPv6 templates; n_expected 0: not
						compared */
	unsigned n_expected[2];
	size_t size;
	bool reliable, harsh;
	struct exporter *e;
	struct sink *sink;
	struct clock_time now;
	uint64_t latest_wall_ns;
	uint64_t missed; /* records that sequence numbers may show as lost */
	bool refused, lossy, wild, oversized;
	uint64_t saturated;
	unsigned session_at[GIVEN], n_sessions; /* the sink's message with which each began, but the first */
	unsigned first_of[SINK_MESSAGES], n_noted; /* the first record in each of the sink's messages */
	unsigned first_open;			   /* and in the one that is not finished */
	/* reading */
	struct reader reader;
	unsigned next, records;	  /* record, and records in this message */
	uint64_t packets, octets; /* of the record's parts until now */
	uint32_t sequence;
	uint64_t sent_records, sent_octets, unsent_records;
	unsigned session, index;
	uint32_t export_time;
	struct sent_totals {
		uint64_t records, octets;
	} before[SINK_MESSAGES + 1]; /* each message, in those that were sent */
} run;

/* ---- which fields a template has */

/* Whether records have the block here: see the layout of fuzz_roundtrip.c. */
enum {
	THERE_CORE = 1,
#define BLOCK(name, ...)	    THERE_##name = BLOCK_##name == BLOCK_LINK,
#define BLOCK_OF_HOST(name, record) THERE_##name = 0,
#include "pitot/blocks.def"
};

static const struct {
	const char *name;
	uint16_t id;
	uint8_t protocols;
} rows[] = {
#define IE(name, pen, id, id9, l, l9, e, b, m, g, protocols) {#name, id, THERE_##b ? protocols : 0},
#define IE_CONST(name, pen, id, l, l9, v, g, protocols)	     {#name, id, protocols},
#define IE_FACT(...)
#define IE_PAIR(...)
#define IE_ASKS(...)
#include "pitot/ie.def"
};

static const uint16_t pairs[][2] = {{8, 27}, {12, 28}, {32, 139}, {22, 152}, {21, 153}};

static bool has(uint16_t id, bool v6)
{
	switch (id) {
	case 8:
	case 12:
	case 32:
		return !v6;
	case 27:
	case 28:
	case 31:
	case 139:
		return v6;
	case 21:
	case 22:
		return run.format == FORMAT_NETFLOW9;
	case 56:
	case 58:
	case 80:
	case 243:
		return run.config.has_ethernet;
	case 61:
		return run.config.has_direction;
	case 48:
	case 302:
		return run.config.sampling.n_selectors > 0;
	default:
		return true;
	}
}

static uint16_t placed(uint16_t id, bool v6)
{
	uint16_t other = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++)
		other = id == pairs[i][0] ? pairs[i][1] : id == pairs[i][1] ? pairs[i][0] : other;
	if (!has(id, v6))
		id = other && has(other, v6) ? other : 0;
	return id == 139 && run.format == FORMAT_NETFLOW9 ? 32 : id; /* as id9 of ie.def */
}

static void expect(uint16_t id)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		uint16_t wanted = placed(id, v6);
		bool there = wanted == 0;

		for (unsigned i = 0; i < run.n_expected[v6]; i++)
			there = there || run.expected[v6][i] == wanted;
		if (!there)
			run.expected[v6][run.n_expected[v6]++] = wanted;
	}
}

static unsigned width(uint16_t id)
{
	bool v9 = run.format == FORMAT_NETFLOW9;

	switch (id) {
	case 4:
	case 5:
	case 52:
	case 53:
	case 60:
	case 61:
	case 48:
	case 136:
		return 1;
	case 6: /* RFC 3954 §8: one octet */
		return v9 ? 1 : 2;
	case 7:
	case 11:
	case 32:
	case 58:
	case 139:
	case 243:
		return 2;
	case 8:
	case 10:
	case 12:
	case 14:
	case 21:
	case 22:
	case 31:
	case 34:
	case 150:
	case 151:
	case 161:
		return 4;
	case 56:
	case 80:
		return 6;
	case 1:
	case 2:
	case 25:
	case 26:
	case 148:
	case 302:
	case 152:
	case 153:
	case 154:
	case 155:
	case 156:
	case 157:
		return 8;
	case 27:
	case 28:
		return 16;
	case 82:
		return v9 ? 16 : 65535;
	default:
		fail_msg("element %u is unknown here", id);
		return 0;
	}
}

static void check_template(const struct reader_template *t, bool v6)
{
	if (t == &reader_netflow5)
		return;
	assert_int_equal(t->id, v6 ? 257 : 256);
	if (run.n_expected[v6])
		assert_int_equal(t->n, run.n_expected[v6]);
	for (unsigned i = 0; i < t->n; i++) {
		assert_int_equal(t->fields[i].length, width(t->fields[i].id));
		if (run.n_expected[v6])
			assert_int_equal(t->fields[i].id, run.expected[v6][i]);
	}
}

/* ---- values */

static bool is_utf8(const char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		uint8_t c = (uint8_t)s[i++];
		unsigned more = c < 0x80 ? 0 : c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
		uint32_t code = more == 0 ? c : c & (0x3fu >> more);

		if (c < 0x20 || c == 0x7f || (c >= 0x80 && c < 0xc0) || c > 0xf7)
			return false;
		for (unsigned k = 0; k < more; k++, i++) {
			if (i == n || ((uint8_t)s[i] & 0xc0) != 0x80)
				return false;
			code = code << 6 | ((uint8_t)s[i] & 0x3f);
		}
		if ((more == 1 && code < 0x80) || (more == 2 && code < 0x800) ||
		    (more == 3 && code < 0x10000) || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
			return false;
	}
	return true;
}

/* EN-3: well-formed; a name that was well-formed is itself, or as much of it as there is room for. */
static void check_name(const uint8_t *value, unsigned size, bool fixed, const char *name)
{
	unsigned n = (unsigned)strnlen((const char *)value, size), whole = (unsigned)strlen(name);

	assert_true(is_utf8((const char *)value, n));
	for (unsigned i = n; i < size; i++)
		assert_int_equal(value[i], 0);
	assert_true(fixed || n == size);
	if (!is_utf8(name, whole))
		return;
	assert_memory_equal(value, name, n);
	if (n < whole)
		assert_true(fixed && n + 4 > size && ((uint8_t)name[n] & 0xc0) != 0x80);
}

/* ms that an uptime of a message stands for, against ms that it should. */
static int64_t off_by(uint32_t uptime, int64_t ms)
{
	const struct reader *r = &run.reader;
	int64_t header = (int64_t)r->seconds * 1000 + r->nanoseconds / 1000000;
	int64_t off = (header - (int32_t)(r->uptime - uptime) - ms) % WRAP_MS;

	return off > WRAP_MS / 2 ? off - WRAP_MS : off < -WRAP_MS / 2 ? off + WRAP_MS : off;
}

/* V5-5, V9-4: not behind the header, and exact where 32 bits can say it. */
static void check_uptime(const struct given *g, uint32_t uptime, uint64_t ns)
{
	int64_t ms = (int64_t)(ns / NS_PER_MSEC), now = (int64_t)(g->now.realtime_ns / NS_PER_MSEC);
	int64_t last = (int64_t)(g->record.last_ns / NS_PER_MSEC);
	int64_t start = now - (int64_t)((g->now.monotonic_ns - run.config.start_monotonic_ns) / NS_PER_MSEC) -
			3595000;
	int64_t off = off_by(uptime, ms);

	run.saturated += off != 0;
	assert_true((int32_t)(run.reader.uptime - uptime) >= 0);
	if (run.config.offline ? last - ms <= 24 * DAY_MS
			       : ms <= now && ms >= start && now - ms <= 24 * DAY_MS)
		assert_int_equal(off, 0);
	else if (!run.wild && ms > now - WRAP_MS / 4 && last - ms < WRAP_MS / 2) /* off is its smaller half */
		assert_true(off >= 0 || (!run.config.offline && ms > now)); /* moved into what can be said */
}

static void check_ntp(uint64_t value, uint64_t ns, bool micro)
{
	uint64_t fraction = value & UINT32_MAX, unit = micro ? 1000000 : 1000000000;

	assert_int_equal(value >> 32, (ns / 1000000000 + UINT64_C(2208988800)) & UINT32_MAX);
	assert_int_equal(fraction * unit >> 32, ns % 1000000000 / (1000000000 / unit));
	if (micro)
		assert_int_equal(fraction & 0x7ff, 0);
}

/* NetFlow v5: the parts of a record add up, none is empty. */
static void check_counters(const struct given *g, uint64_t packets, uint64_t octets)
{
	const struct flow_record *r = &g->record;
	bool all;

	assert_true(packets > 0 || r->packets == 0);
	run.packets += packets;
	run.octets += octets;
	assert_true(run.packets <= r->packets && run.octets <= r->octets);
	all = run.packets == r->packets;
	if (octets == UINT32_MAX || packets == UINT32_MAX) /* a packet alone is more than fits */
		assert_true(octets == UINT32_MAX &&
			    r->octets / (r->packets ? r->packets : 1) >= UINT32_MAX - 1);
	else if (all && !run.oversized)
		assert_int_equal(run.octets, r->octets);
	if (octets == UINT32_MAX)
		run.oversized = true;
	run.records += all;
}

static uint64_t cap(uint64_t v, unsigned size)
{
	uint64_t most = size == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * size) - 1;

	return v < most ? v : most;
}

static uint64_t expected_uint(const struct given *g, uint16_t id, unsigned size)
{
	const struct flow_record *r = &g->record;
	bool v6 = r->key.ip_version == 6;

	switch (id) {
	case 1:
		return r->octets;
	case 2:
		return r->packets;
	case 4:
		return r->key.protocol;
	case 5:
		return r->tos;
	case 6:
		return r->key.protocol != 6 ? 0 : r->tcp_flags & (size == 1 ? 0xff : 0xfff);
	case 7:
		return r->key.src_port;
	case 10:
		return cap(r->ingress, size) == r->ingress ? r->ingress : 0;
	case 11:
		return r->key.dst_port;
	case 14:
		return cap(r->egress, size) == r->egress ? r->egress : 0;
	case 25:
		return r->min_octets;
	case 26:
		return r->max_octets;
	case 31:
		return r->flow_label;
	case 32:
		return r->key.protocol == (v6 ? 58 : 1) ? r->key.dst_port : 0;
	case 34:
		return UINT32_C(1) << (r->selector & 31);
	case 48:
	case 302:
		return cap(r->selector, size);
	case 52:
		return r->min_ttl;
	case 53:
		return r->max_ttl;
	case 58:
	case 243:
		return sink_link_of(r)->vlan;
	case 60:
		return r->key.ip_version;
	case 61:
		return r->direction == 1;
	case 136:
		return r->end_reason;
	case 139:
		return r->key.protocol == 58 ? r->key.dst_port : 0;
	case 148:
		return r->id;
	case 150:
		return r->first_ns / NS_PER_SEC & UINT32_MAX;
	case 151:
		return r->last_ns / NS_PER_SEC & UINT32_MAX;
	case 152:
		return r->first_ns / NS_PER_MSEC;
	case 153:
		return r->last_ns / NS_PER_MSEC;
	case 161:
		run.saturated += r->last_ns / NS_PER_MSEC - r->first_ns / NS_PER_MSEC > UINT32_MAX;
		return cap(r->last_ns / NS_PER_MSEC - r->first_ns / NS_PER_MSEC, 4);
	case 210:
		return 0;
	default:
		fail_msg("element %u is unknown here", id);
		return 0;
	}
}

static const char *name_of(uint32_t ifindex)
{
	for (unsigned i = 0; ifindex && i < run.config.n_interfaces; i++)
		if (run.interfaces[i].ifindex == ifindex)
			return run.interfaces[i].name;
	return "";
}

static void check_value(const struct given *g, uint16_t id, const uint8_t *value, unsigned size)
{
	const struct flow_record *r = &g->record;

	switch (id) {
	case 8:
	case 27:
		assert_memory_equal(value, r->key.src, size);
		return;
	case 12:
	case 28:
		assert_memory_equal(value, r->key.dst, size);
		return;
	case 56:
		assert_memory_equal(value, sink_link_of(r)->src_mac, size);
		return;
	case 80:
		assert_memory_equal(value, sink_link_of(r)->dst_mac, size);
		return;
	case 21:
		check_uptime(g, (uint32_t)reader_uint(value, 4), r->last_ns);
		return;
	case 22:
		check_uptime(g, (uint32_t)reader_uint(value, 4), r->first_ns);
		return;
	case 82:
		check_name(value, size, run.format == FORMAT_NETFLOW9,
			   name_of(r->ingress ? r->ingress : r->egress));
		return;
	case 154:
	case 155:
		check_ntp(reader_uint(value, 8), id == 154 ? r->first_ns : r->last_ns, true);
		return;
	case 156:
	case 157:
		check_ntp(reader_uint(value, 8), id == 156 ? r->first_ns : r->last_ns, false);
		return;
	default:
		break;
	}
	if (run.format == FORMAT_NETFLOW5 && (id == 1 || id == 2))
		return; /* check_counters() */
	if (reader_uint(value, size > 8 ? 8 : size) != expected_uint(g, id, size))
		fail_msg("record %u: element %u", (unsigned)(g - given), id);
}

#endif
