/*
 * flow_filter: which flows of the table are meant, in tcpdump's words (pitotctl(8), FLOW FILTER).
 *
 * A filter is a plain struct without addresses: it is parsed by one process and applied by another, which
 * does not trust it: whatever is in it, applying it ends and reads nothing but the flow.
 */
#ifndef PITOT_FLOW_FILTER_H
#define PITOT_FLOW_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pitot/diag.h"
#include "pitot/flow_key.h"

enum { FLOW_FILTER_OPS = 48, FLOW_FILTER_TEXT = 2048 /* octets of an expression */ };

/* Tests put a truth on a stack; not, and, or work on what is there. */
struct flow_filter_op {
	uint8_t kind;
	uint8_t side;	/* which address or port: enum flow_filter_side */
	uint8_t family; /* of an address: 4 or 6 */
	uint8_t bits;	/* of it that count */
	uint16_t low, high;
	uint8_t address[16];
};

struct flow_filter {
	uint32_t n; /* 0: all flows */
	struct flow_filter_op ops[FLOW_FILTER_OPS];
};

/* NULL or "" is every flow.  -EINVAL, and a sentence that says what is wrong and where. */
int flow_filter_parse(struct flow_filter *f, const char *text, struct diag *diag);
/* vlan: of its first packet; 0: none, or nobody knows. */
bool flow_filter_match(const struct flow_filter *f, const struct flow_key *k, uint16_t vlan);

#endif
