/*
 * export_hand_over: collectors' sessions for another process, and those of another process for this one.
 *
 * A session goes with its socket, its sequence number, the clock of its headers, and what its format knows:
 * templates that the collector has, and when it is told of them again.  Whoever takes it over goes on as if
 * nothing had happened; where that is not possible it begins a session of its own.
 */
#include <stdio.h>
#include <string.h>

#include "format.h"

struct handed_collector {
	uint32_t index; /* of whoever handed it over */
	uint32_t format, transport, domain;
	uint32_t sequence, stamp_s;
	int64_t boot_ms, header_ms, sent_uptime_ms, sent_s, offset_ms;
	uint32_t has_line;
	uint32_t url_octets;
	uint32_t in_force_octets;
	uint32_t spare;
	uint64_t messages, octets, records;
	struct totals shown;
	/* then the URL, the templates in force and the format's own */
};

enum { SENTENCE = 512, STATE_OCTETS = 128 << 10, IN_FORCE_OCTETS = 65536 };

/* ---- out */

static bool export_can_go(const struct collector *c)
{
	return c->transport && c->transport->ops->settled && !c->message.open && c->transport->fd >= 0 &&
	       c->transport->ops->settled(c->transport);
}

bool exporter_settle(struct exporter *e, const struct clock_time *now)
{
	bool settled = true;

	e->now = *now;
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		if (!c->transport)
			continue;
		message_flush(c);
		if (c->transport->ops->settled && c->transport->state == TRANSPORT_STATE_UP)
			settled &= c->transport->ops->settled(c->transport);
	}
	return settled;
}

size_t exporter_hand_over_octets(const struct exporter *e)
{
	return 4096 + e->n_collectors * (size_t)(STATE_OCTETS + IN_FORCE_OCTETS + 8192);
}

static void hand_over_collector(const struct collector *c, struct sections_writer *w)
{
	size_t in_force_octets = 0;
	const uint8_t *in_force = c->transport->ops->in_force
					  ? c->transport->ops->in_force(c->transport, &in_force_octets)
					  : NULL;
	struct handed_collector h = {.index = c->index,
				     .format = c->config.format,
				     .transport = c->config.transport,
				     .domain = c->exporter->config.domain,
				     .sequence = c->sequence,
				     .stamp_s = c->stamp_s,
				     .boot_ms = c->clock.boot_ms,
				     .header_ms = c->clock.header_ms,
				     .sent_uptime_ms = c->clock.sent_uptime_ms,
				     .sent_s = c->clock.sent_s,
				     .offset_ms = c->clock.offset_ms,
				     .has_line = c->clock.has_line,
				     .url_octets = (uint32_t)strlen(c->config.url),
				     .in_force_octets = (uint32_t)in_force_octets,
				     .messages = c->earlier.messages + c->stats.messages,
				     .octets = c->earlier.octets + c->stats.octets,
				     .records = c->earlier.records + c->stats.sent.records,
				     .shown = c->earlier.shown};

	totals_add(&h.shown, &c->shown);
	sections_begin(w, EXPORT_SECTION_COLLECTOR, EXPORT_SECTION_VERSION);
	sections_put(w, &h, sizeof(h));
	sections_put(w, c->config.url, h.url_octets);
	sections_put(w, in_force, in_force_octets);
	if (c->format->hand_over)
		c->format->hand_over(c, w);
	sections_end(w);
}

static void export_add_facts(struct export_process_facts *sum, const struct export_process_facts *f)
{
	for (unsigned i = 0; i < EXPORT_SELECTORS; i++) {
		sum->observed_packets[i] += f->observed_packets[i];
		sum->selected_packets[i] += f->selected_packets[i];
	}
	sum->ignored_packets += f->ignored_packets;
	sum->ignored_octets += f->ignored_octets;
	sum->dropped_packets += f->dropped_packets;
	if (!sum->first_ignored_ns)
		sum->first_ignored_ns = f->first_ignored_ns;
	if (f->last_ignored_ns)
		sum->last_ignored_ns = f->last_ignored_ns;
	sum->lost = (struct totals){0};
}

unsigned exporter_hand_over(const struct exporter *e, struct sections_writer *w, int *fds, unsigned most)
{
	struct export_process_facts facts = e->earlier;
	unsigned n = 0;

	export_add_facts(&facts, &e->facts);
	sections_begin(w, EXPORT_SECTION_FACTS, EXPORT_SECTION_VERSION);
	sections_put(w, &facts, sizeof(facts));
	sections_end(w);
	for (unsigned i = 0; i < e->n_collectors && n < most; i++) {
		const struct collector *c = &e->collectors[i];

		if (!export_can_go(c))
			continue;
		hand_over_collector(c, w);
		fds[n++] = c->transport->fd;
	}
	return n;
}

