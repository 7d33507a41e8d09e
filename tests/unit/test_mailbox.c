/*
 * The shared region and its mailboxes, between processes: commands in order, each answered once, descriptors
 * beside them, and an end to every wait.
 * Covers process/mailbox.c, process/shared.c, base/gate.c.
 */
#include "cm.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pitot/descriptors.h"
#include "shared.h"

/* What the processes of this test do with commands: they are not the real ones. */
struct metering {
	struct mailbox *mailbox;
	struct shared *shared;
	uint64_t timeouts; /* the last three, a digit each */
	unsigned adopted;
	bool stop;
};
struct exporting {
	uint32_t rate;
};

int metering_on_timeouts(struct metering *p, const struct metering_timeouts *a, struct command_none *answer)
{
	p->timeouts = (p->timeouts * 10 + a->active_ns) % 1000;
	answer->nothing = (uint32_t)p->timeouts;
	return 0;
}

int metering_on_own_flows(struct metering *p, const struct own_flows *a, struct command_none *answer)
{
	(void)p;
	(void)answer;
	return a->n == 1 ? -EDOM : 0;
}

/* Says in answer what is in the file that came with it. */
int metering_on_adopt(struct metering *p, const struct command_adopt *a, struct command_none *answer)
{
	int fds[MAILBOX_FDS], r;
	char c = 0;
	unsigned n;

	if (a->place == 1)
		return 0; /* and leaves what came with it where it is */
	r = mailbox_take_fds(p->mailbox, fds, &n);
	if (r < 0)
		return r;
	if (pread(fds[n - 1], &c, 1, 0) != 1)
		r = -errno;
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	p->adopted++;
	answer->nothing = (uint32_t)c;
	atomic_store(&p->shared->metering[0].turns, n * 1000 + (unsigned char)c);
	return r;
}

int metering_on_stop(struct metering *p, const struct command_stop *a, struct command_none *answer)
{
	(void)a;
	(void)answer;
	p->stop = true;
	return 0;
}

int exporting_on_counters(struct exporting *e, const struct interface_counters *a, struct command_none *reply)
{
	(void)e;
	(void)a;
	(void)reply;
	return 0;
}

int exporting_on_rate(struct exporting *p, const struct command_rate *a, struct command_none *answer)
{
	(void)answer;
	p->rate = a->records;
	return 0;
}

#define UNUSED_ROW(name, argument)                                                                           \
	int exporting_on_##name(struct exporting *p, const argument *a, struct command_none *answer)         \
	{                                                                                                    \
		(void)p;                                                                                     \
		(void)a;                                                                                     \
		(void)answer;                                                                                \
		return -ENOSYS;                                                                              \
	}
UNUSED_ROW(refresh, struct command_none)
UNUSED_ROW(periods, struct exporter_periods)
UNUSED_ROW(network, struct command_none)
UNUSED_ROW(interfaces, struct command_none)
UNUSED_ROW(finish, struct command_none)

#define UNUSED_ANSWER(process, name, argument, reply)                                                        \
	int process##_on_##name(struct process *p, const argument *a, reply *answer)                         \
	{                                                                                                    \
		(void)p;                                                                                     \
		(void)a;                                                                                     \
		(void)answer;                                                                                \
		return -ENOSYS;                                                                              \
	}
UNUSED_ANSWER(metering, flows, struct command_flows, struct command_flows_seen)
UNUSED_ANSWER(metering, expire, struct command_flows, struct command_flows_ended)
UNUSED_ANSWER(metering, gather, struct command_gather, struct command_none)
UNUSED_ANSWER(metering, freeze, struct command_none, struct command_frozen)
UNUSED_ANSWER(metering, hand_over, struct command_hand_over, struct command_none)
UNUSED_ANSWER(metering, handed, struct command_none, struct command_handed)
UNUSED_ANSWER(metering, thaw, struct command_none, struct command_none)
UNUSED_ANSWER(metering, let_go, struct command_none, struct command_none)
UNUSED_ANSWER(exporting, settle, struct command_settle, struct command_none)
UNUSED_ANSWER(exporting, settled, struct command_none, struct command_frozen)
UNUSED_ANSWER(exporting, pass_on, struct command_hand_over, struct command_none)
UNUSED_ANSWER(exporting, passed, struct command_none, struct command_handed)
UNUSED_ANSWER(exporting, resume, struct command_none, struct command_none)
UNUSED_ANSWER(exporting, release, struct command_release, struct command_none)
UNUSED_ANSWER(exporting, template, struct command_template, struct export_template)

