/*
 * names: the interfaces that collectors are told of, as they are called now.
 *
 * An index is remembered for as long as its interface exists, whatever that is called meanwhile; one that was
 * deleted is looked for by the name that the user gave.  Records of an index that is gone may still be on
 * their way: its last name is kept for them and no longer announced.
 */
#ifndef NAMES_H
#define NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/exporter.h"

#define NAMES_GONE 64 /* of these, the latest */

/* An interface that the user named. */
struct names_interface {
	const char *name;
	uint32_t shown; /* the index to export; 0: the system's */
	uint32_t index; /* the system's; 0: none now */
};

struct names {
	struct names_interface *interfaces;
	unsigned n_interfaces;
	bool any; /* all that there are */
	struct export_interface *list;
	unsigned n_list, most;
	struct export_interface gone[NAMES_GONE];
	unsigned n_gone;
};

/*
 * The names are the caller's and stay where they are.  "any" stands for all.  The list has most entries at
 * most, which are more than NAMES_GONE.  0 or negative errno.
 */
int names_init(struct names *n, unsigned n_interfaces, unsigned most);
void names_add(struct names *n, const char *name, uint32_t shown);
void names_deinit(struct names *n);
/* The interface with this index of the system was deleted. */
void names_forget(struct names *n, uint32_t index);
/* Looks at the system: true when the list is another one now. */
bool names_look(struct names *n);

#endif
