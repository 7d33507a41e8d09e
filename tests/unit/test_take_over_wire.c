/* take_over_wire: messages with descriptors, and what is no message.  Covers process/take_over_wire.c. */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "take_over_wire.h"

static uint64_t soon(void)
{
	return clock_monotonic_ns() + 10 * NS_PER_SEC;
}

static void pair(int ends[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
}

static void test_descriptors_arrive(void **state)
{
	struct take_over_message m = {.kind = TAKE_OVER_SOCKETS_THREAD, .number = 3, .value = 77}, got;
	int ends[2], pipes[2], fds[TAKE_OVER_FDS];
	char octet = 0;

	(void)state;
	pair(ends);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(take_over_send(ends[0], &m, pipes, 2, soon()), 0);
	assert_int_equal(take_over_hear(ends[1], &got, fds, soon()), 0);
	assert_int_equal(got.kind, TAKE_OVER_SOCKETS_THREAD);
	assert_int_equal(got.number, 3);
	assert_int_equal(got.value, 77);
	assert_int_equal(got.n_fds, 2);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(read(pipes[0], &octet, 1), 1);
	assert_int_equal(octet, 'x');
	assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
	for (unsigned i = 0; i < 2; i++) {
		close(fds[i]);
		close(pipes[i]);
		close(ends[i]);
	}
}

/* Every wait has an end, and whoever is gone is noticed. */
static void test_ends(void **state)
{
	struct take_over_message m = {.kind = TAKE_OVER_READY}, got;
	int ends[2], fds[TAKE_OVER_FDS];

	(void)state;
	pair(ends);
	assert_int_equal(take_over_hear(ends[1], &got, fds, clock_monotonic_ns() + NS_PER_MSEC), -ETIMEDOUT);
	while (take_over_send(ends[0], &m, NULL, 0, clock_monotonic_ns() + NS_PER_MSEC) == 0)
		;
	close(ends[0]);
	while (take_over_hear(ends[1], &got, fds, soon()) == 0)
		assert_int_equal(got.kind, TAKE_OVER_READY);
	assert_int_equal(take_over_hear(ends[1], &got, fds, soon()), -EPIPE);
	assert_int_equal(take_over_send(ends[1], &m, NULL, 0, soon()), -EPIPE);
	close(ends[1]);
}

/* What is no message, and descriptors that it does not speak of. */
static void test_refuses(void **state)
{
	struct take_over_message m = {.kind = TAKE_OVER_READY}, got;
	uint8_t octets[sizeof(m)];
	int ends[2], fds[TAKE_OVER_FDS];

	(void)state;
	pair(ends);
	memset(octets, 'x', sizeof(octets));
	assert_int_equal(write(ends[0], octets, sizeof(octets)), sizeof(octets));
	assert_int_equal(take_over_hear(ends[1], &got, fds, soon()), -EBADMSG);
	assert_int_equal(take_over_send(ends[0], &m, fds, TAKE_OVER_FDS + 1, soon()), -EINVAL);
	/* a message that says it has a descriptor, and has none */
	assert_int_equal(take_over_send(ends[0], &m, &ends[0], 1, soon()), 0);
	assert_int_equal(read(ends[1], octets, sizeof(octets)), sizeof(octets));
	assert_int_equal(write(ends[0], octets, sizeof(octets)), sizeof(octets));
	assert_int_equal(take_over_hear(ends[1], &got, fds, soon()), -EBADMSG);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_descriptors_arrive),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
