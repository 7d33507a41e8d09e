/*
 * Savefiles dealt to several metering threads, without the threads: who gets which packets, and in which
 * order, is the same whoever asks when.
 * Covers process/dealing.c, process/savefiles.c, capture/capture_walk.c.
 */
#include "cm.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dealing.h"
#include "pitot/clock.h"

enum { LANES = 3, HOSTS = 40, PACKETS = 20000 };

struct fixture {
	char path[64];
	struct shared shared;
	struct capture_config file;
	struct savefiles *files;
	struct dealing *dealing;
};

static void put32(FILE *f, uint32_t v)
{
	assert_int_equal(fwrite(&v, sizeof(v), 1, f), 1);
}

/* A UDP packet between two of the hosts, in either direction, with its number as its time and ports. */
static void put_packet(FILE *f, uint32_t number, uint64_t *random)
{
	unsigned a = (unsigned)(test_random(random) % HOSTS), b = (unsigned)(test_random(random) % HOSTS);
	uint32_t payload = (uint32_t)(test_random(random) % 20 ? 18 : 1400); /* pieces of unlike sizes */
	uint8_t frame[1500] = {[12] = 8, [14] = 0x45, [22] = 64, [23] = 17, [26] = 10, [30] = 10};

	frame[16] = (uint8_t)((28 + payload) >> 8);
	frame[17] = (uint8_t)(28 + payload);
	frame[29] = (uint8_t)a;
	frame[33] = (uint8_t)b;
	frame[35] = (uint8_t)number;
	put32(f, 1 + number);
	put32(f, 0);
	put32(f, 42 + payload);
	put32(f, 42 + payload);
	assert_int_equal(fwrite(frame, 42 + payload, 1, f), 1);
}

static void put_file(struct fixture *x)
{
	uint64_t random = 1;
	FILE *f;
	int fd;

	snprintf(x->path, sizeof(x->path), "/tmp/test_dealing.XXXXXX");
	fd = mkstemp(x->path);
	assert_true(fd >= 0);
	f = fdopen(fd, "w");
	put32(f, 0xa1b2c3d4);
	put32(f, 2 | 4 << 16);
	put32(f, 0);
	put32(f, 0);
	put32(f, 65535);
	put32(f, 1);
	for (uint32_t i = 0; i < PACKETS; i++)
		put_packet(f, i, &random);
	assert_int_equal(fclose(f), 0);
}

static struct fixture *open_dealing(unsigned lanes)
{
	struct fixture *x = calloc(1, sizeof(*x));
	struct shared_config sc = {
		.n_metering = lanes, .ring_records = 64, .record_size = sizeof(struct flow_record)};
	struct savefiles_config s = {
		.files = &x->file, .n_files = 1, .decode = {.max_layers = 32}, .shared = &x->shared};
	struct dealing_config d = {.n_lanes = lanes};
	struct diag diag = {""};

	put_file(x);
	x->file.path = x->path;
	assert_int_equal(shared_new(&x->shared, &sc, &diag), 0);
	assert_int_equal(savefiles_new(&x->files, &s, &diag), 0);
	hash_seed_fixed(&d.seed, 7);
	d.files = x->files;
	d.shared = x->shared.files;
	assert_int_equal(dealing_new(&x->dealing, &d, &diag), 0);
	return x;
}

static void close_dealing(struct fixture *x)
{
	dealing_free(x->dealing);
	savefiles_free(x->files);
	shared_free(&x->shared);
	unlink(x->path);
	free(x);
}

struct taken {
	unsigned lane_of[PACKETS]; /* 1 + that got the packet; 0 nobody */
	uint64_t last_ns[LANES];
	unsigned in_lane[LANES];
	uint8_t pair_lane[HOSTS][HOSTS]; /* likewise */
};

static void take(struct taken *t, unsigned lane, const struct packet *p)
{
	unsigned number = (unsigned)(p->time_ns / NS_PER_SEC - 1), a = p->key.src[3], b = p->key.dst[3];

	assert_in_range(number, 0, PACKETS - 1);
	assert_int_equal(t->lane_of[number], 0);
	t->lane_of[number] = lane + 1;
	assert_true(p->time_ns > t->last_ns[lane]); /* in order */
	t->last_ns[lane] = p->time_ns;
	t->in_lane[lane]++;
	assert_int_equal(p->key.dst_port & 0xff, 0);
	assert_int_equal(p->key.src_port & 0xff, number & 0xff);
	assert_true(t->pair_lane[a][b] == 0 || t->pair_lane[a][b] == lane + 1);
	t->pair_lane[a][b] = t->pair_lane[b][a] = (uint8_t)(lane + 1);
}

/* Every packet once, in order in its lane; all of two addresses, in both directions, in one. */
static void deal_all(struct fixture *x, struct taken *t, uint64_t random)
{
	bool ended[LANES] = {false};
	struct diag diag = {""};

	for (unsigned left = LANES; left > 0;) {
		unsigned lane = (unsigned)(test_random(&random) % LANES), n;
		struct packet *packets;
		int r;

		if (ended[lane])
			continue;
		r = dealing_next(x->dealing, lane, &packets, &n, &diag);
		if (r == SAVEFILES_E_END) {
			ended[lane] = true;
			left--;
			continue;
		}
		assert_int_equal(r, 0);
		assert_in_range(n, 0, BATCH_MAX);
		for (unsigned i = 0; i < n; i++)
			take(t, lane, &packets[i]);
	}
}

static void test_both_directions_meet(void **state)
{
	static struct taken t[2];

	(void)state;
	for (unsigned run = 0; run < 2; run++) { /* asked in another order */
		struct fixture *x = open_dealing(LANES);

		t[run] = (struct taken){.in_lane = {0}};
		deal_all(x, &t[run], 10 + run);
		for (unsigned i = 0; i < PACKETS; i++)
			assert_true(t[run].lane_of[i] > 0);
		for (unsigned i = 0; i < LANES; i++) /* nobody has less than a third of a fair share */
			assert_in_range(t[run].in_lane[i], PACKETS / LANES / 3, PACKETS);
		close_dealing(x);
	}
	assert_memory_equal(t[0].lane_of, t[1].lane_of, sizeof(t[0].lane_of));
}

/* Who asks alone gets what is its own, as far as there is room for the others' packets; then nothing. */
static void test_one_lane_is_slow(void **state)
{
	struct fixture *x = open_dealing(LANES);
	unsigned n, mine = 0, silent = 0;
	struct packet *packets;
	struct diag diag = {""};

	(void)state;
	while (silent < 20) {
		assert_int_equal(dealing_next(x->dealing, 0, &packets, &n, &diag), 0);
		mine += n;
		silent = n ? 0 : silent + 1;
	}
	assert_in_range(mine, 1, PACKETS - 1);
	close_dealing(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_directions_meet),
		cmocka_unit_test(test_one_lane_is_slow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