static void open_shared(struct shared *s)
{
	const struct shared_config config = {
		.n_metering = 2, .n_places = 3, .ring_records = 100, .record_size = 128};
	struct diag diag = {""};

	assert_int_equal(shared_new(s, &config, &diag), 0);
}

/* A process that runs commands until it is told to stop. */
static pid_t start(struct shared *s)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct metering m = {.mailbox = &s->to_metering[0], .shared = s};

		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */

		while (!m.stop) {
			mailbox_run(m.mailbox, &m);
			usleep(100);
		}
		_exit((int)(m.timeouts % 256));
	}
	return pid;
}

static int end_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/*
 * One that sleeps in poll() is woken by each command, and by nothing else afterwards: its sleeps are longer
 * than an answer is waited for.
 */
static void test_wakes(void **state)
{
	struct metering_timeouts t = {.active_ns = 1};
	struct command_none answer;
	struct shared s;
	pid_t pid;

	(void)state;
	open_shared(&s);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct metering m = {.mailbox = &s.to_metering[0], .shared = &s};
		struct pollfd p = {.fd = m.mailbox->receive_fd, .events = POLLIN};

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (!m.stop) {
			mailbox_run(m.mailbox, &m);
			if (m.stop || !mailbox_fall_asleep(m.mailbox))
				continue;
			poll(&p, 1, 60000);
			mailbox_wake_up(m.mailbox, p.revents);
		}
		mailbox_wake_up(m.mailbox, true);
		_exit(poll(&p, 1, 0) > 0 && (p.revents & POLLIN));
	}
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(command_ask_timeouts(&s.to_metering[0], &t, &answer), 0);
	assert_int_equal(command_tell_stop(&s.to_metering[0], &(struct command_stop){0}), 0);
	assert_int_equal(end_of(pid), 0);
	shared_free(&s);
}

static void test_places(void **state)
{
	struct shared s;
	struct ring_writer w;
	struct ring_reader r;

	(void)state;
	open_shared(&s);
	assert_int_equal(s.config.ring_records, 128);
	assert_int_equal((uintptr_t)s.exporting % 64, 0);
	assert_int_equal((uintptr_t)s.metering % 64, 0);
	for (unsigned i = 0; i < 2; i++) {
		shared_write_records(&s, i, &w);
		shared_read_records(&s, i, &r);
		for (unsigned n = 0; n < 128; n++)
			*(uint64_t *)ring_reserve(&w) = i * 1000 + n;
		assert_null(ring_reserve(&w));
		ring_publish(&w);
	}
	for (unsigned i = 0; i < 2; i++) {
		shared_read_records(&s, i, &r);
		assert_int_equal(ring_peek(&r), 128);
		for (unsigned n = 0; n < 128; n++)
			assert_int_equal(*(uint64_t *)ring_slot(&r, n), i * 1000 + n);
	}
	assert_ptr_equal(shared_place_of(&s, 1, 2) - shared_place_of(&s, 0, 0), 5);
	shared_free(&s);
	shared_free(&s); /* twice is fine */
}

/* More commands than there are slots; all of them, in order; a result is handed back. */
static void test_commands(void **state)
{
	struct metering_timeouts t = {0};
	struct own_flows own = {.n = 1};
	struct command_none answer = {0};
	struct shared s;
	pid_t pid;

	(void)state;
	open_shared(&s);
	pid = start(&s);
	for (unsigned i = 0; i < 3 * MAILBOX_SLOTS; i++) {
		t.active_ns = i % 10;
		assert_int_equal(command_tell_timeouts(&s.to_metering[0], &t), 0);
	}
	t.active_ns = 5;
	assert_int_equal(command_ask_timeouts(&s.to_metering[0], &t, &answer), 0);
	assert_int_equal(answer.nothing % 10, 5);
	assert_int_equal(answer.nothing / 10 % 10, (3 * MAILBOX_SLOTS - 1) % 10);
	assert_int_equal(command_ask_own_flows(&s.to_metering[0], &own, &answer), -EDOM);
	assert_int_equal(command_tell_stop(&s.to_metering[0], &(struct command_stop){0}), 0);
	assert_true(WIFEXITED(end_of(pid)));
	shared_free(&s);
}

