/* resolve: see resolve.h. */
#include "resolve.h"

#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pitot/transport.h"

#ifndef SO_BINDTOIFINDEX /* Linux 5.0 */
#define SO_BINDTOIFINDEX 62
#endif

struct resolve {
	pthread_mutex_t lock;
	bool done;
	bool dropped; /* whoever comes second frees */
	int socktype;
	char host[256];
	char service[8];
	struct resolve_result result;
};

static void look_up(struct resolve_result *result, const char *host, const char *service, int socktype,
		    int flags)
{
	struct addrinfo hints = {.ai_socktype = socktype, .ai_flags = flags | AI_NUMERICSERV}, *list = NULL;

	*result = (struct resolve_result){0};
	result->error = getaddrinfo(host, service, &hints, &list);
	if (result->error)
		return;
	for (struct addrinfo *a = list; a && result->n < RESOLVE_MAX; a = a->ai_next) {
		memcpy(&result->addresses[result->n], a->ai_addr, a->ai_addrlen);
		result->sizes[result->n++] = a->ai_addrlen;
	}
	freeaddrinfo(list);
}

bool resolve_numeric(struct resolve_result *result, const char *host, uint16_t port, int socktype)
{
	char service[8];

	snprintf(service, sizeof(service), "%u", port);
	look_up(result, host, service, socktype, AI_NUMERICHOST);
	return result->error == 0;
}

static void resolve_free(struct resolve *r)
{
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static void *resolve_run(void *context)
{
	struct resolve *r = context;
	struct resolve_result result;
	bool dropped;

	look_up(&result, r->host, r->service, r->socktype, AI_ADDRCONFIG);
	pthread_mutex_lock(&r->lock);
	r->result = result;
	r->done = true;
	dropped = r->dropped;
	pthread_mutex_unlock(&r->lock);
	if (dropped)
		resolve_free(r);
	return NULL;
}

/* Detached, and deaf to signals: they are the main thread's. */
static int start_thread(struct resolve *r)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int error = pthread_attr_init(&attr);

	if (error)
		return -error;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&thread, &attr, resolve_run, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -error;
}

void resolve_split(const struct sockaddr_storage *ss, uint8_t address[16], uint16_t *port)
{
	if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)ss;

		memcpy(address, &a->sin6_addr, 16);
		*port = ntohs(a->sin6_port);
	} else {
		const struct sockaddr_in *a = (const struct sockaddr_in *)ss;

		memcpy(address, &a->sin_addr, 4);
		*port = ntohs(a->sin_port);
	}
}

int resolve_check_source(const struct transport_config *config, struct diag *diag)
{
	struct resolve_result source;

	if (config->source_host && config->source_host[0] &&
	    !resolve_numeric(&source, config->source_host, config->source_port, SOCK_STREAM))
		return diag_set(diag, -EINVAL, "--source %s: not an IPv4 or IPv6 address",
				config->source_host);
	if (config->bind_device && strlen(config->bind_device) >= IF_NAMESIZE)
		return diag_set(diag, -EINVAL, "--bind-device %s: no interface has such a long name",
				config->bind_device);
	return 0;
}

bool resolve_missing(const char *source_host, const char *bind_device, int error, char *text, size_t size)
{
	if (error == ENODEV && bind_device[0])
		snprintf(text, size, "--bind-device %s: no such interface", bind_device);
	else if (error == EADDRNOTAVAIL && source_host[0])
		snprintf(text, size, "--source %s: not an address of this host", source_host);
	else
		return false;
	return true;
}

unsigned resolve_device_of(int fd)
{
	char name[IF_NAMESIZE] = "";
	socklen_t size = sizeof(name);
	int index = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index, &(socklen_t){sizeof(index)}) == 0)
		return (unsigned)index;
	if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &size) == 0 && name[0])
		return if_nametoindex(name);
	return 0;
}

void resolve_local(int fd, struct transport_local *self)
{
	struct sockaddr_storage local = {0};
	socklen_t size = sizeof(local);

	if (getsockname(fd, (struct sockaddr *)&local, &size) == 0)
		resolve_split(&local, self->local, &self->local_port);
}

bool resolve_is_like(int fd, const struct transport_local *self, unsigned device)
{
	struct transport_local now = {0};

	resolve_local(fd, &now);
	return memcmp(now.local, self->local, sizeof(now.local)) == 0 && resolve_device_of(fd) == device;
}

int resolve_start(struct resolve **rp, const char *host, uint16_t port, int socktype)
{
	struct resolve *r = calloc(1, sizeof(*r));
	int error;

	if (!r)
		return -ENOMEM;
	r->socktype = socktype;
	snprintf(r->host, sizeof(r->host), "%s", host);
	snprintf(r->service, sizeof(r->service), "%u", port);
	pthread_mutex_init(&r->lock, NULL);
	error = start_thread(r);
	if (error) {
		resolve_free(r);
		return error;
	}
	*rp = r;
	return 0;
}

static bool is_done(struct resolve *r)
{
	bool done;

	pthread_mutex_lock(&r->lock);
	done = r->done;
	pthread_mutex_unlock(&r->lock);
	return done;
}

bool resolve_take(struct resolve **rp, struct resolve_result *result, unsigned wait_ms)
{
	struct resolve *r = *rp;
	const struct timespec step = {.tv_nsec = 5000000};

	while (!is_done(r)) {
		if (wait_ms == 0)
			return false;
		nanosleep(&step, NULL);
		wait_ms -= wait_ms < 5 ? wait_ms : 5;
	}
	*result = r->result;
	resolve_free(r);
	*rp = NULL;
	return true;
}

void resolve_drop(struct resolve **rp)
{
	struct resolve *r = *rp;
	bool done;

	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	done = r->done;
	r->dropped = true;
	pthread_mutex_unlock(&r->lock);
	if (done)
		resolve_free(r);
	*rp = NULL;
}
