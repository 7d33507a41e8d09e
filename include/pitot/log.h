/*
 * log: lines for people, on standard error or in the system's log.  Called by main and the processes only,
 * never per packet.
 *
 * Every line is one line: control characters and bytes that are not UTF-8 are escaped, whatever the wire or
 * the operating system put into an argument.  The same line is written five times in 10 s at most; how often
 * it was held back is told afterwards.
 */
#ifndef PITOT_LOG_H
#define PITOT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pitot/diag.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* AUTO: standard error in the foreground; in the background the journal, or syslog, whichever there is. */
enum log_target { LOG_AUTO, LOG_STDERR, LOG_SYSLOG, LOG_JOURNAL };
#define LOG_JOURNAL_PATH "/run/systemd/journal/socket"
#define LOG_SYSLOG_PATH	 "/dev/log"

struct log_config {
	enum log_target target;
	bool background;
	const char *journal_path, *syslog_path;
};

/*
 * Lines of this thread go there from now on, as they are and however often, and nowhere else: to a process
 * that may write.  NULL: to the log.
 */
void log_relay(void (*say)(void *ctx, enum log_level level, const char *text), void *ctx);

/* Before the sandbox.  0, or negative errno and a sentence: the log that was asked for is not there. */
int log_open(const struct log_config *config, struct diag *diag);
void log_close(void);
/* The program is in the background: from now on there is no standard error.  Until then lines go there, too.
 */
void log_divert(void);
/* Another program has the terminal: lines for standard error wait, in memory, until they are released. */
void log_hold(void);
void log_release(void);
/* From time to time, by a thread that may open sockets; and at the end: tells what was held back. */
void log_tick(uint64_t now_ns);
void log_end(void);

/* Lines of text as they are, to standard error if there is one and to the log otherwise; false: it did not
 * take all of it in time. */
bool log_text(const char *text, unsigned wait_ms);

__attribute__((format(printf, 2, 3))) void log_write(enum log_level level, const char *fmt, ...);

#define log_error(...)	 log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)	 log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* The ending of a counted noun: 1 error, 2 errors. */
static inline const char *log_plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* Copies src to dst (size octets, always terminated) with everything unprintable escaped as \xNN. */
void log_escape(char *dst, size_t size, const char *src);

#endif
