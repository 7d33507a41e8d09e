/* shared: see shared.h. */
#include "shared.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ledger.h"
#include "pitot/packet_sample.h"

enum { LINE = 64 };

/* Room for n of them, in lines of their own. */
static size_t shared_put(size_t *size, size_t n, size_t each)
{
	size_t at = *size;

	*size += (n * each + LINE - 1) / LINE * LINE;
	return at;
}

/* Anonymous memory that descendants alone have.  No file is behind it: nobody can make it shorter, and a
 * limit on the size of files is not one on this. */
static int shared_map(struct shared *s)
{
	s->memory = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s->memory != MAP_FAILED)
		return 0;
	s->memory = NULL;
	return -errno;
}

static int shared_open_mailboxes(struct shared *s, struct diag *diag)
{
	unsigned n = s->config.n_metering;
	int r;

	s->to_exporting.send_fd = s->to_exporting.receive_fd = -1;
	r = mailbox_new(&s->to_exporting, &s->exporting->mailbox, MAILBOX_exporting, &s->exporting->gate,
			&s->exporting->ended, diag);

	s->to_metering = calloc(n, sizeof(*s->to_metering));
	if (!s->to_metering)
		return diag_set(diag, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < n; i++)
		s->to_metering[i].send_fd = s->to_metering[i].receive_fd = -1;
	for (unsigned i = 0; r == 0 && i < n; i++)
		r = mailbox_new(&s->to_metering[i], &s->metering[i].mailbox, MAILBOX_metering, NULL,
				&s->metering[i].done, diag);
	return r;
}

int shared_new(struct shared *s, const struct shared_config *config, struct diag *diag)
{
	size_t n = config->n_metering, exporting, control, files, metering, places, slots, samples;
	int r;

	*s = (struct shared){.config = *config, .bell_fd = -1};
	s->config.ring_records = ring_round_up(config->ring_records);
	exporting = shared_put(&s->size, 1, sizeof(*s->exporting));
	control = shared_put(&s->size, 1, sizeof(*s->control));
	files = shared_put(&s->size, 1, sizeof(*s->files));
	metering = shared_put(&s->size, n, sizeof(*s->metering));
	places = shared_put(&s->size, n * config->n_places, sizeof(*s->places));
	slots = shared_put(&s->size, n * s->config.ring_records, config->record_size);
	s->config.ring_samples = config->ring_samples ? ring_round_up(config->ring_samples) : 0;
	samples = shared_put(&s->size, (n + 1) * s->config.ring_samples, sizeof(struct packet_sample));
	r = shared_map(s);
	if (r < 0)
		return diag_set(diag, r, "no memory for the queues of records: %s", strerror(-r));
	s->exporting = (void *)((uint8_t *)s->memory + exporting);
	s->control = (void *)((uint8_t *)s->memory + control);
	s->files = (void *)((uint8_t *)s->memory + files);
	s->metering = (void *)((uint8_t *)s->memory + metering);
	s->places = (void *)((uint8_t *)s->memory + places);
	s->slots = (uint8_t *)s->memory + slots;
	s->sample_slots = (uint8_t *)s->memory + samples;
	atomic_store(&s->exporting->stop_by_ns, UINT64_MAX);
	r = shared_open_mailboxes(s, diag);
	s->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r == 0 && s->bell_fd < 0)
		r = diag_set(diag, -errno, "eventfd: %s", strerror(errno));
	if (r < 0)
		shared_free(s);
	return r;
}

void shared_free(struct shared *s)
{
	for (unsigned i = 0; s->to_metering && i < s->config.n_metering; i++)
		mailbox_close(&s->to_metering[i]);
	free(s->to_metering);
	if (s->exporting)
		mailbox_close(&s->to_exporting);
	if (s->memory && s->bell_fd >= 0)
		close(s->bell_fd);
	if (s->memory)
		munmap(s->memory, s->size);
	*s = (struct shared){.bell_fd = -1};
}

static uint8_t *shared_slots(const struct shared *s, unsigned i)
{
	return s->slots + i * s->config.ring_records * s->config.record_size;
}

