/* mailbox: see mailbox.h. */
#include "mailbox.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pitot/descriptors.h"

/* ---- the rows */

#define COMMAND(NAME, name, process, argument, reply)                                                        \
	static int command_run_##name(void *p, const union command_argument *a, union command_reply *r)      \
	{                                                                                                    \
		return process##_on_##name(p, &a->name, &r->name);                                           \
	}
#include "commands.def"
#undef COMMAND

static const struct mailbox_row {
	enum mailbox_role role;
	int (*run)(void *process, const union command_argument *argument, union command_reply *reply);
} rows[COMMANDS] = {
#define COMMAND(NAME, name, process, argument, reply)                                                        \
	[COMMAND_##NAME] = {MAILBOX_##process, command_run_##name},
#include "commands.def"
#undef COMMAND
};

/* ---- set-up */

int mailbox_new(struct mailbox *m, struct shared_mailbox *box, enum mailbox_role role, struct gate *wake,
		const _Atomic bool *gone, struct diag *diag)
{
	int fds[2] = {-1, -1};

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return diag_set(diag, -errno, "socketpair: %s", strerror(errno));
	*m = (struct mailbox){.box = box,
			      .role = role,
			      .wake = wake,
			      .gone = gone,
			      .send_fd = fds[0],
			      .receive_fd = fds[1]};
	return 0;
}

void mailbox_close(struct mailbox *m)
{
	if (m->send_fd >= 0)
		close(m->send_fd);
	if (m->receive_fd >= 0)
		close(m->receive_fd);
	m->send_fd = m->receive_fd = -1;
}

/* ---- descriptors: one message each command that has some, which begins with the command's number */

int mailbox_take_fds(struct mailbox *m, int fds[MAILBOX_FDS], unsigned *n)
{
	uint32_t mine = atomic_load_explicit(&m->box->answered, memory_order_relaxed), number;

	for (;;) {
		if (descriptors_receive(m->receive_fd, &number, sizeof(number), fds, MAILBOX_FDS, n,
					MSG_DONTWAIT) != 0)
			return -ENOENT;
		if (number == mine && *n)
			return 0;
		descriptors_close(fds, *n); /* of a command that nobody took them for */
	}
}

int mailbox_take_memory(struct mailbox *m, uint64_t octets, void **memory)
{
	int fds[MAILBOX_FDS], r;
	unsigned n;

	r = mailbox_take_fds(m, fds, &n);
	if (r < 0)
		return r;
	*memory = mmap(NULL, octets, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	return *memory == MAP_FAILED ? -EINVAL : 0;
}

int mailbox_give_fds(const struct mailbox *m, const int *fds, unsigned n)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < n; i += DESCRIPTORS_MAX)
		r = descriptors_send(m->receive_fd, &i, sizeof(i), fds + i,
				     n - i < DESCRIPTORS_MAX ? n - i : DESCRIPTORS_MAX, MSG_DONTWAIT);
	return r;
}

int mailbox_get_fds(const struct mailbox *m, int *fds, unsigned n)
{
	unsigned have = 0, count;
	uint32_t number;
	int r = 0;

	while (r == 0 && have < n) {
		r = descriptors_receive(m->send_fd, &number, sizeof(number), fds + have, n - have, &count,
					MSG_DONTWAIT);
		if (r == 0 && count == 0)
			r = -EPROTO;
		have += count;
	}
	if (r)
		descriptors_close(fds, have);
	return r > 0 ? -EPIPE : r;
}

void mailbox_drop_fds(const struct mailbox *m)
{
	int fds[DESCRIPTORS_MAX];
	uint32_t number;
	unsigned n;

	while (descriptors_receive(m->send_fd, &number, sizeof(number), fds, DESCRIPTORS_MAX, &n,
				   MSG_DONTWAIT) == 0)
		descriptors_close(fds, n);
}

/* ---- the process's side */

/* What woke it for commands that have been run. */
static void mailbox_discard(struct mailbox *m)
{
	uint32_t done = atomic_load_explicit(&m->box->answered, memory_order_relaxed), number;

	while (recv(m->receive_fd, &number, sizeof(number), MSG_PEEK | MSG_DONTWAIT) == sizeof(number) &&
	       (int32_t)(number - done) < 0)
		if (recv(m->receive_fd, &number, sizeof(number), MSG_DONTWAIT) < 0)
			return;
}