static int file_with(char c)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_int_equal(write(fd, &c, 1), 1);
	return fd;
}

/* Descriptors reach the command that they were sent with, also after one that left its own. */
static void test_descriptors(void **state)
{
	struct command_adopt adopt = {.place = 1};
	int left[] = {file_with('x')}, fds[] = {file_with('a'), file_with('b')};
	struct command_none answer = {0};
	struct shared s;
	pid_t pid;

	(void)state;
	open_shared(&s);
	pid = start(&s);
	assert_int_equal(command_send_adopt(&s.to_metering[0], &adopt, left, 1), 0);
	adopt.place = 0;
	assert_int_equal(command_send_adopt(&s.to_metering[0], &adopt, fds, 2), 0);
	assert_int_equal(command_ask_adopt(&s.to_metering[0], &adopt, &answer), -ENOENT);
	assert_int_equal(atomic_load(&s.metering[0].turns), 2000 + 'b');
	assert_int_equal(command_tell_stop(&s.to_metering[0], &(struct command_stop){0}), 0);
	assert_true(WIFEXITED(end_of(pid)));
	close(left[0]);
	close(fds[0]);
	close(fds[1]);
	shared_free(&s);
}

/* Nobody answers: stopped, and then gone. */
static void test_no_answer(void **state)
{
	struct metering_timeouts t = {.active_ns = 3};
	struct command_none answer = {0};
	struct shared s;
	pid_t pid;

	(void)state;
	open_shared(&s);
	pid = start(&s);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(waitpid(pid, &(int){0}, WUNTRACED), pid);
	assert_int_equal(command_ask_timeouts(&s.to_metering[0], &t, &answer), MAILBOX_E_LATE);
	for (unsigned i = 1; i < MAILBOX_SLOTS; i++)
		assert_int_equal(command_tell_timeouts(&s.to_metering[0], &t), 0);
	assert_int_equal(command_tell_timeouts(&s.to_metering[0], &t), MAILBOX_E_LATE); /* no room */
	/* it goes on, and has nothing forgotten */
	assert_int_equal(kill(pid, SIGCONT), 0);
	assert_int_equal(command_ask_timeouts(&s.to_metering[0], &t, &answer), 0);
	assert_int_equal(answer.nothing, 333);
	kill(pid, SIGKILL);
	assert_true(WIFSIGNALED(end_of(pid)));
	atomic_store(&s.metering[0].done, true);
	assert_int_equal(command_ask_timeouts(&s.to_metering[0], &t, &answer), MAILBOX_E_GONE);
	assert_int_equal(command_tell_timeouts(&s.to_metering[0], &t), MAILBOX_E_GONE);
	shared_free(&s);
}

/* Whoever shares the memory can write into a mailbox: a process runs its own commands alone. */
static void test_foreign_command(void **state)
{
	struct exporting e = {0};
	struct shared_mailbox *box;
	struct shared s;

	(void)state;
	open_shared(&s);
	box = &s.exporting->mailbox;
	box->slots[0] = (struct mailbox_slot){.kind = COMMAND_TIMEOUTS};
	box->slots[1] = (struct mailbox_slot){.kind = COMMANDS};
	box->slots[2] = (struct mailbox_slot){.kind = COMMAND_RATE, .argument.rate = {77}};
	atomic_store(&box->asked, 3);
	mailbox_run(&s.to_exporting, &e);
	assert_int_equal(atomic_load(&box->answered), 3);
	assert_int_equal(box->slots[0].result, -ENOSYS);
	assert_int_equal(box->slots[1].result, -ENOSYS);
	assert_int_equal(box->slots[2].result, 0);
	assert_int_equal(e.rate, 77);
	shared_free(&s);
}

