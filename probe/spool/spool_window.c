/*
 * spool_window: the messages that were sent and are not forgotten, acked ones first; each can become unsent
 * again.
 */
#include "spool/spool_internal.h"

void spool_window_push(struct spool *s, uint64_t end)
{
	struct spool_totals t = spool_lent_totals(s);

	s->sum += s->lent.size;
	*spool_sent_at(s, s->w_end++) = (struct spool_sent){.number = s->lent.number,
							    .end = end,
							    .sent_ns = s->now_ns,
							    .sum = s->sum,
							    .packets = s->lent.packets,
							    .octets = s->lent.octets,
							    .records = s->lent.records,
							    .gone = s->orphan};
	spool_totals_add(&s->in_window, &t);
}

void spool_acked(struct spool *s, uint64_t session_offset)
{
	while (s->w_acked < s->w_end && spool_sent_at(s, s->w_acked)->end <= session_offset) {
		struct spool_totals t = spool_sent_totals(spool_sent_at(s, s->w_acked++));

		spool_totals_add(&s->stats.acked, &t);
	}
}

void spool_window_forget(struct spool *s)
{
	struct spool_totals t = spool_sent_totals(spool_sent_at(s, s->w_first));

	spool_totals_add(&s->stats.done, &t);
	spool_totals_sub(&s->in_window, &t);
	s->w_first++;
}

void spool_window_forget_passed(struct spool *s)
{
	while (s->w_first < s->w_acked) {
		const struct spool_sent *e = spool_sent_at(s, s->w_first);

		if (s->sum - e->sum < s->replay_octets || s->now_ns - e->sent_ns < s->replay_ns)
			break;
		spool_window_forget(s);
	}
}

void spool_window_mark_gone(struct spool *s, uint64_t first, uint64_t last)
{
	uint64_t low = s->w_first, high = s->w_end;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (spool_sent_at(s, middle)->number < first)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < s->w_end && spool_sent_at(s, low)->number <= last; low++)
		spool_sent_at(s, low)->gone = true;
}

/*
 * One of the window becomes unsent, or is lost if it is no longer held: that it was acknowledged does not say
 * that anybody has read it.
 */
static void window_unsend(struct spool *s, uint64_t i)
{
	const struct spool_sent *e = spool_sent_at(s, i);
	struct spool_totals t = spool_sent_totals(e);
	struct spool_segment *segment = spool_segment_of(s, e->number);

	spool_totals_sub(&s->in_window, &t);
	if (e->gone) {
		spool_count_dropped(s, e->number, &t);
		spool_tell_lost(s, e->number, e->number);
		return;
	}
	spool_totals_add(&s->stats.unsent, &t);
	if (segment)
		spool_totals_add(&segment->unsent, &t);
	s->next = e->number; /* the caller goes from the newest to the oldest */
}

void spool_window_end(struct spool *s, bool clean)
{
	while (clean && s->w_first < s->w_acked)
		spool_window_forget(s);
	spool_window_forget_passed(s);
	for (uint64_t i = s->w_end; i > s->w_first; i--)
		window_unsend(s, i - 1);
	s->w_first = s->w_acked = s->w_end = 0;
}
