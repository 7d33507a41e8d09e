/* metering_files: see metering_files.h. */
#include "metering_files.h"

#include <errno.h>
#include <stdlib.h>

#include "intake.h"

enum {
	AGREEING_PACKETS = 64, /* how many packets must have reached a time before the clock does */
	WAIT_MS = 50,	       /* for a pipe */
};

struct metering_files {
	struct source source; /* first */
	struct metering_files_config config;
	struct intake intake;
	struct packet *packets; /* BATCH_MAX, of who reads all */
	uint64_t window_min_ns;
	unsigned window_packets;
	bool stopped;
};

/*
 * The clock is the earliest time among the last AGREEING_PACKETS packets, so a packet dated far in the future
 * moves nothing.  It may step back with the packets; only elapsed_ns never does.
 */
static void files_set_clock(struct metering_files *f, const struct packet *packets, unsigned n)
{
	struct source *s = &f->source;

	for (unsigned i = 0; i < n; i++) {
		uint64_t time_ns = packet_of_const(packets, f->config.packet_size, i)->time_ns;

		if (time_ns < f->window_min_ns)
			f->window_min_ns = time_ns;
	}
	f->window_packets += n;
	if (f->window_packets < AGREEING_PACKETS)
		return;
	if (f->window_min_ns > s->now_ns)
		s->elapsed_ns += s->now_ns ? f->window_min_ns - s->now_ns : 0;
	s->now_ns = f->window_min_ns;
	f->window_packets = 0;
	f->window_min_ns = UINT64_MAX;
}

static int files_read(struct metering_files *f, unsigned *n, struct diag *why)
{
	struct savefiles *files = f->config.files;
	struct frame_batch *b = &f->intake.batch;
	const struct decoder *decoder;
	int r = savefiles_recv(files, b, &decoder, WAIT_MS, why);

	if (r == 0 && b->n) {
		*n = b->n;
		decode_batch(decoder, b, f->packets);
		savefiles_release(files, b); /* after this nobody points into frames */
	}
	savefiles_publish(files);
	return r;
}

static int files_next(struct source *s, struct packet **packets, unsigned *n, struct diag *why)
{
	struct metering_files *f = (struct metering_files *)s;
	int r;

	*n = 0;
	*packets = f->packets;
	if (f->stopped)
		return SOURCE_E_END;
	r = f->config.dealing ? dealing_next(f->config.dealing, f->config.lane, packets, n, why)
			      : files_read(f, n, why);
	if (r)
		return r > 0 ? SOURCE_E_END : r;
	s->at_hand = *n && savefiles_is_file(f->config.files);
	*n = intake_account(&f->intake, *packets, *n, 0);
	files_set_clock(f, *packets, *n);
	return 0;
}

/*
 * An ordinary file will end: records of silent keys are held back while there is room for them, so that
 * packets that a file has out of order still find their record.
 */
static uint64_t files_room(const struct source *s, const struct flow_table *t, uint64_t slots)
{
	const struct metering_files *f = (const struct metering_files *)s;

	(void)slots; /* they are waited for */
	if (savefiles_is_file(f->config.files) &&
	    flow_table_stats(t)->in_table.records < flow_table_capacity(t) / 2)
		return 0;
	return UINT64_MAX;
}

/* They have no entrance to shut and are simply left. */
static void files_stop(struct source *s)
{
	((struct metering_files *)s)->stopped = true;
}

static void files_free(struct source *s)
{
	struct metering_files *f = (struct metering_files *)s;

	fragment_table_free(f->intake.fragments);
	free(f->packets);
	free(f);
}

static const struct source_ops files_ops = {
	.next = files_next, .room = files_room, .stop = files_stop, .free = files_free};

int metering_files_new(struct source **sp, const struct metering_files_config *config, struct diag *diag)
{
	struct metering_files *f = calloc(1, sizeof(*f));

	if (!f)
		return diag_set(diag, -ENOMEM, "metering process: out of memory");
	*f = (struct metering_files){.source = {.ops = &files_ops, .may_wait = true},
				     .config = *config,
				     .intake = {.packet_size = config->packet_size,
						.selection = config->selection,
						.stats = config->stats},
				     .packets = aligned_alloc(64, BATCH_MAX * config->packet_size),
				     .window_min_ns = UINT64_MAX};
	if (!f->packets) {
		free(f);
		return diag_set(diag, -ENOMEM, "metering process: out of memory");
	}
	f->intake.fragments = config->fragments;
	*sp = &f->source;
	return 0;
}
