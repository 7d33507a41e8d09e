/*
 * polite: when pitot steps back, and how far (--polite; pitot(8), POLITE MODE).
 *
 * A ladder of rungs, one below the other in what they cost.  Control hands in what it sees every
 * POLITE_EVERY_NS; out comes the rung, and of how many packets one is drawn.  There is no clock and no system
 * call in here.
 */
#ifndef POLITE_H
#define POLITE_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/clock.h"

#define POLITE_EVERY_NS (100 * NS_PER_MSEC)
#define POLITE_UNKNOWN	UINT64_MAX

enum polite_rung {
	POLITE_FULL,
	POLITE_DEFER,
	POLITE_SAMPLE,
	POLITE_SLICE,
	POLITE_COUNT,
	POLITE_PAUSE,
	POLITE_RUNGS
};

enum { POLITE_STEPS = 10 }; /* of sampling: one of 2, 4 ... 1024 */

struct polite_row {
	const char *name;
	const char *what; /* "every packet is measured ..." */
	unsigned steps;	  /* within the rung, each of which halves what is drawn; 0: it is one */
	unsigned slicing; /* a packet that would begin a flow does so once in 2^slicing; 0: always.  Such a
			     rung is of use with a full flow table only, and is reached from each step below
			     it */
	bool defers;	  /* records wait for the exporting process */
	bool draws_none;  /* no packet is looked at */
	bool counts;	  /* but all are counted, in a record for each interface and second */
};

extern const struct polite_row polite_ladder[POLITE_RUNGS];

/* In percent: of one processor, of time. */
struct polite_config {
	unsigned cpu;	/* more than this of its own is too much at any time */
	unsigned yield; /* so much of the time somebody waits for a processor: the host is under pressure */
	unsigned spare; /* and then this is what it may keep */
	bool slice;	/* the rungs that slice may be used */
};

/* What control sees; both times only grow. */
struct polite_sample {
	uint64_t now_ns;
	uint64_t cpu_ns;	 /* processor time of all of pitot */
	uint64_t stalled_ns;	 /* how long somebody waited for a processor; POLITE_UNKNOWN */
	unsigned buffer_percent; /* of the fullest capture buffer */
	unsigned queue_percent;	 /* of the fullest queue of records */
	unsigned table_percent;	 /* of the fullest flow table */
	uint64_t dropped;	 /* packets, by the kernel, so far */
};

/* Why the last sample was not good; POLITE_BECAUSE_QUIET and ROOM: it was. */
enum polite_because {
	POLITE_BECAUSE_QUIET,
	POLITE_BECAUSE_ROOM, /* the rung is of no use any more */
	POLITE_BECAUSE_CPU,
	POLITE_BECAUSE_PRESSURE,
	POLITE_BECAUSE_BUFFER,
	POLITE_BECAUSE_QUEUE,
};

struct polite {
	struct polite_config config;
	enum polite_rung rung;
	unsigned step; /* of sampling: one of 1 << step is drawn; 0 on the rungs before it */
	enum polite_because because;
	unsigned cpu_permille, stalled_permille; /* in the last sample */
	uint64_t entered[POLITE_RUNGS];
	uint64_t spent_ns[POLITE_RUNGS];
	uint64_t changes;

	bool has_last;
	struct polite_sample last;
	unsigned n_bad;	    /* one after the other */
	uint64_t good_ns;   /* of good samples, less those that were neither */
	bool is_descending; /* the one before this was a step down, and all has been well since */
};

void polite_init(struct polite *p, const struct polite_config *config, uint64_t now_ns);
/* The next sample; true: it is another rung or another step of one. */
bool polite_step(struct polite *p, const struct polite_sample *s);

/* One packet of so many is drawn; 0: none. */
uint32_t polite_interval(const struct polite *p);

/*
 * What other processes have to know, in one word.
 */
static inline uint32_t polite_word(enum polite_rung rung, unsigned step)
{
	return (uint32_t)rung << 8 | step;
}
static inline enum polite_rung polite_word_rung(uint32_t word)
{
	return word >> 8 < POLITE_RUNGS ? (enum polite_rung)(word >> 8) : POLITE_FULL;
}
/* The id of the selector, too. */
static inline unsigned polite_word_step(uint32_t word)
{
	return (word & 255) <= POLITE_STEPS ? word & 255 : 0;
}
static inline const struct polite_row *polite_word_row(uint32_t word)
{
	return &polite_ladder[polite_word_rung(word)];
}
static inline uint32_t polite_word_interval(uint32_t word)
{
	return polite_word_row(word)->draws_none ? 0 : UINT32_C(1) << polite_word_step(word);
}

/* One sentence about the change that polite_step() has just made. */
void polite_describe(const struct polite *p, char *text, unsigned size);

#endif
