/*
 * session_queue: what waits for a session, what is under way in it, and what became of it.
 *
 * The spool keeps messages of flow records; entries mirror those of this run, so that each can be told of:
 * sent when it first enters a session, lost when the spool drops it before, or after when it has to be sent
 * again.  They meet by the spool's numbers: what it drops need not be the oldest, since older messages may be
 * on the disk.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

#define DIRECT_OCTETS (1u << 20)
#define ENTRIES_FIRST 64u
/* Of what waited while there was no session: octets a second, and at once.  Datagrams have nobody who says
 * that they come too fast: a socket's buffer is full after some 200 KiB. */
#define PACE_OCTETS	(UINT64_C(64) << 20)
#define PACE_BURST	(UINT64_C(4) << 20)
#define PACE_DATAGRAMS	(UINT64_C(8) << 20)
#define BURST_DATAGRAMS (UINT64_C(64) << 10)

/* ---- the mirror */

static struct session_entry *queue_entry_of(struct session *s, uint64_t index)
{
	return &s->entries[index & (s->entries_size - 1)];
}

static bool queue_entry_push(struct session *s, const struct transport_load *load, size_t size)
{
	if (s->appended - s->first_entry == s->entries_size) {
		size_t grown = s->entries_size ? 2 * s->entries_size : ENTRIES_FIRST;
		struct session_entry *entries = calloc(grown, sizeof(*entries));

		if (!entries)
			return false;
		for (uint64_t i = s->first_entry; i < s->appended; i++)
			entries[i & (grown - 1)] = *queue_entry_of(s, i);
		free(s->entries);
		s->entries = entries;
		s->entries_size = grown;
	}
	*queue_entry_of(s, s->appended) = (struct session_entry){.load = *load, .size = size};
	s->appended++;
	return true;
}

static void queue_entry_lose(struct session *s, struct session_entry *e)
{
	e->lost = true;
	s->backlog -= e->acked ? 0 : s->backlog > e->size ? e->size : s->backlog;
	if (e->resolved)
		transport_revoke(&s->t, &e->load, e->size);
	else
		transport_resolve(&s->t, &e->load, e->size, false);
}

/* Of the messages that the spool has lost, those of this run. */
static void queue_on_lost(void *context, uint64_t first, uint64_t last)
{
	struct session *s = context;
	uint64_t i = first > s->first_number + s->first_entry ? first - s->first_number : s->first_entry;

	for (; i < s->appended && s->first_number + i <= last; i++)
		if (!queue_entry_of(s, i)->lost)
			queue_entry_lose(s, queue_entry_of(s, i));
}

/* What the spool has forgotten needs no mirror. */
static void queue_forget_entries(struct session *s)
{
	struct spool_stats stats;

	spool_get_stats(s->spool, &stats);
	while (s->first_entry < s->appended && s->first_number + s->first_entry < stats.head &&
	       (queue_entry_of(s, s->first_entry)->acked || queue_entry_of(s, s->first_entry)->lost))
		s->first_entry++;
	if (s->acked_entry < s->first_entry)
		s->acked_entry = s->first_entry;
}

/* The mirror of the spool's message; NULL: of an earlier run, or told of as lost. */
static struct session_entry *queue_entry_of_number(struct session *s, uint64_t number)
{
	uint64_t i = number - s->first_number;

	if (number < s->first_number || i < s->first_entry || i >= s->appended || queue_entry_of(s, i)->lost)
		return NULL;
	return queue_entry_of(s, i);
}

/* ---- adding */

static void queue_spool_name(const struct session *s, char *name, size_t size)
{
	size_t n = 0;

	/* ipfix+tcp_192.0.2.1_4739_0: all but letters and digits could mean something to somebody */
	for (const char *p = s->collector.url; *p && n + 24 < size; p++) {
		bool plain = isalnum((unsigned char)*p) || *p == '+' || *p == '-' || *p == '.';

		if (plain || (n > 0 && name[n - 1] != '_'))
			name[n++] = plain ? *p : '_';
	}
	snprintf(name + n, size - n, "_%llu", (unsigned long long)s->config.spool_tag);
}

