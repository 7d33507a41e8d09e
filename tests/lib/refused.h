/*
 * refused: a kernel that lacks something, or refuses it.  From now on a system call fails in this process and
 * in those that it forks, whoever makes it; there is no way back, so it is for a child of the test's.
 */
#ifndef TEST_REFUSED_H
#define TEST_REFUSED_H

/* Calls that the C library's headers may not know yet; their numbers are the same everywhere. */
#define SYS_LANDLOCK_CREATE   444
#define SYS_LANDLOCK_ADD      445
#define SYS_LANDLOCK_RESTRICT 446

/* number: SYS_...; error: the errno.  False: the kernel has no seccomp. */
_Bool refused_from_now_on(int number, int error);
/* The same of calls whose first argument (its lower half) is this one. */
_Bool refused_with_argument(int number, unsigned argument, int error);
/* One of these two, for tables: argument 0 is any. */
_Bool refused_call(int number, unsigned argument, int error);

#endif
