/*
 * bench_ring: ns per flow record through the ring between a metering and the exporting process, by how many
 * records are published together; in one thread, and from one thread to another.  With fewer than two
 * processors the second figure is that of the scheduler.
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "pitot/clock.h"
#include "pitot/flow_record.h"
#include "pitot/ring.h"

enum { SLOTS = 4096, RECORDS = 4 << 20 };

static struct ring ring;
static struct ring_writer writer;
static struct ring_reader reader;
static struct flow_record record;

static uint64_t take_all(uint64_t *sum)
{
	uint64_t n = ring_peek(&reader);

	for (uint64_t i = 0; i < n; i++)
		*sum += ((const struct flow_record *)ring_slot(&reader, i))->packets;
	if (n)
		ring_consume(&reader, n);
	return n;
}

static void *consumer(void *arg)
{
	uint64_t taken = 0;

	while (taken < RECORDS) {
		uint64_t n = take_all(arg);

		taken += n;
		if (n == 0)
			sched_yield();
	}
	return NULL;
}

static void produce(unsigned together, uint64_t *drain)
{
	for (uint64_t done = 0; done < RECORDS;) {
		struct flow_record *slot = ring_reserve(&writer);

		if (!slot) {
			ring_publish(&writer);
			if (drain)
				take_all(drain);
			else
				sched_yield();
			continue;
		}
		*slot = record;
		slot->packets = 1;
		done++;
		if (done % together == 0 || done == RECORDS)
			ring_publish(&writer);
	}
}

static void bench(unsigned together, bool threads)
{
	uint64_t sum = 0, begin_ns;
	pthread_t thread;
	void *memory = aligned_alloc(64, SLOTS * sizeof(struct flow_record));

	if (!memory)
		exit(1);
	ring = (struct ring){0};
	ring_write_at(&writer, &ring, memory, SLOTS, sizeof(struct flow_record));
	ring_read_at(&reader, &ring, memory, SLOTS, sizeof(struct flow_record));
	begin_ns = clock_monotonic_ns();
	if (threads && pthread_create(&thread, NULL, consumer, &sum) != 0)
		exit(1);
	produce(together, threads ? NULL : &sum);
	if (threads)
		pthread_join(thread, NULL);
	else
		while (take_all(&sum))
			;
	printf("%s, %4u published together: %6.1f ns a record of %zu octets\n",
	       threads ? "two threads" : "one thread ", together,
	       (double)(clock_monotonic_ns() - begin_ns) / RECORDS, sizeof(struct flow_record));
	if (sum != RECORDS) {
		fprintf(stderr, "%llu records came out of %u\n", (unsigned long long)sum, RECORDS);
		exit(1);
	}
	free(memory);
}

int main(void)
{
	for (int threads = 0; threads <= 1; threads++)
		for (unsigned together = 1; together <= 1024; together *= 32)
			bench(together, threads);
	return 0;
}
