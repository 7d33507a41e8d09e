/*
 * failalloc: the Nth allocation fails (ENOMEM).
 *
 * Linked with --wrap, so it sees what the executable and libpitot allocate, not what shared libraries do:
 *
 *     for (n = 1; ; n++) {
 *             failalloc_start(n);
 *             r = thing_new(...);
 *             failed = failalloc_stop();
 *             if (!failed) break;             everything was allocated: done
 *             r must be negative, and nothing may leak
 *     }
 */
#ifndef TEST_FAILALLOC_H
#define TEST_FAILALLOC_H

#include <stdbool.h>

/* n = 1: the next one. */
void failalloc_start(unsigned n);
/* Whether one was made to fail since failalloc_start(). */
bool failalloc_stop(void);

#endif
