/*
 * exporting_hand_over: another process may take over (take_over.h): what waits is pushed out, then nothing is
 * sent, and what collectors know goes to it.
 */
#include "exporting_internal.h"

#include <errno.h>
#include <sys/mman.h>

int exporting_on_settle(struct exporting *e, const struct command_settle *a, struct command_none *reply)
{
	(void)reply;
	e->settle_by_ns = a->by_ns ? a->by_ns : 1;
	return 0;
}

int exporting_on_settled(struct exporting *e, const struct command_none *a, struct command_frozen *reply)
{
	(void)a;
	*reply = (struct command_frozen){.frozen = e->frozen,
					 .octets = exporter_hand_over_octets(e->exporter)};
	return 0;
}

int exporting_on_pass_on(struct exporting *e, const struct command_hand_over *a, struct command_none *reply)
{
	int sockets[EXPORTING_COLLECTORS_MAX], r;
	struct sections_writer w;
	void *memory;

	(void)reply;
	e->passed = (struct command_handed){0};
	r = e->frozen ? mailbox_take_memory(&e->mailbox, a->octets, &memory) : -EINVAL;
	if (r < 0)
		return r;
	sections_write_init(&w, memory, a->octets);
	e->passed.n_fds = exporter_hand_over(e->exporter, &w, sockets, EXPORTING_COLLECTORS_MAX);
	if (mailbox_give_fds(&e->mailbox, sockets, e->passed.n_fds) == 0)
		e->passed.octets = sections_finish(&w);
	munmap(memory, a->octets);
	return 0;
}

int exporting_on_passed(struct exporting *e, const struct command_none *a, struct command_handed *reply)
{
	(void)a;
	*reply = e->passed;
	return 0;
}

int exporting_on_resume(struct exporting *e, const struct command_none *a, struct command_none *reply)
{
	(void)a;
	(void)reply;
	e->settle_by_ns = 0;
	e->frozen = false;
	return 0;
}

int exporting_on_release(struct exporting *e, const struct command_release *a, struct command_none *reply)
{
	exporter_let_go(e->exporter, e->frozen ? a->taken : 0);
	return exporting_on_resume(e, NULL, reply);
}
