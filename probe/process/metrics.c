/*
 * metrics: see metrics.h.
 *
 * libmicrohttpd reads HTTP; it is loaded by who asks for metrics, as it brings a dozen libraries along, which
 * would cost everybody's start time and each process memory.  A request for /metrics asks control for its
 * page, over a socket pair, in the protocol of the control socket.  A scraper that asks often, slowly or
 * never ends keeps this process busy and nobody else: of more connections than there is room for, the oldest
 * one ends.
 */
#include "metrics.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pitot/config.h"
#include "pitot/sandbox.h"

#define CONNECTIONS_MAX	   64
#define CONNECTIONS_ENDING 16 /* besides: they were told to end */
#define BACKLOG		   1024
#define CONNECTION_SECONDS 10
#define ANSWER_MS	   5000
#define PAGE_MAX	   (16u << 20)
#define STOP_MS		   500

static const char type_text[] = "text/plain; version=0.0.4; charset=utf-8";
static const char type_openmetrics[] = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/* ---- the library */

#define LIBRARY "libmicrohttpd.so.12"
#define FUNCTIONS(FUNCTION)                                                                                  \
	FUNCTION(start_daemon)                                                                               \
	FUNCTION(stop_daemon)                                                                                \
	FUNCTION(run)                                                                                        \
	FUNCTION(get_timeout)                                                                                \
	FUNCTION(get_daemon_info)                                                                            \
	FUNCTION(get_connection_info)                                                                        \
	FUNCTION(add_connection)                                                                             \
	FUNCTION(lookup_connection_value)                                                                    \
	FUNCTION(create_response_from_buffer)                                                                \
	FUNCTION(add_response_header)                                                                        \
	FUNCTION(queue_response)                                                                             \
	FUNCTION(destroy_response)

/* By the names and types of microhttpd.h. */
static struct {
#define FUNCTION(NAME) __typeof__(MHD_##NAME) *NAME;
	FUNCTIONS(FUNCTION)
#undef FUNCTION
} mhd;

static int metrics_load(struct diag *diag)
{
#define FUNCTION(NAME) {"MHD_" #NAME, &mhd.NAME, sizeof(mhd.NAME)},
	const struct {
		const char *name;
		void *place;
		size_t size;
	} functions[] = {FUNCTIONS(FUNCTION)};
#undef FUNCTION
	void *library = dlopen(LIBRARY, RTLD_NOW);

	for (unsigned i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		void *function = library ? dlsym(library, functions[i].name) : NULL;

		if (!function)
			return diag_set(diag, -ENOSYS, "--metrics: %s", dlerror());
		memcpy(functions[i].place, &function, functions[i].size);
	}
	return 0;
}

/* ---- where to listen */

union metrics_address {
	struct sockaddr any;
	struct sockaddr_in ip4;
	struct sockaddr_in6 ip6;
};

static int metrics_parse(union metrics_address *at, socklen_t *size, const char *text,
			 char address[METRICS_ADDRESS], struct diag *diag)
{
	const char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
	size_t len = colon ? (size_t)(colon - text) : 0;
	bool bracketed = len > 2 && text[0] == '[' && text[len - 1] == ']';
	const char *what;
	char *end;
	unsigned long number = strtoul(port, &end, 10);

	*at = (union metrics_address){0};
	snprintf(address, METRICS_ADDRESS, "127.0.0.1");
	if (port[0] < '0' || port[0] > '9' || *end || number < 1 || number > 65535)
		return diag_set(diag, -EINVAL,
				"--metrics %.80s: a port from 1 to 65535 is wanted, or ADDR:PORT", text);
	if (len >= METRICS_ADDRESS)
		return diag_set(diag, -EINVAL, "--metrics %.80s: is no address", text);
	if (len)
		snprintf(address, METRICS_ADDRESS, "%.*s", (int)(bracketed ? len - 2 : len),
			 text + bracketed);
	if (inet_pton(AF_INET, address, &at->ip4.sin_addr) == 1) {
		at->ip4.sin_family = AF_INET;
		at->ip4.sin_port = htons((uint16_t)number);
		*size = sizeof(at->ip4);
	} else if (bracketed && inet_pton(AF_INET6, address, &at->ip6.sin6_addr) == 1) {
		at->ip6.sin6_family = AF_INET6;
		at->ip6.sin6_port = htons((uint16_t)number);
		*size = sizeof(at->ip6);
	} else {
		return diag_set(diag, -EINVAL,
				"--metrics %.80s: '%s' is no address (IPv6 stands in brackets)", text,
				address);
	}
	what = config_address_is(address, CONFIG_MULTICAST | CONFIG_BROADCAST);
	if (what)
		return diag_set(diag, -EINVAL, "--metrics %.80s: '%s' is %s: nobody can connect to it", text,
				address, what);
	return 0;
}