bool mailbox_fall_asleep(struct mailbox *m)
{
	atomic_store(&m->box->asleep, true);
	if (!mailbox_waiting(m))
		return true;
	atomic_store(&m->box->asleep, false);
	return false;
}

void mailbox_wake_up(struct mailbox *m, bool readable)
{
	atomic_store(&m->box->asleep, false);
	if (readable)
		mailbox_discard(m);
}

void mailbox_run(struct mailbox *m, void *process)
{
	struct shared_mailbox *box = m->box;
	uint32_t next = atomic_load_explicit(&box->answered, memory_order_relaxed);
	uint32_t end = atomic_load_explicit(&box->asked, memory_order_acquire);

	if (next == end)
		return;
	while (next != end) {
		struct mailbox_slot *slot = &box->slots[next % MAILBOX_SLOTS];
		struct mailbox_slot mine = *slot; /* others could change it while it is looked at */

		if (mine.kind < COMMANDS && rows[mine.kind].role == m->role)
			mine.result = rows[mine.kind].run(process, &mine.argument, &mine.reply);
		else
			mine.result = -ENOSYS;
		slot->result = mine.result;
		slot->reply = mine.reply;
		atomic_store_explicit(&box->answered, ++next, memory_order_release);
	}
	gate_wake(&box->answer);
}

/* ---- control's side */

/* Until command number was answered. */
static int mailbox_wait(struct mailbox *m, uint32_t number)
{
	uint64_t end_ns = clock_monotonic_ns() + MAILBOX_ANSWER_NS, now_ns;

	for (;;) {
		bool gone = atomic_load(m->gone); /* before the last look */

		gate_arm(&m->box->answer);
		now_ns = clock_monotonic_ns();
		if ((int32_t)(atomic_load_explicit(&m->box->answered, memory_order_acquire) - number) > 0) {
			gate_disarm(&m->box->answer);
			return 0;
		}
		if (gone || now_ns >= end_ns) {
			gate_disarm(&m->box->answer);
			return gone ? MAILBOX_E_GONE : MAILBOX_E_LATE;
		}
		gate_sleep(&m->box->answer, 10 * NS_PER_MSEC);
	}
}

int mailbox_tell(struct mailbox *m, enum command_kind kind, const void *argument, size_t size, const int *fds,
		 unsigned n_fds)
{
	struct shared_mailbox *box = m->box;
	uint32_t number = atomic_load_explicit(&box->asked, memory_order_relaxed);
	struct mailbox_slot *slot = &box->slots[number % MAILBOX_SLOTS];
	int r = 0;

	if (atomic_load(m->gone))
		return MAILBOX_E_GONE;
	if (number - atomic_load_explicit(&box->answered, memory_order_acquire) >= MAILBOX_SLOTS)
		r = mailbox_wait(m, number - MAILBOX_SLOTS);
	if (r == 0 && n_fds) /* first: the command must find them there */
		r = descriptors_send(m->send_fd, &number, sizeof(number), fds, n_fds, MSG_DONTWAIT);
	if (r)
		return r;
	*slot = (struct mailbox_slot){.kind = kind};
	memcpy(&slot->argument, argument, size);
	atomic_store(&box->asked, number + 1);
	if (m->wake)
		gate_wake_sleeper(m->wake);
	/* where it fails so much is there that it wakes up anyway */
	if (m->send_fd >= 0 && atomic_load(&box->asleep))
		(void)!send(m->send_fd, &number, sizeof(number), MSG_NOSIGNAL | MSG_DONTWAIT);
	return 0;
}

int mailbox_ask(struct mailbox *m, enum command_kind kind, const void *argument, size_t size, void *reply,
		size_t reply_size)
{
	uint32_t number = atomic_load_explicit(&m->box->asked, memory_order_relaxed);
	const struct mailbox_slot *slot = &m->box->slots[number % MAILBOX_SLOTS];
	int r = mailbox_tell(m, kind, argument, size, NULL, 0);

	if (r == 0)
		r = mailbox_wait(m, number);
	if (r)
		return r;
	memcpy(reply, &slot->reply, reply_size);
	return slot->result;
}
