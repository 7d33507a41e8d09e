/* capture_contract: see capture_contract.h. */
#include "capture_contract.h"

#include "cm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netns.h"
#include "pitot/clock.h"

#define SEEN_MAX 8000

static const uint8_t contract_magic[8] = {'p', 'i', 't', 'o', 't', 'T', 'S', 'T'};
static struct fb b;
static struct seen seen[SEEN_MAX];

/* ---- the test bed */

int contract_set_up(void **state)
{
	(void)state;
	netns_veth(CONTRACT_A, CONTRACT_B);
	return 0;
}

int contract_tear_down(void **state)
{
	(void)state;
	if (netns_has(CONTRACT_A))
		netns_delete(CONTRACT_A);
	return 0;
}

struct capture_config contract_config(void)
{
	return (struct capture_config){
		.interface = CONTRACT_A,
		.point = 3,
		.buffer_octets = 4 << 20,
		.snap_len = 256,
		.promiscuous = true,
	};
}

int contract_try(struct capture **cp, const struct capture_ops *ops, const struct capture_config *config,
		 struct diag *diag)
{
	struct capture_plan *plan;
	int r = capture_plan_new(&plan, config, diag);

	if (r < 0)
		return r;
	r = ops->open(cp, plan, diag);
	capture_plan_free(plan);
	return r;
}

int contract_open_error(const struct capture_ops *ops, const struct capture_config *config, struct diag *diag)
{
	struct capture *c = NULL;
	int r = contract_try(&c, ops, config, diag);

	if (r == 0)
		ops->close(c);
	return r;
}

struct capture *contract_open(const struct capture_ops *ops, const struct capture_config *config)
{
	struct diag diag = {""};
	struct capture *c = NULL;
	int r = contract_try(&c, ops, config, &diag);

	if (r < 0)
		fail_msg("open: %d: %s", r, diag.text);
	assert_ptr_equal(c->ops, ops);
	assert_false(c->is_file);
	return c;
}

void contract_payload(struct fb *f, uint32_t seq, size_t payload)
{
	fb_init(f);
	fb_payload(f, payload < 12 ? 12 : payload);
	memcpy(f->at, contract_magic, sizeof(contract_magic));
	fb_put32(f->at + 8, seq);
}

void contract_frame(struct fb *f, uint32_t seq, size_t payload)
{
	contract_payload(f, seq, payload);
	fb_udp(f, 1000, 2000);
	fb_ip4(f, "192.0.2.1", "192.0.2.2");
	fb_ether(f);
}

/* ---- receiving */

static void contract_copy(struct seen *s, const struct frame *f)
{
	size_t put = 0, n = f->cap_len;

	*s = (struct seen){
		.cap_len = f->cap_len,
		.wire_len = f->wire_len,
		.time_ns = f->time_ns,
		.ifindex = f->ifindex,
		.point = f->point,
		.flags = f->flags,
	};
	if (f->flags & FRAME_VLAN && n >= 12) {
		memcpy(s->data, f->data, 12);
		fb_put16(s->data + 12, f->vlan_tpid);
		fb_put16(s->data + 14, f->vlan_tci);
		put = 16;
		s->cap_len += 4;
		s->wire_len += 4;
	}
	n -= put ? 12 : 0;
	if (n > sizeof(s->data) - put)
		n = sizeof(s->data) - put;
	memcpy(s->data + put, f->data + (put ? 12 : 0), n);
	s->len = put + n;
}

static bool contract_find(struct seen *s)
{
	const uint8_t *at = memmem(s->data, s->len, contract_magic, sizeof(contract_magic));

	if (!at || at + 12 > s->data + s->len)
		return false;
	s->seq = (uint32_t)at[8] << 24 | (uint32_t)at[9] << 16 | (uint32_t)at[10] << 8 | at[11];
	return true;
}

/* By the clock and by looks: a machine that stands still for a while has not looked. */
enum { PATIENCE_MS = 500, LOOK_MS = 50, LOOKS = PATIENCE_MS / LOOK_MS };

