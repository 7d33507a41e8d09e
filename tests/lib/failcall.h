/*
 * failcall: the Nth system call of the calling thread fails.
 *
 * Linked with --wrap (failcall_args in tests/meson.build), so it sees what the executable and libpitot call,
 * not what shared libraries do; other threads are left alone.
 *
 *     for (n = 1; ; n++) {
 *             failcall_start(n, 1, EIO);
 *             scenario();
 *             if (!failcall_stop()) break;    there are fewer calls than n: done
 *     }
 */
#ifndef TEST_FAILCALL_H
#define TEST_FAILCALL_H

#include <stdbool.h>

#define FAILCALL_SHORT (-1) /* not an error: half of what was asked for is read or written */
#define FAILCALL_ALL   1000000u

/* n = 1: the next one; as many as times in a row; error is the errno. */
void failcall_start(unsigned n, unsigned times, int error);
/* No more calls fail. */
void failcall_hold(void);
/* Whether one was made to fail since failcall_start(). */
bool failcall_stop(void);
/* The name of the first that failed; "" none. */
const char *failcall_name(void);

#endif
