/* metering_files: see metering_files.h. */
#include "metering_files.h"

#include <errno.h>
#include <stdlib.h>

enum { AGREEING_PACKETS = 64 }; /* how many packets must have reached a time before the clock does */

struct metering_files {
	struct source source; /* first */
	struct file_reader *reader;
	unsigned number; /* of the reader that this is */
	size_t packet_size;
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
		uint64_t time_ns = packet_of_const(packets, f->packet_size, i)->time_ns;

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

static int files_next(struct source *s, struct packet **packets, unsigned *n, struct diag *why)
{
	struct metering_files *f = (struct metering_files *)s;
	int r = f->stopped ? FILE_READER_E_END : file_reader_next(f->reader, f->number, packets, n, why);

	if (r == 0)
		files_set_clock(f, *packets, *n);
	else
		*n = 0;
	return r > 0 ? SOURCE_E_END : r;
}

/*
 * An ordinary file will end: records of silent keys are held back while there is room for them, so that
 * packets that a file has out of order still find their record.
 */
static uint64_t files_room(const struct source *s, const struct flow_table *t, uint64_t slots)
{
	const struct metering_files *f = (const struct metering_files *)s;

	(void)slots; /* they are waited for */
	if (file_reader_is_file(f->reader) &&
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
	free(s);
}

static const struct source_ops files_ops = {
	.next = files_next, .room = files_room, .stop = files_stop, .free = files_free};

int metering_files_new(struct source **sp, struct file_reader *f, unsigned reader, size_t packet_size,
		       struct diag *diag)
{
	struct metering_files *m = calloc(1, sizeof(*m));

	if (!m)
		return diag_set(diag, -ENOMEM, "metering process: out of memory");
	*m = (struct metering_files){
		.source = {.ops = &files_ops, .hashed = file_reader_is_dealt(f), .may_wait = true},
		.reader = f,
		.number = reader,
		.packet_size = packet_size,
		.window_min_ns = UINT64_MAX};
	*sp = &m->source;
	return 0;
}