size_t contract_collect(struct capture *c, struct seen *to, size_t want)
{
	uint64_t end_ns = clock_monotonic_ns() + PATIENCE_MS * NS_PER_MSEC;
	struct diag diag = {""};
	struct frame_batch batch;
	unsigned looks = 0;
	size_t n = 0;

	while (n < want && (looks < LOOKS || clock_monotonic_ns() < end_ns)) {
		int r = capture_recv(c, &batch, LOOK_MS, &diag);

		if (r == CAPTURE_E_END || r == CAPTURE_E_GONE)
			break;
		if (r)
			fail_msg("recv: %d: %s", r, diag.text);
		assert_in_range(batch.n, 0, BATCH_MAX);
		for (unsigned i = 0; i < batch.n && n < want; i++) {
			contract_copy(&to[n], &batch.frames[i]);
			n += contract_find(&to[n]);
		}
		looks++;
		if (batch.n) {
			end_ns = clock_monotonic_ns() + PATIENCE_MS * NS_PER_MSEC;
			looks = 0;
		}
		capture_release(c, &batch);
	}
	return n;
}

int contract_outcome(struct capture *c)
{
	uint64_t end_ns = clock_monotonic_ns() + PATIENCE_MS * NS_PER_MSEC;
	struct diag diag = {""};
	struct frame_batch batch;

	for (unsigned looks = 0; looks < LOOKS || clock_monotonic_ns() < end_ns; looks++) {
		int r = capture_recv(c, &batch, LOOK_MS, &diag);

		if (r < 0)
			fail_msg("recv: %d: %s", r, diag.text);
		if (r > 0)
			return r;
		capture_release(c, &batch);
	}
	return 0;
}

static void contract_expect_silence(struct capture *c)
{
	assert_int_equal(contract_collect(c, seen, SEEN_MAX), 0);
}

/* ---- the contract */

static void contract_frames_in_order(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	struct capture *c;
	int tx = netns_sender(CONTRACT_B);
	uint64_t before_ns = clock_realtime_ns(), last_ns = before_ns;
	enum { N = 5000 };

	config.buffer_octets = 16 << 20; /* a frame may have a place of 2048 octets, however short it is */
	c = contract_open(k->ops, &config);
	assert_int_equal(c->link_type, 1);
	assert_int_equal(c->ifindex, if_nametoindex(CONTRACT_A));
	assert_int_equal(c->mtu, 1500);
	assert_string_equal(c->name, CONTRACT_A);
	assert_true(c->fd >= 0);
	for (uint32_t i = 0; i < N; i++) {
		contract_frame(&b, i, 20 + i % 100);
		netns_send(tx, b.at, b.len);
	}
	assert_int_equal(contract_collect(c, seen, N), N);
	for (uint32_t i = 0; i < N; i++) {
		const struct seen *s = &seen[i];

		contract_frame(&b, i, 20 + i % 100);
		assert_int_equal(s->seq, i);
		assert_int_equal(s->wire_len, b.len);
		assert_int_equal(s->cap_len, b.len);
		assert_memory_equal(s->data, b.at, b.len);
		assert_true(s->time_ns >= last_ns);
		last_ns = s->time_ns;
		assert_int_equal(s->ifindex, c->ifindex);
		assert_int_equal(s->point, 3);
		assert_int_equal(s->flags, k->knows_direction ? FRAME_INGRESS : 0);
	}
	assert_true(last_ns <= clock_realtime_ns());
	contract_expect_silence(c);
	close(tx);
	capture_close(c);
}

static void contract_exported_index(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	struct capture *c;
	int tx = netns_sender(CONTRACT_B);

	config.ifindex = 4711;
	c = contract_open(k->ops, &config);
	contract_frame(&b, 1, 20);
	netns_send(tx, b.at, b.len);
	assert_int_equal(c->ifindex, 4711);
	assert_int_equal(contract_collect(c, seen, 1), 1);
	assert_int_equal(seen[0].ifindex, 4711);
	close(tx);
	capture_close(c);
}

static void contract_waits(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	struct capture *c = contract_open(k->ops, &config);
	struct frame_batch batch = {.n = 7};
	struct diag diag;
	uint64_t start_ns, took_ns, best_ns = UINT64_MAX;

	for (unsigned i = 0; i < 5; i++) {
		start_ns = clock_monotonic_ns();
		assert_int_equal(capture_recv(c, &batch, 0, &diag), 0);
		assert_int_equal(batch.n, 0);
		took_ns = clock_monotonic_ns() - start_ns;
		best_ns = took_ns < best_ns ? took_ns : best_ns;
		capture_release(c, &batch);
	}
	assert_true(best_ns < 40 * NS_PER_MSEC);
	start_ns = clock_monotonic_ns();
	assert_int_equal(capture_recv(c, &batch, 80, &diag), 0);
	assert_int_equal(batch.n, 0);
	assert_true(clock_monotonic_ns() - start_ns >= 70 * NS_PER_MSEC);
	capture_release(c, &batch);
	capture_close(c);
}

