/* transport: the table of kinds.  A kind is a file and a row. */
#include "pitot/transport.h"

#include <errno.h>

static const struct {
	const char *name;
	const struct transport_ops *ops; /* NULL: this build has it not */
} kinds[TRANSPORT_COUNT] = {
	[TRANSPORT_UDP] = { "UDP", &transport_udp_ops },
	[TRANSPORT_TCP] = { "TCP", NULL },
	[TRANSPORT_TLS] = { "TLS", NULL },
	[TRANSPORT_DTLS] = { "DTLS", NULL },
	[TRANSPORT_SCTP] = { "SCTP", NULL },
	[TRANSPORT_FILE] = { "files", &transport_file_ops },
};

int transport_open(struct transport **tp, const struct transport_config *config, struct diag *diag)
{
	enum transport_kind kind = config->collector->transport;

	if (!kinds[kind].ops)
		return diag_set(diag, -EPROTONOSUPPORT, "--collector %s: this build of pitot has no %s transport; use UDP",
				config->collector->url, kinds[kind].name);
	return kinds[kind].ops->open(tp, config, diag);
}

void transport_resolve(struct transport *t, const struct transport_load *load, size_t size, bool sent)
{
	if (sent) {
		t->stats.messages++;
		t->stats.octets += size;
		t->stats.records += load->records;
	} else {
		t->stats.lost_messages++;
		t->stats.lost_records += load->records;
	}
	if (t->outcome)
		t->outcome(t->context, load, size, sent);
}
