/* message: see format.h. */
#include "format.h"
#include "templated.h"

bool message_is_empty(const struct message *m)
{
	/* packets without a record: a part of one that NetFlow v5 had to split */
	return m->load.flows.records + m->load.samples + m->load.options + m->load.templates == 0 &&
	       m->load.flows.packets == 0;
}

void message_begin(struct collector *c, unsigned header_size, unsigned reserve_at_end)
{
	struct message *m = &c->message;
	size_t size = c->transport->limits.max_message;
	uint8_t *memory = NULL;

	if (m->open)
		return;
	if (size > FORMAT_MAX_MESSAGE)
		size = FORMAT_MAX_MESSAGE;
	if (c->transport->limits.spooled || (c->session && c->session == c->transport->session))
		memory = c->transport->ops->reserve(c->transport);
	*m = (struct message){.open = true,
			      .lent = memory != NULL,
			      .begun_ns = c->exporter->now.monotonic_ns,
			      .touched_ns = c->exporter->now.monotonic_ns};
	wire_init(&m->wire, memory ? memory : c->exporter->scratch, size - reserve_at_end);
	m->load.lost = c->lost;
	wire_take(&m->wire, header_size);
}

void message_close_set(struct collector *c)
{
	struct message *m = &c->message;
	size_t size;

	if (!m->set)
		return;
	size = (size_t)(m->wire.at - m->set);
	/* v9 wants sets of whole words, but padding must be shorter than a record (RFC 3954 errata 2096) */
	if (c->format->dialect && c->format->dialect->reserve && size % 4 &&
	    (size - 4) / m->set_records > 4 - size % 4) {
		size_t pad = 4 - size % 4;

		m->wire.end += pad; /* room was kept by message_begin() */
		wire_put_zeros(&m->wire, pad);
		m->wire.end -= pad;
		size += pad;
	}
	wire_store(m->set + 2, size, 2);
	m->set = NULL;
}

bool message_room(struct collector *c, uint16_t set_id, unsigned size)
{
	struct message *m = &c->message;

	if (!m->open)
		return false;
	if (m->set && m->set_id == set_id && wire_room(&m->wire) >= size) {
		m->set_records++;
		return true;
	}
	message_close_set(c);
	if (wire_room(&m->wire) < size + 4)
		return false;
	m->set = m->wire.at;
	m->set_id = set_id;
	m->set_records = 1;
	wire_put_u16(&m->wire, set_id);
	wire_put_u16(&m->wire, 0);
	return true;
}

void message_finish(struct collector *c)
{
	struct message *m = &c->message;

	if (!m->open)
		return;
	message_close_set(c);
	m->open = false;
	if (wire_size(&m->wire) == 0 || (c->format->header && message_is_empty(m)))
		return; /* nothing, or nothing but a header: never sent */
	if (c->format->header)
		c->format->header(c);
	if (m->lent) {
		collector_wait(c, &m->load, wire_size(&m->wire));
		c->transport->ops->commit(c->transport, wire_size(&m->wire), &m->load);
		c->exporter->may_wait = c->exporter->config.offline;
	} else
		collector_lose(c, &m->load);
}

void message_flush(struct collector *c)
{
	message_finish(c);
	c->transport->ops->flush(c->transport);
}

void message_abandon(struct collector *c)
{
	struct message *m = &c->message;

	if (!m->open)
		return;
	m->open = false;
	collector_lose(c, &m->load);
}
