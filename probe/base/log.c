/* log: see include/pitot/log.h. */
#include "pitot/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static _Atomic int log_max = LOG_LEVEL_INFO; /* SIGHUP writes it while other threads read */

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_max, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&log_max, memory_order_relaxed);
}

void log_escape(char *dst, size_t size, const char *src)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (const unsigned char *p = (const unsigned char *)src; *p && n + 5 < size; p++) {
		if (*p >= 0x20 && *p < 0x7f) {
			dst[n++] = (char)*p;
		} else {
			dst[n++] = '\\';
			dst[n++] = 'x';
			dst[n++] = hex[*p >> 4];
			dst[n++] = hex[*p & 15];
		}
	}
	if (size)
		dst[n] = '\0';
}

void log_write(enum log_level level, const char *fmt, ...)
{
	static const char *const prefix[] = {"error: ", "warning: ", "", "debug: "};
	char text[1024], line[2200];
	va_list ap;
	size_t n;

	if (level > log_get_level())
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	n = (size_t)snprintf(line, sizeof(line), "pitot: %s", prefix[level]);
	log_escape(line + n, sizeof(line) - n - 1, text);
	n = strlen(line);
	line[n++] = '\n';
	/* one write: lines of several threads do not mix; nobody is left to tell when stderr is gone */
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}

bool log_gate_open(struct log_gate *gate, uint64_t now_ns, uint64_t interval_ns)
{
	if (now_ns < gate->next_ns) {
		gate->held_back++;
		return false;
	}
	gate->next_ns = now_ns + interval_ns;
	gate->held_back = 0;
	return true;
}
