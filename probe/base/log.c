/* log: see include/pitot/log.h.  What is said, and how often; log_sink.c is where to. */
#include "pitot/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/log_sink.h"
#include "pitot/clock.h"

enum { TEXT_MOST = 1024, RECENT = 16, BURST = 5 };

static const uint64_t again_ns = 10 * NS_PER_SEC; /* in which the same line is written BURST times at most */

static _Atomic int log_max = LOG_LEVEL_INFO; /* SIGHUP writes it while other threads read */

static _Thread_local struct {
	void (*say)(void *ctx, enum log_level level, const char *text);
	void *ctx;
} relay;

/* Lines that were written not long ago, and how often they would have been written again since. */
static struct log_recent {
	char text[TEXT_MOST]; /* "" none */
	enum log_level level;
	uint64_t until_ns;
	unsigned passed; /* until then */
	uint64_t held_back;
} recent[RECENT];
static pthread_mutex_t recent_mutex = PTHREAD_MUTEX_INITIALIZER;

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

/* ---- lines that come again and again */

static void log_tell_recent(struct log_recent *r)
{
	char text[TEXT_MOST + 64], escaped[2 * TEXT_MOST];

	snprintf(text, sizeof(text), "%s (%llu time%s more)", r->text, (unsigned long long)r->held_back,
		 log_plural(r->held_back));
	r->held_back = 0;
	log_escape(escaped, sizeof(escaped), text);
	log_sink_line(r->level, escaped);
}

/* The place of a line; else the one that is over first, which is told what it held back. */
static struct log_recent *log_recent_place(enum log_level level, const char *text)
{
	struct log_recent *oldest = &recent[0];

	for (unsigned i = 0; i < RECENT; i++) {
		struct log_recent *r = &recent[i];

		if (r->level == level && !strcmp(r->text, text))
			return r;
		if (r->until_ns < oldest->until_ns)
			oldest = r;
	}
	if (oldest->held_back)
		log_tell_recent(oldest);
	*oldest = (struct log_recent){.level = level};
	snprintf(oldest->text, sizeof(oldest->text), "%s", text);
	return oldest;
}

/* Whether the line is to be written now. */
static bool log_pass_recent(enum log_level level, const char *text)
{
	uint64_t now_ns = clock_monotonic_ns();
	struct log_recent *r;
	bool pass;

	pthread_mutex_lock(&recent_mutex);
	r = log_recent_place(level, text);
	if (now_ns >= r->until_ns) {
		if (r->held_back)
			log_tell_recent(r);
		r->until_ns = now_ns + again_ns;
		r->passed = 0;
	}
	pass = r->passed++ < BURST;
	r->held_back += !pass;
	pthread_mutex_unlock(&recent_mutex);
	return pass;
}

static void log_look_recent(uint64_t now_ns)
{
	pthread_mutex_lock(&recent_mutex);
	for (unsigned i = 0; i < RECENT; i++) {
		struct log_recent *r = &recent[i];

		if (!r->held_back || now_ns < r->until_ns)
			continue;
		log_tell_recent(r);
		r->until_ns = now_ns + again_ns;
		r->passed = BURST;
	}
	pthread_mutex_unlock(&recent_mutex);
}

void log_tick(uint64_t now_ns)
{
	log_look_recent(now_ns);
	log_sink_tick();
}

void log_end(void)
{
	log_look_recent(UINT64_MAX);
}

/* ---- lines */

void log_relay(void (*say)(void *ctx, enum log_level level, const char *text), void *ctx)
{
	relay.say = say;
	relay.ctx = ctx;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char text[TEXT_MOST], escaped[2 * TEXT_MOST];
	va_list ap;

	if (level > log_get_level())
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (relay.say) {
		relay.say(relay.ctx, level, text);
		return;
	}
	if (!log_pass_recent(level, text))
		return;
	log_escape(escaped, sizeof(escaped), text);
	log_sink_line(level, escaped);
}