void exporter_let_go(struct exporter *e, uint64_t taken)
{
	for (unsigned i = 0; i < e->n_collectors && i < 64; i++) {
		struct collector *c = &e->collectors[i];

		if (!(taken >> i & 1) || !c->transport || !c->transport->ops->settled)
			continue;
		if (c->transport->ops->let_go)
			c->transport->ops->let_go(c->transport);
		collector_close(c, 0); /* no record comes any more: nobody looks for its transport */
	}
}

/* ---- in */

static struct collector *export_find_collector(struct exporter *e, const char *url, size_t octets)
{
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		if (strlen(c->config.url) == octets && memcmp(c->config.url, url, octets) == 0)
			return c;
	}
	return NULL;
}

/* Why the session cannot go on here; NULL: it can, as far as what it is told of. */
static const char *export_refuse(const struct collector *c, const struct handed_collector *h)
{
	if (h->format != (uint32_t)c->config.format || h->transport != (uint32_t)c->config.transport)
		return "its format is another one";
	if (h->domain != c->exporter->config.domain)
		return "the observation domain (--domain) is another one";
	if (!c->transport->ops->take_over)
		return "its transport cannot be taken over";
	return NULL;
}

static void export_take_numbers(struct collector *c, const struct handed_collector *h)
{
	c->session = c->stamp_session = c->transport->session;
	c->sequence = h->sequence;
	c->stamp_s = h->stamp_s;
	c->clock.boot_ms = h->boot_ms;
	c->clock.header_ms = h->header_ms;
	c->clock.sent_uptime_ms = h->sent_uptime_ms;
	c->clock.sent_s = h->sent_s;
	c->clock.offset_ms = h->offset_ms;
	c->clock.has_line = h->has_line != 0;
	c->earlier.messages = h->messages;
	c->earlier.octets = h->octets;
	c->earlier.records = h->records;
	c->earlier.shown = h->shown;
}

/* NULL: it was taken. */
static const char *export_take_collector(struct collector *c, struct section *s,
					 const struct handed_collector *h, int fd)
{
	const char *why = export_refuse(c, h);
	const uint8_t *in_force = section_take(s, h->in_force_octets);

	if (!why && !in_force)
		why = "it cannot be read";
	if (!why && c->format->take_over)
		why = c->format->take_over(c, s);
	if (!why && c->transport->ops->take_over(c->transport, fd, in_force, h->in_force_octets) < 0)
		why = "its socket is of another address";
	if (!why)
		export_take_numbers(c, h);
	else
		c->started = false;
	return why;
}

uint64_t exporter_take_over(struct exporter *e, const struct sections_reader *sections, const int *fds,
			    unsigned n_fds, void (*say)(void *ctx, const char *sentence), void *ctx)
{
	struct sections_reader r = *sections;
	struct handed_collector h;
	struct section s;
	uint64_t taken = 0;
	unsigned n = 0;

	if (sections_find(&r, EXPORT_SECTION_FACTS, EXPORT_SECTION_VERSION, &s) &&
	    s.left == sizeof(e->earlier))
		(void)section_get(&s, &e->earlier, sizeof(e->earlier));
	while (sections_next(&r, &s)) {
		char sentence[SENTENCE];
		struct collector *c;
		const char *url, *why;

		if (strcmp(s.name, EXPORT_SECTION_COLLECTOR) != 0)
			continue;
		if (n == n_fds)
			break;
		if (s.version != EXPORT_SECTION_VERSION || !section_get(&s, &h, sizeof(h)) || h.index >= 64 ||
		    h.url_octets >= SENTENCE || !(url = section_take(&s, h.url_octets))) {
			say(ctx, "a collector's session was not taken over: it is of a kind that this "
				 "version does not "
				 "know");
			n++;
			continue;
		}
		c = export_find_collector(e, url, h.url_octets);
		why = c ? export_take_collector(c, &s, &h, fds[n]) : "no such collector is configured";
		n++;
		if (!why) {
			taken |= UINT64_C(1) << h.index;
			continue;
		}
		snprintf(sentence, sizeof(sentence),
			 "the session with collector %.*s was not taken over: %s%s",
			 (int)(h.url_octets < 300 ? h.url_octets : 300), url, why,
			 c ? "; it gets a new one" : "");
		say(ctx, sentence);
	}
	return taken;
}