int session_queue_open(struct session *s, struct diag *diag)
{
	const struct transport_config *c = &s->config;
	struct diag why = {""};
	char name[300];
	struct spool_config spool = {.dir = s->layer->reliable && s->spool_dir[0] ? s->spool_dir : NULL,
				     .name = name,
				     .max_octets = c->spool_octets,
				     .memory_octets = c->buffer_octets,
				     .replay_octets = c->replay_octets,
				     .replay_ns = c->replay_ns,
				     .lost = queue_on_lost,
				     .context = s};
	struct spool_stats stats;
	int r;

	queue_spool_name(s, name, sizeof(name));
	r = spool_open(&s->spool, &spool, &why);
	if (r) {
		*diag = why;
		return diag_prefix(diag, r, "--collector %.200s: ", s->collector.url);
	}
	spool_get_stats(s->spool, &stats);
	s->first_number = stats.tail;
	if (why.text[0]) {
		snprintf(s->t.notice, sizeof(s->t.notice), "%.255s", why.text);
		s->t.notices++;
	}
	s->direct_end = &s->direct;
	s->out = malloc(SESSION_OUT);
	s->templates = malloc(SESSION_MESSAGE);
	s->in_force = malloc(SESSION_MESSAGE);
	s->spooled = malloc(SESSION_MESSAGE);
	if (!s->out || !s->templates || !s->in_force || !s->spooled)
		return diag_set(diag, -ENOMEM, "--collector %.200s: out of memory", s->collector.url);
	return 0;
}

void session_queue_add(struct session *s, const uint8_t *message, size_t size,
		       const struct transport_load *load)
{
	int r;

	if (!queue_entry_push(s, load, size)) {
		transport_resolve(&s->t, load, size, false);
		return;
	}
	r = spool_append(s->spool, message, size, load->flows.records, load->flows.packets,
			 load->flows.octets);
	if (r == -EMSGSIZE || (r < 0 && r != -ENOSPC)) {
		s->appended--;
		transport_resolve(&s->t, load, size, false);
		return;
	}
	s->backlog += size;
	if (r == -ENOSPC)
		queue_forget_entries(s);
}

void session_queue_direct(struct session *s, const uint8_t *message, size_t size,
			  const struct transport_load *load)
{
	struct session_direct *d = NULL;

	if (s->phase == SESSION_UP && s->direct_octets + size <= DIRECT_OCTETS)
		d = malloc(sizeof(*d) + size);
	if (!d) {
		transport_resolve(&s->t, load, size, false);
		return;
	}
	*d = (struct session_direct){.load = *load, .size = size};
	memcpy(d->data, message, size);
	*s->direct_end = d;
	s->direct_end = &d->next;
	s->direct_octets += size;
	if (load->templates)
		s->announced = true;
}

/* ---- entering the session */

static void queue_put(struct session *s, const uint8_t *message, size_t size, uint32_t records)
{
	uint8_t *at = s->out + s->out_size;

	memcpy(at, message, size);
	if (s->t.restamp)
		s->t.restamp(s->t.context, at, size, records);
	s->out_size += size;
	s->entered += size;
}

/* Templates come into force, in place of others if there are any: these first, and alone if messages are. */
static void queue_put_templates(struct session *s, const uint8_t *message, size_t size, unsigned records)
{
	struct transport_load load = {.templates = records};

	if (s->in_force_size > 0 && s->t.withdraw) {
		uint8_t withdrawal[TRANSPORT_WITHDRAWAL];
		size_t n = s->t.withdraw(s->t.context, withdrawal);
		struct transport_load none = {0};

		if (n > 0) {
			queue_put(s, withdrawal, n, 0);
			transport_resolve(&s->t, &none, n, true);
		}
		s->in_force_size = 0;
		if (n > 0 && s->layer->whole)
			return;
	}
	queue_put(s, message, size, 0);
	transport_resolve(&s->t, &load, size, true);
	memcpy(s->in_force, message, size);
	s->in_force_size = size;
}

static bool queue_is_in_force(const struct session *s, const uint8_t *message, size_t size)
{
	return s->in_force_size == size && memcmp(s->in_force, message, size) == 0;
}

static void queue_put_direct(struct session *s)
{
	struct session_direct *d = s->direct;

	queue_put(s, d->data, d->size, d->load.options + d->load.flows.records);
	transport_resolve(&s->t, &d->load, d->size, true);
	s->direct = d->next;
	if (!s->direct)
		s->direct_end = &s->direct;
	s->direct_octets -= d->size;
	free(d);
}

static uint64_t queue_pace_burst(const struct session *s)
{
	return s->layer->reliable ? PACE_BURST : BURST_DATAGRAMS;
}

static uint64_t queue_pace_of(const struct session *s, uint64_t passed_ns)
{
	uint64_t octets = s->layer->reliable ? PACE_OCTETS : PACE_DATAGRAMS;

	return passed_ns < NS_PER_SEC ? passed_ns * (octets >> 20) / (NS_PER_SEC >> 20) : octets;
}

