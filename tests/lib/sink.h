/*
 * sink: a transport that keeps messages in memory, and can refuse, lose and delay them.
 *
 * The exporter gets them where it would open a collector; and a time of the test's own (sink_clock), which
 * passes when it waits.
 */
#ifndef TEST_SINK_H
#define TEST_SINK_H

#include <stdlib.h>
#include <string.h>

#include "cm.h"
#include "export/format.h"
#include "pitot/exporter.h"

#ifndef SINK_MESSAGES
#define SINK_MESSAGES 8192u
#endif

struct sink {
	struct transport t; /* first */
	bool refuse;	    /* lend nothing */
	bool lose;	    /* what is flushed does not leave */
	bool hold;	    /* flush resolves nothing */
	unsigned n, resolved;
	struct sink_message {
		uint8_t *data;
		size_t size;
		bool sent;
		struct transport_load load;
	} messages[SINK_MESSAGES];
	uint8_t lent[65535];
};

static inline uint8_t *sink_reserve(struct transport *t)
{
	struct sink *s = (struct sink *)t;

	return s->refuse ? NULL : s->lent;
}

static inline void sink_commit(struct transport *t, size_t size, const struct transport_load *load)
{
	struct sink *s = (struct sink *)t;
	struct sink_message *m = &s->messages[s->n++];

	assert_true(s->n < SINK_MESSAGES);
	assert_in_range(size, 1, t->limits.max_message);
	m->data = malloc(size); /* exactly: a reader that goes too far is seen */
	assert_non_null(m->data);
	memcpy(m->data, s->lent, size);
	m->size = size;
	m->load = *load;
}

static inline void sink_resolve(struct sink *s)
{
	for (; s->resolved < s->n; s->resolved++) {
		struct sink_message *m = &s->messages[s->resolved];

		m->sent = !s->lose;
		transport_resolve(&s->t, &m->load, m->size, m->sent);
	}
}

static inline void sink_flush(struct transport *t)
{
	struct sink *s = (struct sink *)t;

	if (!s->hold)
		sink_resolve(s);
}

static inline void sink_tick(struct transport *t, const struct clock_time *now)
{
	(void)t;
	(void)now;
}

static inline uint64_t sink_due_ns(const struct transport *t)
{
	const struct sink *s = (const struct sink *)t;

	return s->resolved < s->n ? 0 : UINT64_MAX;
}

static inline void sink_close(struct transport *t, uint64_t deadline_ns, struct transport_stats *last)
{
	(void)deadline_ns;
	sink_resolve((struct sink *)t);
	*last = t->stats; /* the sink lives on: the test reads it */
}

static const struct transport_ops sink_ops = {
	.name = "sink",
	.reserve = sink_reserve,
	.commit = sink_commit,
	.flush = sink_flush,
	.tick = sink_tick,
	.due_ns = sink_due_ns,
	.close = sink_close,
};

static inline struct sink *sink_new(size_t max_message, bool reliable)
{
	struct sink *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->t = (struct transport){.ops = &sink_ops,
				  .state = TRANSPORT_STATE_UP,
				  .session = 1,
				  .fd = -1,
				  .limits = {.max_message = max_message, .reliable = reliable}};
	return s;
}

static inline void sink_free(struct sink *s)
{
	for (unsigned i = 0; i < s->n; i++)
		free(s->messages[i].data);
	free(s);
}

/* What opens collectors: sinks in their order. */
struct sink_opener {
	struct sink **next;
};

static inline int sink_open(void *ctx, struct transport **tp, const struct transport_config *config,
			    struct diag *diag)
{
	struct sink_opener *o = ctx;

	(void)config;
	(void)diag;
	*tp = &(*o->next++)->t;
	return 0;
}

/* ---- an exporter on fixed time */

#define SINK_EPOCH UINT64_C(1700000000) /* s */

static inline struct clock_time sink_time(uint64_t ns)
{
	return (struct clock_time){.realtime_ns = SINK_EPOCH * NS_PER_SEC + ns,
				   .monotonic_ns = NS_PER_SEC + ns};
}

/* Passes only when somebody waits; then it may do something. */
struct sink_clock {
	uint64_t now_ns;
	unsigned waits;
	void (*pass)(uint64_t now_ns); /* NULL: nothing */
};

static inline uint64_t sink_clock_now(void *ctx)
{
	return ((struct sink_clock *)ctx)->now_ns;
}

static inline int sink_clock_poll(void *ctx, struct pollfd *fds, nfds_t n, int wait_ms)
{
	struct sink_clock *c = ctx;

	for (nfds_t i = 0; i < n; i++)
		fds[i].revents = 0;
	assert_true(wait_ms > 0); /* it would wait for ever here */
	c->now_ns += (uint64_t)wait_ms * NS_PER_MSEC;
	c->waits++;
	if (c->pass)
		c->pass(c->now_ns);
	return 0;
}

