/*
 * sctp: one message of IPFIX or NetFlow v9 in each message of one association, all on stream 0 (RFC 7011
 * §10.2).
 *
 * The kernel's SCTP, in its one-to-one style.  It agrees on the extension for partial reliability (PR-SCTP)
 * where the other end has it, too (sysctl net.sctp.prsctp_enable); everything is sent reliably all the same.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sctp.h> /* needs those before it */

#include "session.h"

static int sctp_setup(struct session *s, struct diag *diag)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP);

	if (fd < 0)
		return diag_set(diag, -errno,
				"--collector %.300s: this kernel has no SCTP (modprobe sctp may help); use "
				"ipfix+tcp://",
				s->collector.url);
	close(fd);
	return 0;
}

static int sctp_start(struct session *s)
{
	int on = 1;

	setsockopt(s->t.fd, IPPROTO_SCTP, SCTP_NODELAY, &on, sizeof(on));
	return 0;
}

static ssize_t sctp_write(struct session *s, const uint8_t *data, size_t size)
{
	ssize_t n = socket_send(s->t.fd, data, size);

	s->units += n >= 0;
	return n;
}

/* Chunks; a message has one or more, so no message counts as acknowledged too early. */
static uint64_t sctp_unacked(const struct session *s)
{
	struct sctp_status status = {0};
	socklen_t size = sizeof(status);
	uint64_t chunks;

	if (getsockopt(s->t.fd, IPPROTO_SCTP, SCTP_STATUS, &status, &size))
		return UINT64_MAX;
	chunks = (uint64_t)status.sstat_unackdata + status.sstat_penddata;
	return chunks < s->units ? chunks : s->units;
}

static const struct session_layer sctp_layer = {
	.kind = SESSION_SCTP,
	.name = "SCTP",
	.socktype = SOCK_STREAM,
	.protocol = IPPROTO_SCTP,
	.whole = true,
	.reliable = true,
	.max_message = 1400, /* one chunk */
	.setup = sctp_setup,
	.start = sctp_start,
	.write = sctp_write,
	.quiet_ns = 200 * NS_PER_MSEC,
	.unacked = sctp_unacked,
};

static int sctp_open(struct transport **tp, const struct transport_config *config, struct diag *diag)
{
	struct session *s;
	int r = session_open(&s, &transport_sctp_ops, &sctp_layer, config, diag);

	if (r == 0)
		*tp = &s->t;
	return r;
}

const struct transport_ops transport_sctp_ops = SESSION_OPS("sctp", sctp_open);