/* A frame alone does not wait for others: it is here within the block time-out. */
static void contract_latency(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	struct capture *c = contract_open(k->ops, &config);
	int tx = netns_sender(CONTRACT_B);
	uint64_t best_ns = UINT64_MAX;

	for (uint32_t i = 0; i < 5; i++) {
		uint64_t start_ns = clock_monotonic_ns(), took_ns;

		contract_frame(&b, i, 20);
		netns_send(tx, b.at, b.len);
		assert_int_equal(contract_collect(c, seen, 1), 1);
		took_ns = clock_monotonic_ns() - start_ns;
		best_ns = took_ns < best_ns ? took_ns : best_ns;
	}
	assert_true(best_ns < 60 * NS_PER_MSEC);
	close(tx);
	capture_close(c);
}

static void contract_vlan_tags(void **state)
{
	static const uint16_t tags[][2] = {{0x8100, 5}, {0x8100, 0x6fff}, {0x88a8, 0x1007}, {0x8100, 0}};
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	struct capture *c = contract_open(k->ops, &config);
	int tx = netns_sender(CONTRACT_B);
	uint32_t n = 0;

	for (unsigned inner = 0; inner < 2; inner++) {
		for (unsigned i = 0; i < ARRAY_SIZE(tags); i++) {
			contract_payload(&b, n++, 40);
			fb_udp(&b, 1000, 2000);
			fb_ip4(&b, "192.0.2.1", "192.0.2.2");
			if (inner)
				fb_vlan(&b, 0x8100, 77);
			fb_vlan(&b, tags[i][0], tags[i][1]);
			fb_ether(&b);
			netns_send(tx, b.at, b.len);
			assert_int_equal(contract_collect(c, seen, 1), 1);
			assert_int_equal(seen[0].wire_len, b.len);
			assert_int_equal(seen[0].cap_len, b.len);
			assert_memory_equal(seen[0].data, b.at, b.len);
		}
	}
	/* and nothing of it sticks to the next frame */
	contract_frame(&b, n, 40);
	netns_send(tx, b.at, b.len);
	assert_int_equal(contract_collect(c, seen, 1), 1);
	assert_int_equal(seen[0].flags & FRAME_VLAN, 0);
	assert_memory_equal(seen[0].data, b.at, b.len);
	close(tx);
	capture_close(c);
}

static void contract_directions(void **state)
{
	static const struct {
		enum capture_direction direction;
		size_t n;
		uint32_t first_seq;
	} cases[] = {{CAPTURE_BOTH, 2, 1}, {CAPTURE_IN, 1, 1}, {CAPTURE_OUT, 1, 2}};
	const struct contract *k = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct capture_config config = contract_config();
		struct capture *c;
		int in = netns_sender(CONTRACT_B), out = netns_sender(CONTRACT_A);

		config.direction = cases[i].direction;
		if (k->ingress_only && config.direction == CAPTURE_OUT) {
			struct diag diag = {""};

			assert_int_equal(contract_open_error(k->ops, &config, &diag), -EOPNOTSUPP);
			assert_non_null(strstr(diag.text, "--direction out"));
			close(in);
			close(out);
			continue;
		}
		c = contract_open(k->ops, &config);
		contract_frame(&b, 1, 40);
		netns_send(in, b.at, b.len);
		contract_frame(&b, 2, 40);
		netns_send(out, b.at, b.len);
		size_t n = k->ingress_only ? 1 : cases[i].n;

		assert_int_equal(contract_collect(c, seen, 3), n);
		for (size_t j = 0; j < n; j++) {
			bool known = k->knows_direction || config.direction != CAPTURE_BOTH;

			assert_int_equal(seen[j].seq, cases[i].first_seq + j);
			assert_int_equal(seen[j].flags, !known		   ? 0
							: seen[j].seq == 1 ? FRAME_INGRESS
									   : FRAME_EGRESS);
		}
		close(in);
		close(out);
		capture_close(c);
	}
}

