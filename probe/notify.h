/*
 * notify: tells a service manager how the program is (sd_notify(3), Type=notify): ready, alive, stopping.
 *
 * Where nobody listens (no NOTIFY_SOCKET) every call does nothing.
 */
#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

struct notify {
	int fd;		      /* -1: nobody listens */
	uint64_t interval_ns; /* 0: nobody watches */
	uint64_t next_ns;
};

/* Before the sandbox is entered; afterwards only the descriptor is used. */
void notify_open(struct notify *n);
void notify_close(struct notify *n);

void notify_ready(struct notify *n);
void notify_stopping(struct notify *n);
/* To be called often: twice in the time that the manager grants it tells that the program is alive. */
void notify_watchdog(struct notify *n, uint64_t now_ns);

#endif
