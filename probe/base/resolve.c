/* resolve: see resolve.h. */
#include "pitot/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct resolve {
	pthread_mutex_t lock;
	bool done;
	bool dropped; /* whoever comes second frees */
	int socktype;
	char host[256];
	char service[8];
	struct resolve_result result;
};

static void resolve_look_up(struct resolve_result *result, const char *host, const char *service,
			    int socktype, int flags)
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
	resolve_look_up(result, host, service, socktype, AI_NUMERICHOST);
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

	resolve_look_up(&result, r->host, r->service, r->socktype, AI_ADDRCONFIG);
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
static int resolve_start_thread(struct resolve *r)
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
	error = resolve_start_thread(r);
	if (error) {
		resolve_free(r);
		return error;
	}
	*rp = r;
	return 0;
}

static bool resolve_is_done(struct resolve *r)
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

	while (!resolve_is_done(r)) {
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