static void contract_loopback_once(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0x7f000001)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct capture *c;

	config.interface = "lo";
	if (k->ingress_only) {
		struct diag diag = {""};

		assert_int_equal(contract_open_error(k->ops, &config, &diag), -EOPNOTSUPP);
		assert_non_null(strstr(diag.text, "loopback"));
		close(fd);
		return;
	}
	c = contract_open(k->ops, &config);
	assert_int_equal(c->link_type, 1);
	for (uint32_t i = 0; i < 10; i++) {
		contract_payload(&b, i, 40);
		assert_int_equal(sendto(fd, b.at, b.len, 0, (struct sockaddr *)&to, sizeof(to)), b.len);
	}
	/* each provokes an ICMP error that quotes it: from port 9 unreachable, and is no frame of its own */
	size_t n = contract_collect(c, seen, 40), own = 0;

	for (size_t i = 0; i < n; i++)
		own += seen[i].data[14 + 9] == 17;
	assert_int_equal(own, 10);
	close(fd);
	capture_close(c);
}

/* Six frames, and which of them pass. */
static void contract_send_zoo(int tx)
{
	for (uint32_t i = 0; i < 6; i++) {
		contract_payload(&b, i, 40);
		if (i == 1)
			fb_tcp(&b, 1000, 22, 2);
		else
			fb_udp(&b, 1000, i == 5 ? 22 : 53);
		if (i == 2)
			fb_ip6(&b, "2001:db8::1", "2001:db8::2");
		else
			fb_ip4(&b, "192.0.2.1", "192.0.2.2");
		if (i == 4)
			fb_vlan(&b, 0x8100, 7);
		if (i >= 3)
			fb_vlan(&b, i == 4 ? 0x88a8 : 0x8100, i == 3 ? 6 : 5);
		fb_ether(&b);
		netns_send(tx, b.at, b.len);
	}
}

static void contract_filters(void **state)
{
	/* 0: IPv4 UDP 53; 1: IPv4 TCP 22; 2: IPv6 UDP 53; 3: VLAN 6; 4: VLAN 5, then 7; 5: VLAN 5, UDP 22 */
	static const struct {
		const char *filter;
		unsigned pass;
	} cases[] = {
		{"", 0x3f},
		{"ip6", 0x04},
		{"not port 22", 0x1d},
		{"tcp port 22", 0x02},
		{"udp port 22", 0x20},
		{"udp port 53", 0x1d},
		{"vlan", 0x38},
		{"vlan 5", 0x30},
		{"vlan 6 and udp", 0x08},
		{"vlan 5 and udp port 22", 0x20},
		{"not vlan", 0x07},
		{"vlan 5 and vlan 7 and udp port 53", 0x10},
		{"host 192.0.2.77", 0},
		{"udp or (vlan 5)", 0x35}, /* what names vlan sees the tags: UDP is behind one */
	};
	const struct contract *k = *state;
	int tx = netns_sender(CONTRACT_B);

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct capture_config config = contract_config();
		struct capture *c;
		unsigned pass = 0;
		size_t n;

		config.filter = cases[i].filter;
		c = contract_open(k->ops, &config);
		contract_send_zoo(tx);
		n = contract_collect(c, seen, (size_t)__builtin_popcount(cases[i].pass));
		for (size_t j = 0; j < n; j++)
			pass |= 1u << seen[j].seq;
		n += contract_collect(c, seen, 1);
		if (pass != cases[i].pass || n != (size_t)__builtin_popcount(pass))
			fail_msg("filter \"%s\": 0x%x, expected 0x%x", cases[i].filter, pass, cases[i].pass);
		capture_close(c);
	}
	close(tx);
}