/* For as long as the clock is. */
static inline struct waiting sink_waiting(struct sink_clock *c)
{
	return (struct waiting){.now_ns = sink_clock_now, .poll = sink_clock_poll, .ctx = c};
}

/* The link block of records as sink_config() lays them out: it fits into the core. */
static inline struct block_link *sink_link(struct flow_record *r)
{
	return (struct block_link *)(void *)r->blocks;
}
static inline const struct block_link *sink_link_of(const struct flow_record *r)
{
	return (const struct block_link *)(const void *)r->blocks;
}

static inline struct exporter_config sink_config(void)
{
	static const struct export_interface interfaces[] = {{1, "eth0", "uplink"}, {2, "eth1", "eth1"}};
	struct record_layout layout;

	record_layout_init(&layout, 1u << BLOCK_LINK, 0);
	assert_int_equal(layout.record_at[BLOCK_LINK], offsetof(struct flow_record, blocks));
	return (struct exporter_config){
		.layout = layout,
		.template_ns = 60 * NS_PER_SEC,
		.template_messages = 20,
		.flush_ns = NS_PER_SEC,
		.active_ns = 60 * NS_PER_SEC,
		.inactive_ns = 15 * NS_PER_SEC,
		.has_ethernet = true,
		.has_direction = true,
		.interfaces = interfaces,
		.n_interfaces = 2,
		.key_interface = true,
		.start_ns = SINK_EPOCH * NS_PER_SEC,
		.start_monotonic_ns = NS_PER_SEC,
		.domain = 7,
	};
}

static inline struct exporter *sink_exporter(struct exporter_config config, unsigned n,
					     const enum export_format *formats, struct sink **sinks)
{
	static struct collector_config collectors[8];
	struct sink_opener opener = {sinks};
	struct exporter *e = NULL;
	struct diag diag = {""};

	for (unsigned i = 0; i < n; i++)
		collectors[i] = (struct collector_config){
			.url = "sink", .format = formats[i], .transport = TRANSPORT_FILE};
	config.collectors = collectors;
	config.n_collectors = n;
	config.open_transport = sink_open;
	config.open_ctx = &opener;
	if (exporter_new(&e, &config, &diag))
		fail_msg("%s", diag.text);
	return e;
}

/* A record that differs from its neighbours in every member; family and protocol go round. */
static inline struct flow_record sink_record(uint64_t i, uint64_t last_ns)
{
	static const uint8_t protocols[] = {6, 17, 1, 132, 58};
	struct flow_record r = {
		.packets = 1 + i % 1000,
		.octets = (1 + i % 1000) * (40 + i % 1400),
		.first_ns = last_ns - i % 9000 * 1000000,
		.last_ns = last_ns,
		.id = i + 1,
		.ingress = (uint32_t)(1 + i % 2),
		.egress = 0,
		.min_octets = 40,
		.max_octets = 1500,
		.tos = (uint8_t)(i * 4),
		.min_ttl = 60,
		.max_ttl = 64,
		.direction = i & 1,
		.end_reason = (uint8_t)(1 + i % 5),
	};

	r.key.ip_version = i % 3 == 2 ? 6 : 4;
	r.key.protocol = protocols[i % 5];
	if (r.key.protocol == 1 && r.key.ip_version == 6)
		r.key.protocol = 58;
	if (r.key.protocol == 58 && r.key.ip_version == 4)
		r.key.protocol = 1;
	r.tcp_flags = r.key.protocol == 6 ? (uint16_t)(i * 41 & 0x1ff) : 0;
	r.flow_label = r.key.ip_version == 6 ? (uint32_t)(i & 0xfffff) : 0;
	for (unsigned k = 0; k < (r.key.ip_version == 6 ? 16u : 4u); k++) {
		r.key.src[k] = (uint8_t)(i + 3 * k + 1);
		r.key.dst[k] = (uint8_t)(i * 7 + k + 2);
	}
	sink_link(&r)->vlan = (uint16_t)(i % 4095);
	for (unsigned k = 0; k < 6; k++) {
		sink_link(&r)->src_mac[k] = (uint8_t)(2 + k + i);
		sink_link(&r)->dst_mac[k] = (uint8_t)(0x12 + k + i);
	}
	if (r.key.protocol == 1 || r.key.protocol == 58) {
		r.key.dst_port = (uint16_t)(r.key.protocol == 1 ? 3 << 8 | i % 16 : 128 << 8);
	} else {
		r.key.src_port = (uint16_t)(1024 + i);
		r.key.dst_port = 443;
	}
	return r;
}

#endif
