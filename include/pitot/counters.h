/*
 * counters: what an interface, and the host, has counted by itself (RFC 2863, RFC 3635; sFlow version 5:
 * counter samples).  A number that the system does not have is COUNTER_UNKNOWN.
 */
#ifndef PITOT_COUNTERS_H
#define PITOT_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

#define COUNTER_UNKNOWN UINT64_MAX

struct interface_counters {
	uint32_t index;	    /* ifIndex */
	uint32_t type;	    /* IANAifType */
	uint64_t speed;	    /* bit/s; 0 unknown */
	uint32_t direction; /* 0 unknown, 1 full duplex, 2 half duplex, 3 in, 4 out */
	bool admin_up, oper_up;
	bool promiscuous;
	bool anew; /* the interface was made anew: its counters began again */
	struct interface_traffic {
		uint64_t octets, unicast, multicast, broadcast, discards, errors;
	} in, out;
	uint64_t in_unknown_protocols;
	bool ethernet; /* these are there */
	struct interface_ethernet {
		uint64_t alignment_errors, fcs_errors, single_collisions, multiple_collisions, sqe_errors,
			deferred, late_collisions, excessive_collisions, internal_transmit_errors,
			carrier_sense_errors, frames_too_long, internal_receive_errors, symbol_errors;
	} ether;
};

#endif