void shared_write_records(const struct shared *s, unsigned i, struct ring_writer *w)
{
	ring_write_at(w, &s->metering[i].records, shared_slots(s, i), s->config.ring_records,
		      s->config.record_size);
}

static struct ring *shared_samples(const struct shared *s, unsigned i)
{
	return i < s->config.n_metering ? &s->metering[i].samples : &s->files->samples;
}

static uint8_t *shared_sample_slots(const struct shared *s, unsigned i)
{
	return s->sample_slots + i * s->config.ring_samples * sizeof(struct packet_sample);
}

void shared_write_samples(const struct shared *s, unsigned i, struct ring_writer *w)
{
	ring_write_at(w, shared_samples(s, i), shared_sample_slots(s, i), s->config.ring_samples,
		      sizeof(struct packet_sample));
}

void shared_read_samples(const struct shared *s, unsigned i, struct ring_reader *r)
{
	ring_read_at(r, shared_samples(s, i), shared_sample_slots(s, i), s->config.ring_samples,
		     sizeof(struct packet_sample));
}

void shared_read_records(const struct shared *s, unsigned i, struct ring_reader *r)
{
	ring_read_at(r, &s->metering[i].records, shared_slots(s, i), s->config.ring_records,
		     s->config.record_size);
}

/* ---- the bell */

void shared_ring_bell(const struct shared *s)
{
	const uint64_t one = 1;

	if (s->bell_fd >= 0)
		(void)!write(s->bell_fd, &one, sizeof(one)); /* or it rings already */
}

void shared_hush_bell(const struct shared *s)
{
	uint64_t rung;

	(void)!read(s->bell_fd, &rung, sizeof(rung));
}

/* ---- lines */

void shared_speak(struct shared_speaker *s, const struct shared *shared, struct shared_lines *lines)
{
	s->lines = lines;
	s->shared = shared;
	ring_write_at(&s->writer, &lines->ring, lines->slots, SHARED_LINES, sizeof(*lines->slots));
	log_relay(shared_say, s);
}

void shared_say(void *ctx, enum log_level level, const char *text)
{
	struct shared_speaker *s = ctx;
	struct shared_line *line = ring_reserve(&s->writer);

	if (!line) {
		atomic_fetch_add(&s->lines->lost, 1);
		return;
	}
	line->level = level;
	snprintf(line->text, sizeof(line->text), "%s", text);
	ring_publish(&s->writer);
	shared_ring_bell(s->shared);
}

static void shared_hear_lines(struct shared_lines *lines)
{
	struct ring_reader r;
	uint64_t lost = atomic_exchange(&lines->lost, 0), n;

	ring_read_at(&r, &lines->ring, lines->slots, SHARED_LINES, sizeof(*lines->slots));
	n = ring_peek(&r);
	for (uint64_t i = 0; i < n; i++) {
		const struct shared_line *line = ring_slot(&r, i);

		/* whoever wrote it may have been taken over */
		log_write(line->level > LOG_LEVEL_DEBUG ? LOG_LEVEL_ERROR : (enum log_level)line->level,
			  "%.*s", (int)sizeof(line->text), line->text);
	}
	ring_consume(&r, n);
	if (lost)
		log_warning("%llu line%s after this could not be passed on", (unsigned long long)lost,
			    log_plural(lost));
}

void shared_hear(const struct shared *s)
{
	shared_hear_lines(&s->exporting->lines);
	for (unsigned i = 0; i < s->config.n_metering; i++)
		shared_hear_lines(&s->metering[i].lines);
}

/* ---- numbers */

struct shared_place *shared_place_of(const struct shared *s, unsigned i, unsigned place)
{
	return &s->places[i * s->config.n_places + place];
}

void shared_sum_metering(const struct shared *s, struct metering_stats *sum)
{
	struct metering_stats one;

	*sum = (struct metering_stats){0};
	published_get(&s->files->numbers, &one);
	ledger_add(sum, &one);
	published_get(&s->files->fragments, &one);
	ledger_add(sum, &one);
	for (unsigned i = 0; i < s->config.n_metering; i++) {
		published_get(&s->metering[i].numbers, &one);
		ledger_add(sum, &one);
	}
}
