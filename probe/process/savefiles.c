/* savefiles: see savefiles.h. */
#include "savefiles.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "intake.h"

struct savefiles {
	struct savefiles_config config;
	struct capture **captures;
	unsigned n_captures;
	_Atomic unsigned current;
	const int *link_types; /* that can be decoded */
	unsigned n_link_types;
	struct decoder **decoders; /* of each, where a file has it; one more: of all others */
	struct decoder *decoder;   /* for frames of link_type */
	int link_type;
	struct selection selection;
	struct ring_writer samples;
	struct capture_stats ended; /* of the files that have ended */
	struct metering_stats stats;
	uint64_t published; /* savefiles_counted() then */
};

/* Makes the decoder for frames of a link type the one that is used; later link types may be unknown. */
static int savefiles_turn_to(struct savefiles *s, int link_type, bool later, struct diag *diag)
{
	unsigned i = 0;
	int r = 0;

	while (i < s->n_link_types && s->link_types[i] != link_type)
		i++;
	if (!s->decoders[i])
		r = later && i == s->n_link_types
			    ? decoder_new_unknown(&s->decoders[i], &s->config.decode, diag)
			    : decoder_new(&s->decoders[i], link_type, &s->config.decode, diag);
	if (r < 0)
		return r;
	s->decoder = s->decoders[i];
	s->link_type = link_type;
	return 0;
}

static int savefiles_open(struct savefiles *s, struct diag *diag)
{
	for (unsigned i = 0; i < s->config.n_files; i++) {
		struct capture_config config = s->config.files[i];
		int r;

		config.link_types = s->link_types;
		config.n_link_types = s->n_link_types;
		r = capture_open(&s->captures[i], &config, diag);
		if (r < 0)
			return r;
		s->n_captures = i + 1;
		if (s->captures[i]->link_type >= 0)
			r = savefiles_turn_to(s, s->captures[i]->link_type, false, diag);
		if (r < 0)
			return diag_prefix(diag, r, "--read %s: ", s->captures[i]->name);
	}
	return 0;
}

static void savefiles_begin_selection(struct savefiles *s, const struct shared *shared)
{
	struct selection_room room = {&shared->files->room, &shared->exporting->gate,
				      &shared->exporting->ended};

	shared_write_samples(shared, shared->config.n_metering, &s->samples);
	selection_init(&s->selection, &s->config.selection, &s->samples, &room);
}

int savefiles_new(struct savefiles **sp, const struct savefiles_config *config, struct diag *diag)
{
	struct savefiles *s = calloc(1, sizeof(*s));
	int r = 0;

	if (!s)
		return diag_set(diag, -ENOMEM, "--read: out of memory");
	*s = (struct savefiles){.config = *config, .link_type = -1};
	record_layout_complete(&s->config.decode.layout);
	savefiles_begin_selection(s, config->shared);
	s->captures = calloc(config->n_files, sizeof(struct capture *));
	s->link_types = decode_link_types(&s->n_link_types);
	s->decoders = calloc(s->n_link_types + 1, sizeof(struct decoder *));
	if (!s->captures || !s->decoders)
		r = diag_set(diag, -ENOMEM, "--read: out of memory");
	if (r == 0)
		r = savefiles_open(s, diag);
	if (r < 0) {
		savefiles_free(s);
		return r;
	}
	*sp = s;
	return 0;
}

void savefiles_free(struct savefiles *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->n_captures; i++)
		capture_close(s->captures[i]);
	for (unsigned i = 0; s->decoders && i <= s->n_link_types; i++)
		decoder_free(s->decoders[i]);
	free(s->captures);
	free(s->decoders);
	free(s);
}

static struct capture *savefiles_current(const struct savefiles *s)
{
	return s->captures[atomic_load_explicit(&s->current, memory_order_relaxed)];
}

const struct capture *savefiles_file(const struct savefiles *s, unsigned i)
{
	return s->captures[i];
}

bool savefiles_is_file(const struct savefiles *s)
{
	return savefiles_current(s)->is_file;
}

/* The current file has ended; false when it was the last one. */
static bool savefiles_next_file(struct savefiles *s)
{
	unsigned current = atomic_load_explicit(&s->current, memory_order_relaxed);
	struct capture_stats last = {0};

	if (current + 1 == s->n_captures)
		return false;
	capture_get_stats(s->captures[current], &last);
	s->ended.filtered += last.filtered;
	s->ended.filtered_octets += last.filtered_octets;
	atomic_store_explicit(&s->current, current + 1, memory_order_relaxed);
	return true;
}

static int savefiles_lend(struct savefiles *s, struct frame_batch *b, const struct decoder **decoder,
			  struct diag *diag)
{
	int link_type = savefiles_current(s)->link_type, r = 0;

	if (b->n && link_type != s->link_type)
		r = savefiles_turn_to(s, link_type, true, diag);
	if (r < 0)
		return r;
	*decoder = s->decoder;
	intake_select(&s->selection, b, link_type, &s->stats);
	selection_publish(&s->selection);
	return 0;
}

int savefiles_recv(struct savefiles *s, struct frame_batch *b, const struct decoder **decoder, int wait_ms,
		   struct diag *diag)
{
	int r = capture_recv(savefiles_current(s), b, wait_ms, diag);

	if (r == 0)
		return savefiles_lend(s, b, decoder, diag);
	b->n = 0;
	if (r < 0)
		return r;
	return savefiles_next_file(s) ? 0 : SAVEFILES_E_END;
}

void savefiles_release(struct savefiles *s, struct frame_batch *b)
{
	capture_release(savefiles_current(s), b);
}

bool savefiles_move_to(struct savefiles *s, uint8_t *memory, unsigned packets)
{
	struct capture *c = savefiles_current(s);

	if (!c->ops->move_to)
		return false;
	c->ops->move_to(c, memory, packets);
	return true;
}

int savefiles_more(struct savefiles *s, struct frame_batch *b, const struct decoder **decoder,
		   struct diag *diag)
{
	struct capture *c = savefiles_current(s);
	int r = c->ops->more(c, b, diag);

	return r ? r : savefiles_lend(s, b, decoder, diag);
}

static uint64_t savefiles_counted(const struct savefiles *s)
{
	return s->stats.meter.filtered_packets + s->stats.meter.received_packets + s->stats.samples.pool;
}

void savefiles_publish(struct savefiles *s)
{
	struct meter_stats *m = &s->stats.meter;
	struct capture_stats c = {0};

	capture_get_stats(savefiles_current(s), &c);
	m->filtered_packets = s->ended.filtered + c.filtered;
	m->filtered_octets = s->ended.filtered_octets + c.filtered_octets;
	if (s->published == savefiles_counted(s))
		return;
	s->published = savefiles_counted(s);
	published_put(&s->config.shared->files->numbers, &s->stats);
}
