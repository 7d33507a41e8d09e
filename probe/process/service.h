/*
 * service: tells a service manager how the program is (sd_notify(3), Type=notify): ready, alive, stopping.
 *
 * Where nobody listens (no NOTIFY_SOCKET) every call does nothing.
 */
#ifndef SERVICE_H
#define SERVICE_H

#include <stdint.h>

struct service {
	int fd;		      /* -1: nobody listens */
	uint64_t interval_ns; /* 0: nobody watches */
	uint64_t next_ns;
};

/* Before the sandbox is entered; afterwards only the descriptor is used. */
void service_open(struct service *n);
void service_close(struct service *n);

void service_ready(struct service *n);
void service_stopping(struct service *n);
/* Another process is the service's main one from here on; it says that it is ready by itself. */
void service_main_process(struct service *n, int pid);
/* When that is next; UINT64_MAX: never. */
uint64_t service_due_ns(const struct service *n);
/* To be called often: twice in the time that the manager grants it tells that the program is alive. */
void service_watchdog(struct service *n, uint64_t now_ns);

#endif
