/*
 * capture_contract: what every live back end of capture must do.  One set of tests, run over each ops table.
 */
#ifndef TEST_CAPTURE_CONTRACT_H
#define TEST_CAPTURE_CONTRACT_H

#include <stdbool.h>
#include <stddef.h>

#include "frames.h"
#include "pitot/capture.h"

struct contract {
	const struct capture_ops *ops;
	const char *name;      /* NULL: that of the back end */
	bool knows_direction;  /* tells for each frame which way it went */
	bool ingress_only;     /* sees what comes in; loopback is not for it */
	void (*prepare)(void); /* something about the test bed, once it is there; may be NULL */
};

/* A frame as it came: with the tag that the kernel took out put back. */
struct seen {
	uint32_t seq;
	uint8_t data[256]; /* from the link layer on */
	size_t len;
	uint32_t cap_len;
	uint32_t wire_len;
	uint64_t time_ns;
	uint32_t ifindex;
	uint16_t point;
	uint16_t flags;
};

#define CONTRACT_A "pva"
#define CONTRACT_B "pvb"

/* The test bed: veth CONTRACT_A - CONTRACT_B. */
int contract_set_up(void **state);
int contract_tear_down(void **state);

struct capture_config contract_config(void); /* captures on CONTRACT_A, everything */
int contract_try(struct capture **cp, const struct capture_ops *ops, const struct capture_config *config,
		 struct diag *diag);
struct capture *contract_open(const struct capture_ops *ops, const struct capture_config *config);
int contract_open_error(const struct capture_ops *ops, const struct capture_config *config,
			struct diag *diag);

/* Builds an Ethernet frame of IPv4 and UDP, marked with a number that contract_collect() finds again. */
void contract_frame(struct fb *b, uint32_t seq, size_t payload);
/* The payload only: for other headers around it. */
void contract_payload(struct fb *b, uint32_t seq, size_t payload);

/* Receives until want marked frames came, or for half a second after the last one.  How many came. */
size_t contract_collect(struct capture *c, struct seen *seen, size_t want);
/* Receives for half a second, or until the outcome: the positive outcome, or 0. */
int contract_outcome(struct capture *c);

/* Runs the contract over an ops table; the number that failed. */
int contract_run(const struct contract *contract);

#endif
