/* take_over_wire: see take_over_wire.h.  A message is small enough to be sent, and to come, as a whole. */
#include "take_over_wire.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "pitot/clock.h"

#define MAGIC 0x70746b31u /* "ptk1" */

/* What a call came to that cannot be done yet: 0, it may be tried again. */
static int wire_wait(int fd, short events, int r, uint64_t deadline_ns)
{
	uint64_t now_ns = clock_monotonic_ns();
	struct pollfd p = {.fd = fd, .events = events};

	if (r != -EAGAIN && r != -EINTR)
		return r;
	if (now_ns >= deadline_ns)
		return -ETIMEDOUT;
	(void)poll(&p, 1, (int)((deadline_ns - now_ns) / NS_PER_MSEC % 1000) + 1);
	return 0;
}

int take_over_send(int fd, const struct take_over_message *m, const int *fds, unsigned n,
		   uint64_t deadline_ns)
{
	struct take_over_message out = *m;
	int r;

	out.magic = MAGIC;
	out.n_fds = n;
	do {
		r = descriptors_send(fd, &out, sizeof(out), fds, n, MSG_DONTWAIT);
		if (r == 0)
			return 0;
		r = wire_wait(fd, POLLOUT, r, deadline_ns);
	} while (r == 0);
	return r;
}

int take_over_hear(int fd, struct take_over_message *m, int *fds, uint64_t deadline_ns)
{
	unsigned n;
	int r;

	do {
		r = descriptors_receive(fd, m, sizeof(*m), fds, TAKE_OVER_FDS, &n, MSG_DONTWAIT);
		if (r == 0 && m->magic == MAGIC && m->n_fds == n) {
			m->text[sizeof(m->text) - 1] = '\0';
			return 0;
		}
		if (r == 0) {
			descriptors_close(fds, n);
			r = -EBADMSG;
		}
		r = r > 0 ? -EPIPE : wire_wait(fd, POLLIN, r, deadline_ns);
	} while (r == 0);
	m->n_fds = 0;
	return r;
}
