/*
 * interface: what records and collectors know an interface by.
 */
#ifndef PITOT_INTERFACE_H
#define PITOT_INTERFACE_H

#include <stdbool.h>
#include <stdint.h>

/* As the interface table option announces it. */
struct export_interface {
	uint32_t ifindex; /* as it is exported: the system's, or the one that --interface gives it */
	char name[64];
	char description[128]; /* alias, or the name */
	bool gone;	       /* the name of what records may still tell; not announced */
	uint32_t system;       /* the system's ifindex; 0: as the other one */
};

#endif