int metrics_check(const char *listen, char address[METRICS_ADDRESS], struct diag *diag)
{
	union metrics_address at;
	socklen_t size = 0;

	return metrics_parse(&at, &size, listen, address, diag);
}

static int metrics_listen(const char *text, struct diag *diag)
{
	char address[METRICS_ADDRESS];
	union metrics_address at;
	socklen_t size = 0;
	int r = metrics_parse(&at, &size, text, address, diag), fd;

	if (r < 0)
		return r;
	fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return diag_set(diag, -errno, "--metrics %.80s: %s", text, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (at.any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
	if (bind(fd, &at.any, size) < 0 || listen(fd, BACKLOG) < 0) {
		r = diag_set(diag, -errno, "--metrics %.80s: %s", text, strerror(errno));
		close(fd);
		return r;
	}
	return fd;
}

/* ---- the conversation with control */

struct metrics_server {
	int listener, ask;
	int connections[CONNECTIONS_MAX + CONNECTIONS_ENDING]; /* the oldest first */
	unsigned n_connections;
	char *in;
	size_t n_in, size;
	bool gone; /* control has ended */
};

static bool metrics_receive(struct metrics_server *s)
{
	while (!s->n_in || !memchr(s->in, '\n', s->n_in)) {
		struct pollfd p = {.fd = s->ask, .events = POLLIN};
		ssize_t n;

		if (s->n_in == s->size) {
			char *grown = s->size < PAGE_MAX ? realloc(s->in, s->size * 2 + 65536) : NULL;

			if (!grown)
				return false;
			s->in = grown;
			s->size = s->size * 2 + 65536;
		}
		if (poll(&p, 1, ANSWER_MS) <= 0)
			return false;
		n = recv(s->ask, s->in + s->n_in, s->size - s->n_in, 0);
		if (n <= 0) {
			s->gone = true;
			return false;
		}
		s->n_in += (size_t)n;
	}
	return true;
}

/* The page, allocated; NULL: control did not answer in time. */
static char *metrics_page(struct metrics_server *s, bool openmetrics)
{
	const char *request = openmetrics ? "{\"command\":\"metrics\",\"format\":\"openmetrics\"}\n"
					  : "{\"command\":\"metrics\"}\n";
	json_t *answer;
	char *page = NULL;

	s->n_in = 0; /* an answer that came too late is nobody's */
	if (send(s->ask, request, strlen(request), MSG_NOSIGNAL) < 0 || !metrics_receive(s))
		return NULL;
	answer = json_loadb(s->in, (size_t)((char *)memchr(s->in, '\n', s->n_in) - s->in), 0, NULL);
	if (json_is_string(json_object_get(answer, "result")))
		page = strdup(json_string_value(json_object_get(answer, "result")));
	json_decref(answer);
	return page;
}

/* ---- HTTP */

static enum MHD_Result metrics_reply(struct MHD_Connection *c, unsigned status, const char *type, char *text,
				     enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *r = mhd.create_response_from_buffer(strlen(text), text, mode);
	enum MHD_Result done = MHD_NO;

	if (r && mhd.add_response_header(r, "Content-Type", type) == MHD_YES)
		done = mhd.queue_response(c, status, r);
	if (r)
		mhd.destroy_response(r);
	return done;
}

static enum MHD_Result metrics_say(struct MHD_Connection *c, unsigned status, const char *text)
{
	return metrics_reply(c, status, "text/plain; charset=utf-8", (char *)(uintptr_t)text,
			     MHD_RESPMEM_PERSISTENT);
}

/* How much a type is wanted by an Accept header (RFC 9110 §12.5.1): its largest q; -1 where it is not named.
 */
static double metrics_weight(const char *accept, const char *type)
{
	size_t n = strlen(type);
	double most = -1;

	for (const char *at = accept; at && *at;) {
		const char *end = at + strcspn(at, ","), *q = at;
		double weight = 1;

		at += strspn(at, " \t");
		while ((q = memchr(q, ';', (size_t)(end - q)))) {
			q += 1 + strspn(q + 1, " \t");
			if (!strncasecmp(q, "q=", 2))
				weight = strtod(q + 2, NULL);
		}
		if (!strncasecmp(at, type, n) && strchr(";, \t", at[n]) && weight > most)
			most = weight;
		at = *end ? end + 1 : end;
	}
	return most;
}

/* For those who ask for it, and do not rather want the other. */
static bool metrics_wants_openmetrics(const char *accept)
{
	double weight = metrics_weight(accept, "application/openmetrics-text");

	return weight > 0 && weight >= metrics_weight(accept, "text/plain");
}

static enum MHD_Result metrics_answer(void *cls, struct MHD_Connection *c, const char *url,
				      const char *method, const char *version, const char *data, size_t *size,
				      void **state)
{
	bool openmetrics =
		metrics_wants_openmetrics(mhd.lookup_connection_value(c, MHD_HEADER_KIND, "Accept"));
	char *page;

	(void)version;
	(void)data;
	(void)state;
	if (*size) {
		*size = 0; /* nobody wants what was sent */
		return MHD_YES;
	}
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return metrics_say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET is understood here\n");
	if (!strcmp(url, "/"))
		return metrics_say(c, MHD_HTTP_OK, "pitot: /metrics\n");
	if (strcmp(url, "/metrics") != 0)
		return metrics_say(c, MHD_HTTP_NOT_FOUND, "there is /metrics\n");
	page = metrics_page(cls, openmetrics);
	if (!page)
		return metrics_say(c, MHD_HTTP_SERVICE_UNAVAILABLE, "pitot did not answer in time\n");
	return metrics_reply(c, MHD_HTTP_OK, openmetrics ? type_openmetrics : type_text, page,
			     MHD_RESPMEM_MUST_FREE);
}

/* ---- connections */

static void metrics_count(void *cls, struct MHD_Connection *c, void **state,
			  enum MHD_ConnectionNotificationCode what)
{
	struct metrics_server *s = cls;
	int fd = mhd.get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;

	(void)state;
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		s->connections[s->n_connections++] = fd;
		return;
	}
	for (unsigned i = 0; i < s->n_connections; i++) {
		if (s->connections[i] != fd)
			continue;
		s->n_connections--;
		memmove(&s->connections[i], &s->connections[i + 1],
			(s->n_connections - i) * sizeof(s->connections[0]));
		return;
	}
}

/*
 * Whoever comes is let in, and the oldest ones make room: they had their time to ask.  What was shut down
 * ends in the next runs of the library.
 */
static void metrics_accept(struct metrics_server *s, struct MHD_Daemon *d)
{
	while (s->n_connections < CONNECTIONS_MAX + CONNECTIONS_ENDING) {
		struct sockaddr_storage from;
		socklen_t size = sizeof(from);
		int fd = accept4(s->listener, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			break;
		(void)mhd.add_connection(d, fd, (struct sockaddr *)&from, size); /* or it is closed */
	}
	for (unsigned i = 0; i + CONNECTIONS_MAX < s->n_connections; i++)
		(void)shutdown(s->connections[i], SHUT_RDWR);
}

static void metrics_wait(struct metrics_server *s, struct MHD_Daemon *d)
{
	struct pollfd fds[] = {
		{.fd = mhd.get_daemon_info(d, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, .events = POLLIN},
		{.fd = s->n_connections < CONNECTIONS_MAX + CONNECTIONS_ENDING ? s->listener : -1,
		 .events = POLLIN},
		{.fd = s->ask, .events = 0}};
	MHD_UNSIGNED_LONG_LONG wait_ms;

	if (mhd.get_timeout(d, &wait_ms) != MHD_YES || wait_ms > STOP_MS / 2)
		wait_ms = STOP_MS / 2;
	if (poll(fds, 3, (int)wait_ms) > 0)
		s->gone |= (fds[2].revents & (POLLHUP | POLLERR)) != 0;
}

static void metrics_serve(int listener, int ask)
{
	struct metrics_server s = {.listener = listener, .ask = ask};
	struct MHD_Daemon *d =
		mhd.start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, metrics_answer, &s,
				 MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX + CONNECTIONS_ENDING,
				 MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_SECONDS,
				 MHD_OPTION_NOTIFY_CONNECTION, metrics_count, &s, MHD_OPTION_END);

	while (d && !s.gone) {
		metrics_wait(&s, d);
		metrics_accept(&s, d);
		if (mhd.run(d) != MHD_YES)
			break;
	}
	if (d)
		mhd.stop_daemon(d);
	close(listener);
	free(s.in);
}

/* ---- the process */

/* Nothing is open but standard error, the listener and the conversation. */
static void metrics_close_others(int listener, int ask)
{
	int low = listener < ask ? listener : ask, high = listener < ask ? ask : listener;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd < 2; fd++)
		dup2(null, fd);

	if (low > 3)
		close_range(3, (unsigned)low - 1, 0);
	if (low + 1 < high)
		close_range((unsigned)low + 1, (unsigned)high - 1, 0);
	close_range((unsigned)high + 1, ~0u, 0);
}

/* config: the first one gives up what it was started with; NULL: control has done that. */
static int metrics_confine(const struct metrics_config *config, const struct sandbox *compiled)
{
	static const char *const nothing[] = {NULL};
	struct sandbox *s = NULL;
	struct diag diag;
	int r;

	if (config) {
		struct sandbox_config sandbox = {.mode = config->sandbox ? SANDBOX_ON : SANDBOX_OFF,
						 .role = SANDBOX_EXPORTING,
						 .user = config->user,
						 .stay_root = config->stay_root,
						 .read_paths = nothing,
						 .write_paths = nothing};

		r = sandbox_enter(&s, &sandbox, &diag);
		sandbox_free(s);
	} else {
		r = sandbox_enter_calls(compiled, SANDBOX_EXPORTING, &diag);
	}
	return r;
}

static int metrics_fork(struct metrics *m, const struct metrics_config *config, const struct sandbox *s,
			int *client, struct diag *diag)
{
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return diag_set(diag, -errno, "--metrics: %s", strerror(errno));
	r = child_fork(&m->child, "pitot-metrics", NULL, diag);
	if (r > 0) {
		metrics_close_others(m->listener, ends[1]);
		if (metrics_confine(config, s) < 0)
			_exit(1);
		child_hold_on(&m->child);
		metrics_serve(m->listener, ends[1]);
		_exit(0);
	}
	close(ends[1]);
	if (r < 0)
		close(ends[0]);
	else
		*client = ends[0];
	return r;
}

int metrics_start(struct metrics *m, const struct metrics_config *config, int *client, struct diag *diag)
{
	int r = metrics_load(diag);

	m->listener = r < 0 ? r : metrics_listen(config->listen, diag);
	if (m->listener < 0)
		return m->listener;
	r = metrics_fork(m, config, NULL, client, diag);
	if (r < 0)
		metrics_stop(m);
	return r;
}

int metrics_restart(struct metrics *m, const struct sandbox *s, int *client, struct diag *diag)
{
	return metrics_fork(m, NULL, s, client, diag);
}

void metrics_stop(struct metrics *m)
{
	for (unsigned waited_ms = 0; m->child.pid > 0 && child_look(&m->child) != CHILD_ENDED;
	     waited_ms += 10) {
		if (waited_ms >= STOP_MS)
			child_kill(&m->child);
		poll(NULL, 0, 10);
	}
	if (m->listener >= 0)
		close(m->listener);
	m->listener = -1;
}