static void contract_snap_length(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	int tx = netns_sender(CONTRACT_B);
	struct capture *c;

	for (unsigned i = 0; i < 2; i++) {
		config.snap_len = 96;
		config.filter = i ? "ip" : NULL;
		c = contract_open(k->ops, &config);
		contract_frame(&b, 9, 1000);
		netns_send(tx, b.at, b.len);
		assert_int_equal(contract_collect(c, seen, 1), 1);
		assert_int_equal(seen[0].cap_len, 96);
		assert_int_equal(seen[0].wire_len, b.len);
		assert_memory_equal(seen[0].data, b.at, 96);
		capture_close(c);
	}
	/* longer than any frame: nothing is cut */
	config.snap_len = 262144;
	c = contract_open(k->ops, &config);
	netns_send(tx, b.at, b.len);
	assert_int_equal(contract_collect(c, seen, 1), 1);
	assert_int_equal(seen[0].cap_len, b.len);
	close(tx);
	capture_close(c);
}

/* sent = received + dropped, when the buffer is much too small and nobody reads. */
static void contract_counts_drops(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	struct capture_stats stats = {0};
	int tx = netns_sender(CONTRACT_B);
	struct capture *c;
	enum { N = 6000 };
	size_t n;

	config.buffer_octets = 1 << 18;
	config.snap_len = 1500;
	config.filter = "udp";
	c = contract_open(k->ops, &config);
	assert_int_equal(capture_get_stats(c, &stats), 0);
	assert_int_equal(stats.kernel_dropped, 0);
	for (uint32_t i = 0; i < N; i++) {
		contract_frame(&b, i, 1000);
		netns_send(tx, b.at, b.len);
		if (i == N / 2) /* a reading in between takes nothing away */
			assert_int_equal(capture_get_stats(c, &stats), 0);
	}
	n = contract_collect(c, seen, SEEN_MAX);
	assert_int_equal(capture_get_stats(c, &stats), 0);
	assert_true(n > 0);
	assert_true(stats.kernel_dropped > 0);
	assert_int_equal(n + stats.kernel_dropped, N);
	/* what was let go is room again */
	contract_frame(&b, 1, 1000);
	netns_send(tx, b.at, b.len);
	assert_int_equal(contract_collect(c, seen, 1), 1);
	close(tx);
	capture_close(c);
}

/* Many times round the ring, with what is in it right until the moment it is given back. */
static void contract_goes_round(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	int tx = netns_sender(CONTRACT_B);
	uint32_t sent = 0, got = 0;
	struct capture *c;

	config.buffer_octets = 1 << 20;
	config.snap_len = 1500;
	c = contract_open(k->ops, &config);
	while (sent < 20000) {
		for (unsigned i = 0; i < 200; i++, sent++) {
			contract_frame(&b, sent, 200 + sent % 800);
			netns_send(tx, b.at, b.len);
		}
		while (got < sent) {
			size_t n = contract_collect(c, seen, sent - got);

			assert_true(n > 0);
			for (size_t i = 0; i < n; i++)
				assert_int_equal(seen[i].seq, got++);
		}
	}
	close(tx);
	capture_close(c);
}

static void contract_lends_until_release(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	int tx = netns_sender(CONTRACT_B);
	struct frame_batch batch = {0};
	struct diag diag;
	struct capture *c;
	struct seen first;

	config.buffer_octets = 1 << 17;
	config.snap_len = 1500;
	c = contract_open(k->ops, &config);
	contract_frame(&b, 42, 500);
	netns_send(tx, b.at, b.len);
	for (unsigned i = 0; i < 20 && batch.n == 0; i++)
		assert_int_equal(capture_recv(c, &batch, LOOK_MS, &diag), 0);
	assert_int_equal(batch.n, 1);
	for (uint32_t i = 0; i < 3000; i++) {
		contract_frame(&b, i, 1000);
		netns_send(tx, b.at, b.len);
	}
	contract_copy(&first, &batch.frames[0]);
	assert_true(contract_find(&first));
	assert_int_equal(first.seq, 42);
	contract_frame(&b, 42, 500);
	assert_memory_equal(batch.frames[0].data, b.at, b.len);
	capture_release(c, &batch);
	close(tx);
	capture_close(c);
}

static void contract_stop_loses_nothing(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	struct capture *c = contract_open(k->ops, &config);
	int tx = netns_sender(CONTRACT_B);

	for (uint32_t i = 0; i < 1500; i++) {
		contract_frame(&b, i, 40);
		netns_send(tx, b.at, b.len);
		if (i == 500)
			assert_int_equal(contract_collect(c, seen, 100), 100);
		if (i == 999)
			capture_stop(c);
	}
	/* some of the first batch are thrown away by contract_collect(); the numbers say that all came */
	size_t n = contract_collect(c, seen, SEEN_MAX);

	assert_true(n > 0);
	assert_int_equal(seen[n - 1].seq, 999);
	for (size_t i = 1; i < n; i++)
		assert_int_equal(seen[i].seq, seen[i - 1].seq + 1);
	assert_int_equal(contract_outcome(c), CAPTURE_E_END);
	close(tx);
	capture_close(c);
}

