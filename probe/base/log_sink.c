/*
 * log_sink: see log_sink.h.
 *
 * Nothing here waits for long: a log that takes no lines costs lines, which are counted, and not the program.
 * Lines are put with write() alone, which threads that parse packets may call.
 */
#include "base/log_sink.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "pitot/clock.h"

enum {
	LINE_MOST = 2600,
	STDERR_MS = 50, /* how long a line waits for whoever reads standard error */
	FACILITY_DAEMON = 3 << 3,
	HELD_MOST = 64 << 10, /* octets that wait while another program has the terminal */
	PIECE = 1024,	      /* of a text: a pipe that takes any octets takes so many */
};

static struct {
	enum log_target target; /* where to once the program is in the background */
	int fd;
	struct sockaddr_un address;
	_Atomic bool diverted; /* standard error is /dev/null by now */
	_Atomic bool broken;   /* whoever listened there is gone */
	_Atomic bool stuck;    /* whoever reads standard error does not: then it is not waited for */
	_Atomic uint64_t lost;
} sink = {.fd = -1};

/* What waits for the terminal; of the one thread that logs while there is such a program. */
static struct {
	bool on, full;
	size_t n;
	char text[HELD_MOST];
} held;

/* ---- set-up */

static int sink_connect(void)
{
	socklen_t size =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(sink.address.sun_path) + 1);

	return connect(sink.fd, (struct sockaddr *)&sink.address, size) < 0 ? -errno : 0;
}

static int sink_open(enum log_target target, const char *path)
{
	int r;

	sink.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sink.fd < 0)
		return -errno;
	sink.address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(sink.address.sun_path, sizeof(sink.address.sun_path), "%s", path);
	r = sink_connect();
	if (r < 0) {
		close(sink.fd);
		sink.fd = -1;
		return r;
	}
	sink.target = target;
	return 0;
}

int log_open(const struct log_config *config, struct diag *diag)
{
	bool automatic = config->target == LOG_AUTO;
	int r = -ENOENT;

	log_close();
	tzset(); /* it reads a file */
	if (config->target == LOG_STDERR || (automatic && !config->background))
		return 0;
	if (config->target == LOG_JOURNAL || automatic)
		r = sink_open(LOG_JOURNAL, config->journal_path);
	if (r < 0 && !automatic && config->target == LOG_JOURNAL)
		return diag_set(diag, r, "--log journal: %s: %s", config->journal_path, strerror(-r));
	if (r < 0)
		r = sink_open(LOG_SYSLOG, config->syslog_path);
	if (r < 0 && !automatic)
		return diag_set(diag, r, "--log syslog: %s: %s", config->syslog_path, strerror(-r));
	return 0; /* a system without any log: standard error as long as there is one */
}

void log_close(void)
{
	if (sink.fd >= 0)
		close(sink.fd);
	sink.fd = -1;
	sink.target = LOG_STDERR;
	atomic_store(&sink.diverted, false);
	held.on = false;
}

void log_divert(void)
{
	atomic_store(&sink.diverted, true);
}

/* ---- standard error */

/* What whoever reads it takes in time; false when not all was taken. */
static bool sink_put_stderr(const char *text, size_t size, int wait_ms)
{
	uint64_t until_ns = clock_monotonic_ns() + (uint64_t)wait_ms * NS_PER_MSEC;

	while (size) {
		struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
		uint64_t now_ns = clock_monotonic_ns();
		int left_ms = now_ns < until_ns ? (int)((until_ns - now_ns) / NS_PER_MSEC) + 1 : 0;
		ssize_t n;

		if (poll(&p, 1, left_ms) == 0)
			return false;
		n = write(STDERR_FILENO, text, size < PIECE ? size : PIECE);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return true; /* it is gone, and nobody is left to tell */
		if (n > 0) {
			text += n;
			size -= (size_t)n;
		}
	}
	return true;
}

/* False: there is no room.  Then there is none for shorter lines either: what is kept has no gaps. */
static bool sink_hold(const char *text, size_t size)
{
	held.full |= size > sizeof(held.text) - held.n;
	if (held.full)
		return false;
	memcpy(held.text + held.n, text, size);
	held.n += size;
	return true;
}

