/* capture_socket_program: what the kernel takes and what it counts are together all that came.  Built where
 * libbpf is. */
#include "cm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "capture/capture_socket_program.h"
#include "capture_contract.h"
#include "lacking.h"
#include "netns.h"

enum { FRAMES = 20000, AT_ONCE = 500 };

static struct fb b;

struct sampled {
	uint64_t packets, octets;
};

static void sampling_read(struct capture *c, struct sampled *got, int wait_ms)
{
	struct frame_batch batch;
	struct diag diag;

	do {
		assert_int_equal(capture_recv(c, &batch, wait_ms, &diag), 0);
		got->packets += batch.n;
		for (unsigned i = 0; i < batch.n; i++)
			got->octets += batch.frames[i].wire_len;
		if (batch.n)
			capture_release(c, &batch);
		else
			return;
	} while (true);
}

/* Of each length some; what was sent. */
static struct sampled sampling_send(struct capture *c, int tx, unsigned n, struct sampled *got)
{
	struct sampled sent = {0};

	for (unsigned i = 0; i < n; i++) {
		contract_frame(&b, i, 40 + i % 1000);
		netns_send(tx, b.at, b.len);
		sent.packets++;
		sent.octets += b.len;
		if (i % AT_ONCE == 0)
			sampling_read(c, got, 0);
	}
	sampling_read(c, got, 200);
	return sent;
}

static struct capture *sampling_open(uint32_t interval, enum capture_direction direction)
{
	struct capture_config config = contract_config();
	struct capture *c;
	struct diag diag;

	config.select_interval = interval;
	config.direction = direction;
	if (capture_open(&c, &config, &diag) < 0)
		fail_msg("%s", diag.text);
	return c;
}

static void sampling_counts_all(void **state)
{
	static const struct {
		uint32_t interval;
		unsigned least, most; /* six standard errors around FRAMES / interval */
	} cases[] = {{2, 9570, 10430}, {3, 6260, 7070}, {100, 110, 290}};
	int tx = netns_sender(CONTRACT_B);

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct capture *c = sampling_open(cases[i].interval, CAPTURE_IN);
		struct sampled got = {0}, sent = sampling_send(c, tx, FRAMES, &got);
		struct capture_stats stats;

		assert_true(c->selects);
		assert_int_equal(capture_get_stats(c, &stats), 0);
		assert_int_equal(got.packets + stats.unselected, sent.packets);
		assert_int_equal(got.octets + stats.unselected_octets, sent.octets);
		assert_in_range(got.packets, cases[i].least, cases[i].most);
		assert_int_equal(stats.kernel_dropped, 0);
		/* nothing gets in, and nothing is counted any more */
		capture_stop(c);
		netns_send(tx, b.at, b.len);
		assert_int_equal(capture_get_stats(c, &stats), 0);
		assert_int_equal(got.packets + stats.unselected, sent.packets);
		capture_close(c);
	}
	close(tx);
}

/* What the direction leaves out is not counted as a packet that was not drawn. */
static void sampling_has_directions(void **state)
{
	int in = netns_sender(CONTRACT_B), out = netns_sender(CONTRACT_A);
	static const enum capture_direction directions[] = {CAPTURE_IN, CAPTURE_OUT, CAPTURE_BOTH};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct capture *c = sampling_open(10, directions[i]);
		struct sampled got = {0},
			       sent[2] = {sampling_send(c, in, 1000, &got), sampling_send(c, out, 500, &got)};
		uint64_t want = (directions[i] != CAPTURE_OUT ? sent[0].packets : 0) +
				(directions[i] != CAPTURE_IN ? sent[1].packets : 0);
		struct capture_stats stats;

		assert_int_equal(capture_get_stats(c, &stats), 0);
		assert_int_equal(got.packets + stats.unselected, want);
		capture_close(c);
	}
	close(in);
	close(out);
}

/* The kernel has nothing to draw where all are wanted, and nothing to count where all pass. */
static void sampling_is_not_there_for_nothing(void **state)
{
	struct capture *c = sampling_open(1, CAPTURE_BOTH);
	struct capture_stats stats;

	(void)state;
	assert_false(c->selects);
	assert_int_equal(capture_get_stats(c, &stats), 0);
	assert_int_equal(stats.unselected, 0);
	assert_int_equal(stats.filtered, 0);
	assert_false(stats.filtered_unknown);
	capture_close(c);
}

/* With a filter: what it rejects, and of what passes what is not drawn; each frame in one of them, or lent.
 */
