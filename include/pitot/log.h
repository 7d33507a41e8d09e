/*
 * log: lines for a human on stderr.  Called by main, worker and the exporting process only, never per packet.
 *
 * Every line is one line: control characters and bytes that are not UTF-8 are escaped, whatever the wire or
 * the operating system put into an argument.
 */
#ifndef PITOT_LOG_H
#define PITOT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

__attribute__((format(printf, 2, 3))) void log_write(enum log_level level, const char *fmt, ...);

#define log_error(...)	 log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)	 log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* A gate for lines that could repeat: true at most once per interval_ns of monotonic time. */
struct log_gate {
	uint64_t next_ns;
	uint64_t held_back; /* lines kept back since the last one that passed */
};
bool log_gate_open(struct log_gate *gate, uint64_t now_ns, uint64_t interval_ns);

/* The ending of a counted noun: 1 error, 2 errors. */
static inline const char *log_plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* Copies src to dst (size octets, always terminated) with everything unprintable escaped as \xNN. */
void log_escape(char *dst, size_t size, const char *src);

#endif
