/* intake: see intake.h. */
#include "intake.h"

#include "pitot/clock.h"

/* Test hook: the kernel's packet times know nothing of the steps that the clock is planned to make. */
static uint64_t intake_shift_ns(const struct intake *in)
{
	return PITOT_TEST_HOOKS && in->host_clock ? clock_planned_shift_ns() : 0;
}

unsigned intake_account(struct intake *in, struct packet *packets, unsigned n, uint32_t mtu)
{
	for (unsigned i = 0; in->paused && *in->paused && i < n; i++)
		packet_of(packets, in->packet_size, i)->verdict = PACKET_PAUSED;
	n = account_sort(&in->stats->meter, &in->stats->flows, in->fragments, in->own, packets,
			 in->packet_size, n, mtu);
	return selection_packets(in->selection, packets, in->packet_size, n, &in->stats->meter);
}

unsigned intake_take(struct intake *in, struct capture *c, const struct decoder *d, struct packet *packets,
		     uint64_t *last_ns)
{
	uint64_t shift_ns = intake_shift_ns(in);
	unsigned n = in->batch.n;

	*last_ns = n ? in->batch.frames[n - 1].time_ns + shift_ns : 0;
	if (!c->selects) /* then nobody takes packet samples, either */
		intake_select(in->selection, &in->batch, c->link_type, in->stats);
	in->mark = c->selects ? in->batch.mark : in->selection->mark;
	n = in->batch.n;
	if (in->marks)
		in->stats->meter.selected_by[in->mark] += n;
	decode_batch(d, &in->batch, packets);
	for (unsigned i = 0; shift_ns && i < n; i++)
		packet_of(packets, in->packet_size, i)->time_ns += shift_ns;
	capture_release(c, &in->batch); /* after this nobody points into frames */
	return intake_account(in, packets, n, c->mtu);
}