/* What came right before the stop lies in a block that the kernel is still filling. */
static void contract_stop_waits_for_the_last(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	int tx = netns_sender(CONTRACT_B);

	for (uint32_t i = 0; i < 8; i++) {
		struct capture *c = contract_open(k->ops, &config);

		usleep(3000 * i);
		contract_frame(&b, i, 40);
		netns_send(tx, b.at, b.len);
		capture_stop(c);
		assert_int_equal(contract_collect(c, seen, 1), 1);
		assert_int_equal(contract_outcome(c), CAPTURE_E_END);
		capture_close(c);
	}
	close(tx);
}

static void contract_down_and_up(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	struct capture *c = contract_open(k->ops, &config);
	int tx = netns_sender(CONTRACT_B);
	struct diag diag = {""};

	contract_frame(&b, 1, 40);
	netns_send(tx, b.at, b.len);
	assert_int_equal(contract_collect(c, seen, 1), 1);
	netns_set_up(CONTRACT_A, false);
	assert_int_equal(contract_outcome(c), 0);
	assert_int_equal(contract_open_error(k->ops, &config, &diag), -ENETDOWN);
	assert_non_null(strstr(diag.text, CONTRACT_A));
	netns_set_up(CONTRACT_A, true);
	netns_wait_running(CONTRACT_B);
	capture_close(c);
	c = contract_open(k->ops, &config);
	contract_frame(&b, 2, 40);
	netns_send(tx, b.at, b.len);
	assert_int_equal(contract_collect(c, seen, 1), 1);
	assert_int_equal(seen[0].seq, 2);
	close(tx);
	capture_close(c);
}

/* The same capture comes to life again by itself. */
static void contract_up_again(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	struct capture *c = contract_open(k->ops, &config);
	int tx = netns_sender(CONTRACT_B);

	netns_set_up(CONTRACT_A, false);
	assert_int_equal(contract_outcome(c), 0);
	netns_set_up(CONTRACT_A, true);
	netns_wait_running(CONTRACT_B);
	assert_int_equal(contract_outcome(c), 0);
	contract_frame(&b, 3, 40);
	netns_send(tx, b.at, b.len);
	assert_int_equal(contract_collect(c, seen, 1), 1);
	close(tx);
	capture_close(c);
}

static void contract_deleted(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	struct capture *c = contract_open(k->ops, &config);
	struct capture_stats stats;
	struct diag diag = {""};
	int tx;

	netns_delete(CONTRACT_A);
	assert_int_equal(contract_outcome(c), CAPTURE_E_GONE);
	assert_int_equal(contract_outcome(c), CAPTURE_E_GONE);
	assert_int_equal(capture_get_stats(c, &stats), 0);
	assert_int_equal(contract_open_error(k->ops, &config, &diag), -ENODEV);
	netns_veth(CONTRACT_A, CONTRACT_B);
	assert_int_equal(contract_outcome(c), CAPTURE_E_GONE); /* another interface, whatever its name */
	capture_close(c);
	c = contract_open(k->ops, &config);
	tx = netns_sender(CONTRACT_B);
	contract_frame(&b, 4, 40);
	netns_send(tx, b.at, b.len);
	assert_int_equal(contract_collect(c, seen, 1), 1);
	close(tx);
	capture_close(c);
}

