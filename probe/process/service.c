/* service: see service.h.  The protocol is one datagram of VARIABLE=value lines. */
#include "service.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "pitot/clock.h"

static void service_send(struct service *n, const char *text)
{
	if (n->fd >= 0)
		(void)!send(n->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Microseconds, if they are meant for this process. */
static uint64_t service_interval_ns(void)
{
	const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	unsigned long long v = us ? strtoull(us, NULL, 10) : 0;

	if (pid && strtol(pid, NULL, 10) != (long)getpid())
		return 0;
	return v > UINT64_MAX / NS_PER_USEC ? 0 : v * NS_PER_USEC / 2;
}

void service_open(struct service *n)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	size_t size = path ? strlen(path) : 0;

	*n = (struct service){.fd = -1};
	if (size < 2 || size >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(to.sun_path, path, size);
	if (to.sun_path[0] == '@') /* an abstract name */
		to.sun_path[0] = '\0';
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (n->fd >= 0 && connect(n->fd, (struct sockaddr *)&to,
				  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)) < 0)
		service_close(n);
	if (n->fd >= 0)
		n->interval_ns = service_interval_ns();
}

void service_close(struct service *n)
{
	if (n->fd >= 0)
		close(n->fd);
	*n = (struct service){.fd = -1};
}

void service_ready(struct service *n)
{
	service_send(n, "READY=1");
}

void service_main_process(struct service *n, int pid)
{
	char text[32];

	snprintf(text, sizeof(text), "MAINPID=%d", pid);
	service_send(n, text);
	service_close(n);
}

void service_stopping(struct service *n)
{
	service_send(n, "STOPPING=1");
}

uint64_t service_due_ns(const struct service *n)
{
	return n->interval_ns ? n->next_ns : UINT64_MAX;
}

void service_watchdog(struct service *n, uint64_t now_ns)
{
	if (!n->interval_ns || now_ns < n->next_ns)
		return;
	n->next_ns = now_ns + n->interval_ns;
	service_send(n, "WATCHDOG=1");
}
