/*
 * sandbox_hook: what a subverted parser would do, for the test that it ends there.  Builds with test hooks
 * only; in others PITOT_TEST_HOOKS is 0 and the function is empty.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pitot/sandbox.h"

void sandbox_test_hang(const char *kind)
{
	static _Atomic bool hangs;
	const char *wanted = getenv("PITOT_TEST_HANG");

	if (wanted && !strcmp(wanted, "busy") && !strcmp(kind, "metering"))
		for (;;) /* a loop without an end */
			atomic_load(&hangs);
	if (wanted && !strcmp(wanted, kind) && !atomic_exchange(&hangs, true))
		for (;;)
			pause();
}

void sandbox_test_call(void)
{
	const char *call = PITOT_TEST_HOOKS ? getenv("PITOT_TEST_PARSER") : NULL;
	char *const argv[] = {(char[]){"true"}, NULL};

	if (!call)
		return;
	if (!strcmp(call, "execve"))
		execv("/bin/true", argv);
	else if (!strcmp(call, "socket"))
		(void)!socket(AF_INET, SOCK_DGRAM, 0);
	else if (!strcmp(call, "ptrace"))
		(void)!ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	else if (!strcmp(call, "open"))
		(void)!open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	else if (!strcmp(call, "write"))
		(void)!write(STDERR_FILENO, "x", 1);
	else if (!strcmp(call, "connect"))
		(void)!connect(STDERR_FILENO, NULL, 0);
	else if (!strcmp(call, "send")) /* to whatever is open: the processes that open files, too */
		for (int fd = 0; fd < 64; fd++)
			(void)!send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		abort();
}