/* Whatever came before the end is lent before the end is told, under load and with the same index again. */
static void contract_deleted_under_load(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	enum { N = 300 };

	for (unsigned round = 0; round < 3; round++) {
		struct capture *c = contract_open(k->ops, &config);
		uint32_t index = c->system_ifindex;
		int tx = netns_sender(CONTRACT_B);

		for (uint32_t i = 0; i < N; i++) {
			contract_frame(&b, i, 40);
			netns_send(tx, b.at, b.len);
		}
		close(tx);
		netns_delete(CONTRACT_A);
		netns_veth_index(CONTRACT_A, CONTRACT_B, index);
		assert_int_equal(if_nametoindex(CONTRACT_A), index);
		netns_wait_running(CONTRACT_B);
		tx = netns_sender(CONTRACT_B);
		contract_frame(&b, N, 40);
		netns_send(tx, b.at, b.len);
		close(tx);
		assert_int_equal(contract_collect(c, seen, SEEN_MAX), N);
		assert_int_equal(contract_outcome(c), CAPTURE_E_GONE);
		capture_close(c);
		netns_delete(CONTRACT_A);
		netns_veth(CONTRACT_A, CONTRACT_B);
	}
}

static void contract_errors(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	struct diag diag = {""};

	config.interface = "nosuch0";
	assert_int_equal(contract_open_error(k->ops, &config, &diag), -ENODEV);
	assert_string_equal(diag.text, "interface \"nosuch0\" does not exist");
	config.interface = "a-name-that-is-longer-than-any";
	assert_int_equal(contract_open_error(k->ops, &config, &diag), -ENODEV);
	config = contract_config();
	config.filter = "tcp porrt 5";
	assert_int_equal(contract_open_error(k->ops, &config, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "tcp porrt 5"));
	config.filter = "vlan fife";
	assert_int_equal(contract_open_error(k->ops, &config, &diag), -EINVAL);
}

/* Several at once, each with its own frames. */
static void contract_two_at_once(void **state)
{
	const struct contract *k = *state;
	struct capture_config config = contract_config();
	struct capture *a = contract_open(k->ops, &config), *c;
	int tx = netns_sender(CONTRACT_B);

	config.interface = CONTRACT_B;
	c = contract_open(k->ops, &config);
	for (uint32_t i = 0; i < 100; i++) {
		contract_frame(&b, i, 40);
		netns_send(tx, b.at, b.len);
	}
	assert_int_equal(contract_collect(a, seen, 101), 100);
	assert_int_equal(contract_collect(c, seen, 101), k->ingress_only ? 0 : 100);
	if (!k->ingress_only)
		assert_int_equal(seen[0].ifindex, if_nametoindex(CONTRACT_B));
	if (k->knows_direction && !k->ingress_only)
		assert_int_equal(seen[0].flags, FRAME_EGRESS);
	close(tx);
	capture_close(a);
	capture_close(c);
}

#define CONTRACT_TEST(fn)                                                                                    \
	cmocka_unit_test_prestate_setup_teardown(fn, contract_set_up_keep, contract_tear_down_keep, NULL)

/* cmocka gives setup the state that the test gets: the contract passes through. */
static const struct contract *contract_current;

static int contract_set_up_keep(void **state)
{
	*state = (void *)(uintptr_t)contract_current;
	contract_set_up(NULL);
	if (contract_current->prepare)
		contract_current->prepare();
	return 0;
}

static int contract_tear_down_keep(void **state)
{
	(void)state;
	return contract_tear_down(NULL);
}

int contract_run(const struct contract *contract)
{
	const struct CMUnitTest tests[] = {
		CONTRACT_TEST(contract_frames_in_order),
		CONTRACT_TEST(contract_exported_index),
		CONTRACT_TEST(contract_waits),
		CONTRACT_TEST(contract_latency),
		CONTRACT_TEST(contract_vlan_tags),
		CONTRACT_TEST(contract_directions),
		CONTRACT_TEST(contract_loopback_once),
		CONTRACT_TEST(contract_filters),
		CONTRACT_TEST(contract_snap_length),
		CONTRACT_TEST(contract_counts_drops),
		CONTRACT_TEST(contract_goes_round),
		CONTRACT_TEST(contract_lends_until_release),
		CONTRACT_TEST(contract_stop_loses_nothing),
		CONTRACT_TEST(contract_stop_waits_for_the_last),
		CONTRACT_TEST(contract_down_and_up),
		CONTRACT_TEST(contract_up_again),
		CONTRACT_TEST(contract_deleted),
		CONTRACT_TEST(contract_deleted_under_load),
		CONTRACT_TEST(contract_errors),
		CONTRACT_TEST(contract_two_at_once),
	};

	contract_current = contract;
	return cmocka_run_group_tests_name(contract->name ? contract->name : contract->ops->name, tests, NULL,
					   NULL);
}