/* A gate wakes who sleeps in another process. */
static void test_gate(void **state)
{
	uint64_t begin_ns = clock_monotonic_ns();
	struct shared s;
	pid_t pid;

	(void)state;
	open_shared(&s);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		while (!atomic_load(&s.exporting->gate.waiting))
			usleep(100);
		usleep(1000);
		gate_wake(&s.exporting->gate);
		_exit(0);
	}
	gate_arm(&s.exporting->gate);
	gate_sleep(&s.exporting->gate, 60 * NS_PER_SEC);
	assert_true(clock_monotonic_ns() - begin_ns < 50 * NS_PER_SEC);
	end_of(pid);
	shared_free(&s);
}

/* One that sleeps soundly is left alone by a nudge, which costs no system call then. */
static void test_nudge(void **state)
{
	static struct gate g;

	(void)state;
	gate_nudge(&g);
	gate_arm(&g);
	gate_nudge(&g);
	assert_int_equal(atomic_load(&g.waiting), GATE_SOUNDLY);
	gate_wake(&g);
	assert_int_equal(atomic_load(&g.waiting), GATE_AWAKE);
	gate_sleep(&g, 3600 * NS_PER_SEC); /* woken before it slept: it does not */
	gate_arm_lightly(&g);
	gate_nudge(&g);
	assert_int_equal(atomic_load(&g.waiting), GATE_AWAKE);
	gate_sleep(&g, 3600 * NS_PER_SEC);
	gate_arm_lightly(&g);
	gate_wake(&g);
	gate_sleep(&g, 3600 * NS_PER_SEC);
}

/* Control hears of a line at once, and once. */
static void test_bell(void **state)
{
	struct shared_speaker speaker;
	struct shared s;
	struct pollfd p = {.events = POLLIN};

	(void)state;
	open_shared(&s);
	p.fd = s.bell_fd;
	assert_int_equal(poll(&p, 1, 0), 0);
	shared_speak(&speaker, &s, &s.exporting->lines);
	shared_say(&speaker, LOG_LEVEL_DEBUG, "a line");
	shared_say(&speaker, LOG_LEVEL_DEBUG, "another one");
	assert_int_equal(poll(&p, 1, 0), 1);
	shared_hush_bell(&s);
	assert_int_equal(poll(&p, 1, 0), 0);
	shared_free(&s);
}

/* The other way: what a process has for control, more than go with one message. */
static void test_gives(void **state)
{
	int given[DESCRIPTORS_MAX + 3], got[DESCRIPTORS_MAX + 3];
	struct shared s;

	(void)state;
	open_shared(&s);
	for (unsigned i = 0; i < DESCRIPTORS_MAX + 3; i++)
		given[i] = STDERR_FILENO;
	assert_int_equal(mailbox_give_fds(&s.to_exporting, given, DESCRIPTORS_MAX + 3), 0);
	assert_int_equal(mailbox_get_fds(&s.to_exporting, got, DESCRIPTORS_MAX + 3), 0);
	for (unsigned i = 0; i < DESCRIPTORS_MAX + 3; i++)
		assert_int_equal(close(got[i]), 0);
	assert_int_equal(mailbox_get_fds(&s.to_exporting, got, 1), -EAGAIN);
	assert_int_equal(mailbox_give_fds(&s.to_metering[0], given, 2), 0);
	assert_int_equal(mailbox_get_fds(&s.to_metering[0], got, 1),
			 -EPROTO); /* more than it is to have sent */
	assert_int_equal(mailbox_give_fds(&s.to_metering[0], given, 5), 0);
	mailbox_drop_fds(&s.to_metering[0]);
	assert_int_equal(mailbox_get_fds(&s.to_metering[0], got, 1), -EAGAIN);
	shared_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),	  cmocka_unit_test(test_wakes),
		cmocka_unit_test(test_commands),  cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_no_answer), cmocka_unit_test(test_foreign_command),
		cmocka_unit_test(test_gate),	  cmocka_unit_test(test_gives),
		cmocka_unit_test(test_nudge),	  cmocka_unit_test(test_bell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
