/*
 * diag: one human sentence about why a set-up call failed.
 *
 * Set-up functions take a struct diag * (never NULL) and, when they return a negative errno, leave one
 * sentence in it that says what, where and what to do.  Only main and process/ print it.
 */
#ifndef PITOT_DIAG_H
#define PITOT_DIAG_H

struct diag {
	char text[512];
};

/* Formats the sentence and returns err, so that callers can `return diag_set(d, -errno, "...")`. */
__attribute__((format(printf, 3, 4))) int diag_set(struct diag *d, int err, const char *fmt, ...);
/* Puts what is formatted in front of the sentence that is there, which is cut if need be; returns err. */
__attribute__((format(printf, 3, 4))) int diag_prefix(struct diag *d, int err, const char *fmt, ...);

#endif