/* What waited while there was no session must not take the collector's whole attention. */
static bool queue_is_paced(struct session *s, size_t size)
{
	if (s->behind == 0)
		return false;
	if (s->credit_octets < size)
		return true;
	s->credit_octets -= size;
	s->behind--;
	return false;
}

static bool queue_put_spooled(struct session *s)
{
	const struct spool_message *m = spool_next(s->spool);
	struct session_entry *e;

	if (!m)
		return false;
	if (m->preamble) { /* of what follows: own messages may come between */
		memcpy(s->spooled, m->data, m->size);
		s->spooled_size = m->size;
		spool_mark_sent(s->spool, s->entered, s->now_ns);
		return true;
	}
	if (s->spooled_size > 0 && !queue_is_in_force(s, s->spooled, s->spooled_size)) {
		queue_put_templates(s, s->spooled, s->spooled_size, 0);
		return true;
	}
	if (queue_is_paced(s, m->size))
		return false;
	e = queue_entry_of_number(s, m->number);
	queue_put(s, m->data, m->size, m->records);
	if (e)
		e->end = s->entered;
	if (e && !e->resolved) {
		e->resolved = true;
		transport_resolve(&s->t, &e->load, e->size, true);
	} else {
		s->t.stats.resent_messages++;
		s->t.stats.resent_octets += m->size;
		s->t.stats.resent_records += m->records;
	}
	spool_mark_sent(s->spool, s->entered, s->now_ns);
	return true;
}

static bool queue_put_one(struct session *s)
{
	if (s->direct) {
		if (s->templates_size > 0 && !queue_is_in_force(s, s->templates, s->templates_size))
			queue_put_templates(s, s->templates, s->templates_size, s->templates_records);
		else
			queue_put_direct(s);
		return true;
	}
	if (!s->layer->reliable && !s->announced)
		return false;
	return queue_put_spooled(s);
}

bool session_queue_fill(struct session *s)
{
	s->out_size = s->out_done = 0;
	/* a withdrawal may come before templates */
	while (SESSION_OUT - s->out_size >= SESSION_MESSAGE + TRANSPORT_WITHDRAWAL) {
		if (!queue_put_one(s) || (s->layer->whole && s->out_size > 0))
			break;
	}
	return s->out_size > 0;
}

/* ---- leaving it */

static uint64_t queue_written(const struct session *s)
{
	return s->layer->written ? s->layer->written(s) : s->units;
}

uint64_t session_queue_unacked(const struct session *s)
{
	return s->layer->unacked ? s->layer->unacked(s) : socket_unacked(s->t.fd);
}

void session_queue_wrote(struct session *s, size_t n)
{
	unsigned last = (s->first_mark + s->n_marks - 1) % SESSION_MARKS;

	s->out_done += n;
	s->stream += n;
	if (s->n_marks < SESSION_MARKS) {
		last = (s->first_mark + s->n_marks) % SESSION_MARKS;
		s->n_marks++;
	}
	s->marks[last] = (struct session_mark){.unit = queue_written(s), .stream = s->stream};
}

void session_queue_reject(struct session *s)
{
	struct session_entry *e = NULL;

	for (uint64_t i = s->first_entry; !e && i < s->appended; i++)
		if (queue_entry_of(s, i)->end == s->entered)
			e = queue_entry_of(s, i);
	if (e)
		queue_entry_lose(s, e);
	session_queue_wrote(s, s->out_size - s->out_done); /* so that it is forgotten */
}

void session_queue_acked(struct session *s)
{
	uint64_t unacked = session_queue_unacked(s), written = queue_written(s), acked = s->acked;

	if (unacked > written)
		return;
	while (s->n_marks > 0 && s->marks[s->first_mark].unit <= written - unacked) {
		s->acked = s->marks[s->first_mark].stream;
		s->first_mark = (s->first_mark + 1) % SESSION_MARKS;
		s->n_marks--;
	}
	if (s->acked == acked)
		return;
	spool_acked(s->spool, s->acked);
	for (; s->acked_entry < s->appended; s->acked_entry++) {
		struct session_entry *e = queue_entry_of(s, s->acked_entry);

		if (e->lost || e->acked) /* or in an earlier session, and perhaps not to be sent again */
			continue;
		if (e->end == 0 || e->end > s->acked)
			break;
		s->backlog -= s->backlog > e->size ? e->size : s->backlog;
		s->t.progress += e->size;
		e->acked = true;
	}
	queue_forget_entries(s);
}

