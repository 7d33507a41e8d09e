/* transport: the table of kinds.  A kind is a file and a row of transports.def. */
#include "pitot/transport.h"

static const struct transport_ops *const kinds[TRANSPORT_COUNT] = {
#define TRANSPORT(NAME, name, traits) [TRANSPORT_##NAME] = &transport_##name##_ops,
#include "pitot/transports.def"
};

int transport_open(struct transport **tp, const struct transport_config *config, struct diag *diag)
{
	return kinds[config->collector->transport]->open(tp, config, diag);
}

void transport_resolve(struct transport *t, const struct transport_load *load, size_t size, bool sent)
{
	if (sent) {
		t->stats.messages++;
		t->stats.octets += size;
		t->stats.records += load->flows.records;
	} else {
		t->stats.lost_messages++;
	}
	if (t->outcome)
		t->outcome(t->context, load, size, sent);
}

/* It was counted as sent, and was not. */
static void transport_count_back(struct transport *t, const struct transport_load *load, size_t size)
{
	t->stats.messages--;
	t->stats.octets -= size;
	t->stats.records -= load->flows.records;
}

void transport_revoke(struct transport *t, const struct transport_load *load, size_t size)
{
	transport_count_back(t, load, size);
	t->stats.lost_messages++;
	if (t->revoked)
		t->revoked(t->context, load, size);
}

void transport_keep(struct transport *t, const struct transport_load *load, size_t size)
{
	transport_count_back(t, load, size);
	if (t->kept)
		t->kept(t->context, load, size);
}

bool transport_replays(enum transport_kind kind)
{
	return transport_is(kind, TRANSPORT_SESSION);
}