static void filter_counts_all(void **state)
{
	static const struct {
		enum capture_direction direction;
		uint32_t interval;
		const struct capture_ops *ops;
	} cases[] = {{CAPTURE_IN, 0, &capture_afpacket_ops},   {CAPTURE_OUT, 0, &capture_afpacket_ops},
		     {CAPTURE_BOTH, 0, &capture_afpacket_ops}, {CAPTURE_IN, 5, &capture_afpacket_ops},
		     {CAPTURE_BOTH, 5, &capture_afpacket_ops}, {CAPTURE_BOTH, 0, &capture_pcap_ops},
		     {CAPTURE_OUT, 0, &capture_pcap_ops}};
	int in = netns_sender(CONTRACT_B), out = netns_sender(CONTRACT_A);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct capture_config config = contract_config();
		struct sampled got = {0}, sent[2], want = {0}, rejected = {0};
		struct capture_stats stats;
		struct capture *c;

		config.direction = cases[i].direction;
		config.select_interval = cases[i].interval;
		config.filter = "greater 500";
		c = contract_open(cases[i].ops, &config);
		assert_int_equal(c->selects, cases[i].interval > 1);
		sent[0] = sampling_send(c, in, 2000, &got);
		sent[1] = sampling_send(c, out, 1000, &got);
		for (unsigned k = 0; k < 2; k++) {
			if (cases[i].direction == (k ? CAPTURE_IN : CAPTURE_OUT))
				continue;
			for (unsigned n = 0; n < sent[k].packets; n++) {
				struct sampled *to;

				contract_frame(&b, n, 40 + n % 1000);
				to = b.len >= 500 ? &want : &rejected;
				to->packets++;
				to->octets += b.len;
			}
		}
		assert_int_equal(capture_get_stats(c, &stats), 0);
		assert_false(stats.filtered_unknown);
		assert_int_equal(stats.filtered, rejected.packets);
		assert_int_equal(stats.filtered_octets, rejected.octets);
		assert_int_equal(got.packets + stats.unselected, want.packets);
		assert_int_equal(got.octets + stats.unselected_octets, want.octets);
		assert_int_equal(stats.unselected > 0, cases[i].interval > 1);
		assert_int_equal(stats.kernel_dropped, 0);
		/* nothing gets in, and nothing is counted any more */
		capture_stop(c);
		contract_frame(&b, 1, 40);
		netns_send(in, b.at, b.len);
		netns_send(out, b.at, b.len);
		assert_int_equal(capture_get_stats(c, &stats), 0);
		assert_int_equal(stats.filtered, rejected.packets);
		capture_close(c);
	}
	close(in);
	close(out);
}

/* What is drawn may be another part from one moment to the next: frames have the mark of their own draw. */
static void sampling_changes(void **state)
{
	static const struct phase {
		uint32_t interval;
		uint16_t mark;
		unsigned n, length;
	} phases[] = {
		{1, 0, 300, 100}, {0, 1, 200, 200}, {1, 2, 300, 300}, {1, 3, 100, 400}, {4, 4, 4000, 500}};
	struct capture_config config = contract_config();
	unsigned got[5] = {0}, sent = 0, seen = 0;
	int tx = netns_sender(CONTRACT_B);
	struct frame_batch batch;
	struct capture_stats stats;
	struct capture *c;
	struct diag diag;

	(void)state;
	config.select_varies = true;
	config.direction = CAPTURE_IN;
	assert_int_equal(capture_open(&c, &config, &diag), 0);
	assert_true(c->selects);
	for (unsigned p = 0; p < 5; p++) {
		assert_true(p == 0 || capture_draw(c, phases[p].interval, phases[p].mark));
		for (unsigned i = 0; i < phases[p].n; i++) {
			contract_frame(&b, i, phases[p].length);
			netns_send(tx, b.at, b.len);
		}
		sent += phases[p].n;
	}
	for (unsigned quiet = 0; quiet < 5; quiet++) {
		assert_int_equal(capture_recv(c, &batch, 100, &diag), 0);
		for (unsigned i = 0; i < batch.n; i++) {
			const struct phase *p = &phases[batch.mark];

			assert_in_range(batch.frames[i].wire_len, p->length, p->length + 99);
			got[batch.mark]++;
			seen++;
		}
		if (!batch.n)
			continue;
		capture_release(c, &batch);
		quiet = 0;
	}
	assert_int_equal(got[0], 300);
	assert_int_equal(got[1], 0);
	assert_int_equal(got[2], 300);
	assert_int_equal(got[3], 100);
	assert_in_range(got[4], 835, 1165); /* six standard errors */
	assert_int_equal(capture_get_stats(c, &stats), 0);
	assert_int_equal(seen + stats.unselected, sent);
	/* more changes than can be waited for are refused, and those before them are kept */
	for (unsigned i = 0; i < 100; i++)
		if (!capture_draw(c, i % 2 ? 1 : 0, (uint16_t)i))
			seen = i;
	assert_in_range(seen, 10, 99);
	capture_close(c);
	close(tx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sampling_changes, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(sampling_counts_all, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(sampling_has_directions, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(sampling_is_not_there_for_nothing, contract_set_up,
						contract_tear_down),
		cmocka_unit_test_setup_teardown(filter_counts_all, contract_set_up, contract_tear_down),
	};
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, 64);
	const struct capture_filter f = {.insns = &all, .n = 1};
	const struct capture_socket_program_config probe = {.filter = &f, .draws = true, .interval = 2};
	struct capture_socket_program *p;
	struct diag why;
	int r = netns_enter();

	if (r)
		return r;
	r = capture_socket_program_new(&p, &probe, &why);
	if (r < 0)
		return lacking("no eBPF socket filters here: %s", why.text);
	capture_socket_program_free(p);
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