void session_queue_begin(struct session *s)
{
	struct spool_stats stats;

	spool_get_stats(s->spool, &stats);
	s->behind = stats.unsent.messages;
	s->credit_octets = queue_pace_burst(s);
	s->paced_ns = s->now_ns;
	s->entered = s->stream = s->acked = s->units = 0;
	s->first_mark = s->n_marks = 0;
	s->out_size = s->out_done = 0;
	s->in_force_size = s->spooled_size = 0;
	s->announced = false;
}

static void queue_drop_direct(struct session *s)
{
	while (s->direct) {
		struct session_direct *d = s->direct;

		s->direct = d->next;
		transport_resolve(&s->t, &d->load, d->size, false);
		free(d);
	}
	s->direct_end = &s->direct;
	s->direct_octets = 0;
}

void session_queue_end(struct session *s, bool clean)
{
	queue_drop_direct(s);
	spool_rewind(s->spool, clean);
	for (uint64_t i = s->first_entry; i < s->appended; i++)
		queue_entry_of(s, i)->end = 0;
	queue_forget_entries(s);
	s->acked_entry = s->first_entry;
	s->out_size = s->out_done = 0;
}

static void queue_get_spool_stats(struct session *s, struct spool_stats *stats)
{
	spool_get_stats(s->spool, stats);
	s->t.stats.spool_errors = stats->disk_errors;
	s->t.stats.spool_dropped_records = stats->dropped_recovered.flows.records;
	s->t.stats.spool_torn_octets = stats->torn_octets;
}

/* Once each: files that are missing, a directory that cannot be written, one that can be again. */
static void queue_tell_of_spool(struct session *s)
{
	const char *memory_only = "; new records are kept in memory only";
	struct spool_stats stats;

	queue_get_spool_stats(s, &stats);
	if (stats.missing_files != s->spool_missing)
		snprintf(s->t.notice, sizeof(s->t.notice),
			 "--spool: files for %.100s were removed by somebody else: %llu flow records in them "
			 "are "
			 "lost%s",
			 s->collector.url, (unsigned long long)stats.missing.flows.records,
			 stats.degraded ? memory_only : "");
	else if (stats.degraded != s->spool_degraded)
		snprintf(s->t.notice, sizeof(s->t.notice), "--spool: %s%s",
			 stats.degraded ? strerror(stats.last_error) : "the directory can be written again",
			 stats.degraded ? memory_only : "");
	else
		return;
	s->spool_degraded = stats.degraded;
	s->spool_missing = stats.missing_files;
	s->t.notices++;
}

void session_queue_tick(struct session *s)
{
	uint64_t passed = s->now_ns - s->paced_ns;

	spool_tick(s->spool, s->now_ns);
	queue_forget_entries(s);
	if (s->now_ns > s->paced_ns) {
		s->paced_ns = s->now_ns;
		s->credit_octets += queue_pace_of(s, passed);
		if (s->credit_octets > queue_pace_burst(s))
			s->credit_octets = queue_pace_burst(s);
	}
	queue_tell_of_spool(s);
}

bool session_queue_is_empty(const struct session *s)
{
	struct spool_stats stats;

	if (s->direct || s->out_done < s->out_size || s->acked < s->entered)
		return false;
	spool_get_stats(s->spool, &stats);
	return stats.unsent.messages == 0;
}

/* What is still in the spool was not read as far as anybody knows, and the next run sends it. */
static void queue_keep_for_next_run(struct session *s, uint64_t head)
{
	for (uint64_t i = s->first_entry; i < s->appended; i++) {
		struct session_entry *e = queue_entry_of(s, i);

		if (e->resolved && !e->lost && s->first_number + i >= head)
			transport_keep(&s->t, &e->load, e->size);
	}
}

int session_queue_close(struct session *s)
{
	struct spool_stats stats;
	int r = 0;

	queue_drop_direct(s);
	if (s->spool) {
		spool_check(s->spool);
		queue_get_spool_stats(s, &stats);
		if (stats.missing_files != s->spool_missing)
			r = SESSION_E_REMOVED;
		spool_close(
			s->spool); /* which tells what is lost, sent in a session that ended badly or not */
		queue_keep_for_next_run(s, stats.head);
	}
	free(s->entries);
	free(s->out);
	free(s->templates);
	free(s->in_force);
	free(s->spooled);
	return r;
}
