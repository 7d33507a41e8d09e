/* child: a process that reports, is stopped, ends, and does not outlive its parent.  Covers process/child.c.
 */
#include "cm.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"

static struct child_report *report; /* shared */

static int set_up(void **state)
{
	(void)state;
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return report == MAP_FAILED;
}

static _Noreturn void wait_for_end(void)
{
	for (;;)
		pause();
}

/* Tells a result and sleeps, or ends without a word. */
static void start(struct child *c, bool tells, int result)
{
	struct diag diag = {"what it says"};
	int r = child_fork(c, "test", report, &diag);

	assert_true(r == 0 || r == 1);
	if (r == 0)
		return;
	if (tells)
		child_tell(c, result, &diag);
	else
		_exit(3);
	wait_for_end();
}

static void test_ready(void **state)
{
	struct diag diag = {""};
	struct child c;

	(void)state;
	start(&c, true, 0);
	assert_int_equal(child_await(&c, &diag), 0);
	assert_int_equal(child_look(&c), CHILD_RUNS);
	child_end(&c);
	assert_int_equal(c.pid, 0);
	assert_int_equal(child_look(&c), CHILD_ENDED);
	child_end(&c); /* twice is fine */
}

static void test_not_ready(void **state)
{
	struct diag diag = {""};
	struct child c;

	(void)state;
	start(&c, true, -ENOENT);
	assert_int_equal(child_await(&c, &diag), -ENOENT);
	assert_string_equal(diag.text, "what it says");
	child_end(&c);
	start(&c, false, 0);
	assert_int_equal(child_await(&c, &diag), -ECHILD);
	assert_non_null(strstr(diag.text, "test has ended before it was ready"));
	assert_int_equal(c.pid, 0);
}

static enum child_state look_until(struct child *c, enum child_state wanted)
{
	for (unsigned i = 0; i < 5000; i++) {
		enum child_state s = child_look(c);

		if (s == wanted)
			return s;
		usleep(1000);
	}
	return CHILD_RUNS;
}

static void test_states(void **state)
{
	struct diag diag = {""};
	struct child c;
	char how[64];

	(void)state;
	start(&c, true, 0);
	assert_int_equal(child_await(&c, &diag), 0);
	assert_int_equal(kill(c.pid, SIGSTOP), 0);
	assert_int_equal(look_until(&c, CHILD_STOPPED), CHILD_STOPPED);
	child_kill(&c);
	assert_int_equal(look_until(&c, CHILD_ENDED), CHILD_ENDED);
	child_describe_end(&c, how, sizeof(how));
	assert_string_equal(how, "killed by signal 9 (Killed)");
	c.status = 2 << 8;
	child_describe_end(&c, how, sizeof(how));
	assert_string_equal(how, "exit status 2");
}

/* One that has nothing to report is only looked after. */
static void test_silent(void **state)
{
	struct diag diag = {""};
	struct child c;
	int r = child_fork(&c, "test", NULL, &diag);

	(void)state;
	assert_true(r == 0 || r == 1);
	if (r == 1)
		_exit(c.report_fd == -1 && c.pid == getppid() ? 7 : 1);
	assert_int_equal(c.report_fd, -1);
	assert_int_equal(look_until(&c, CHILD_ENDED), CHILD_ENDED);
	assert_int_equal(WEXITSTATUS(c.status), 7);
}

/* However its parent ends. */
static void test_parent_gone(void **state)
{
	struct diag diag = {""};
	int fds[2];
	char end;
	pid_t parent;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	parent = fork();
	assert_true(parent >= 0);
	if (parent == 0) {
		struct child c;

		if (child_fork(&c, "test", report, &diag) == 1) {
			child_tell(&c, 0, &diag);
			wait_for_end();
		}
		child_await(&c, &diag);
		raise(SIGKILL);
	}
	close(fds[1]);
	assert_int_equal(waitpid(parent, NULL, 0), parent);
	assert_int_equal(read(fds[0], &end, 1), 0); /* the child had the other end, too */
	close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ready),	    cmocka_unit_test(test_not_ready),
		cmocka_unit_test(test_silent),	    cmocka_unit_test(test_states),
		cmocka_unit_test(test_parent_gone),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