void log_hold(void)
{
	held.on = true;
}

void log_release(void)
{
	held.on = false;
	if (held.n && !sink_put_stderr(held.text, held.n, STDERR_MS))
		atomic_fetch_add(&sink.lost, 1);
	held.n = 0;
	held.full = false;
}

static void sink_stderr_line(const char *prefix, const char *text)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	char line[LINE_MOST];
	int n = snprintf(line, sizeof(line), "pitot: %s%s\n", prefix, text);
	bool stuck;

	if (held.on) {
		if (!sink_hold(line, (size_t)n))
			atomic_fetch_add(&sink.lost, 1);
		return;
	}
	stuck = poll(&p, 1, atomic_load(&sink.stuck) ? 0 : STDERR_MS) == 0;
	atomic_store(&sink.stuck, stuck);
	/* one write: lines of several threads do not mix; nobody is left to tell when it fails */
	if (stuck || write(STDERR_FILENO, line, (size_t)n) < 0)
		atomic_fetch_add(&sink.lost, 1);
}

/* ---- the system's log */

static int sink_system_format(char *out, size_t size, enum log_level level, const char *prefix,
			      const char *text)
{
	static const int priorities[] = {3, 4, 6, 7};
	time_t now = (time_t)(clock_realtime_ns() / NS_PER_SEC);
	char date[32] = "";
	struct tm tm;

	if (sink.target == LOG_JOURNAL)
		return snprintf(out, size,
				"PRIORITY=%d\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=pitot\n"
				"SYSLOG_PID=%ld\nMESSAGE=%s%s\n",
				priorities[level], (long)getpid(), prefix, text);
	if (localtime_r(&now, &tm))
		strftime(date, sizeof(date), "%b %e %H:%M:%S ", &tm);
	return snprintf(out, size, "<%d>%spitot[%ld]: %s%s", FACILITY_DAEMON | priorities[level], date,
			(long)getpid(), prefix, text);
}

static void sink_system_line(enum log_level level, const char *prefix, const char *text)
{
	char line[LINE_MOST];
	int n = sink_system_format(line, sizeof(line), level, prefix, text);

	if (write(sink.fd, line, (size_t)n) >= 0)
		return;
	atomic_fetch_add(&sink.lost, 1);
	if (errno == ECONNREFUSED || errno == ENOTCONN || errno == ECONNRESET)
		atomic_store(&sink.broken, true);
}

/* ---- lines */

static void sink_line(enum log_level level, const char *text)
{
	static const char *const prefix[] = {"error: ", "warning: ", "", "debug: "};

	if (!atomic_load(&sink.diverted))
		sink_stderr_line(prefix[level], text);
	if (sink.fd >= 0)
		sink_system_line(level, prefix[level], text);
}

void log_sink_line(enum log_level level, const char *text)
{
	uint64_t lost = atomic_exchange(&sink.lost, 0);
	char line[80];

	snprintf(line, sizeof(line), "%llu line%s before this could not be written", (unsigned long long)lost,
		 log_plural(lost));
	if (lost)
		sink_line(LOG_LEVEL_WARNING, line);
	sink_line(level, text);
	if (lost && atomic_load(&sink.lost)) /* nor can these be: they are one more */
		atomic_store(&sink.lost, lost + 1);
}

void log_sink_tick(void)
{
	if (atomic_load(&sink.broken) && sink_connect() == 0)
		atomic_store(&sink.broken, false);
}

/* ---- text for people */

bool log_text(const char *text, unsigned wait_ms)
{
	if (held.on)
		return sink_hold(text, strlen(text));
	if (!atomic_load(&sink.diverted))
		return sink_put_stderr(text, strlen(text), (int)wait_ms);
	while (*text) {
		size_t n = strcspn(text, "\n");
		char line[LINE_MOST];

		snprintf(line, sizeof(line) / 2, "%.*s", (int)n, text);
		log_sink_line(LOG_LEVEL_INFO, line);
		text += n + (text[n] == '\n');
	}
	return true;
}
