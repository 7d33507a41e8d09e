/*
 * lacking: what a test needs and the system has not: a right, a tool, something of the kernel.  The test is
 * skipped, and why is printed; with CI=true nothing is skipped, and it fails.
 */
#ifndef TEST_LACKING_H
#define TEST_LACKING_H

/* For main(): the exit status to leave with, 77 (skipped) or 1. */
__attribute__((format(printf, 1, 2))) int lacking(const char *fmt, ...);

/* Inside a test of cmocka: it does not return. */
__attribute__((format(printf, 1, 2))) void lacking_here(const char *fmt, ...);

#endif
