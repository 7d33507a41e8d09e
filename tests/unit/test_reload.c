/* What a running program takes over of its configuration file, and that it takes all of it or nothing. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "pitot/clock.h"
#include "reload.h"

static char path[] = "/tmp/pitot-reload-XXXXXX";

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void test_all_or_nothing(void **state)
{
	char *argv[] = {(char *)"pitot", (char *)"--config", path, (char *)"-i", (char *)"eth0", NULL};
	struct reload r = {.argc = 5, .argv = argv};
	const struct config *c;
	struct config first;
	struct diag diag = {""};

	(void)state;
	write_file("timeout = active=9\n");
	assert_int_equal(config_parse_again(&first, 5, argv, &diag), 0);
	c = &first;

	write_file("timeout = active=5\n");
	assert_int_equal(reload_read(&r, &c, &diag), 0);
	assert_ptr_equal(c, &r.config);
	assert_true(c->active_ns == 5 * NS_PER_SEC);

	write_file("timeout = active=4\nmax-flows = 7\n");
	assert_int_equal(reload_read(&r, &c, &diag), -EBUSY);
	assert_string_equal(diag.text, "--max-flows needs a restart");
	assert_true(c->active_ns == 5 * NS_PER_SEC);

	write_file("timeout = active=4\nnonsense\n");
	assert_int_equal(reload_read(&r, &c, &diag), CONFIG_E_USAGE);
	assert_non_null(strstr(diag.text, ":2: 'nonsense'"));
	assert_true(c->active_ns == 5 * NS_PER_SEC);

	write_file("timeout = active=4\n"); /* what is replaced was held here, too */
	assert_int_equal(reload_read(&r, &c, &diag), 0);
	assert_true(c->active_ns == 4 * NS_PER_SEC);

	assert_int_equal(unlink(path), 0);
	assert_int_equal(reload_read(&r, &c, &diag), -ENOENT);
	assert_true(c->active_ns == 4 * NS_PER_SEC);

	assert_int_equal(mkfifo(path, 0600), 0); /* whose writer nobody waits for */
	assert_int_equal(reload_read(&r, &c, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "is no file"));
	assert_int_equal(unlink(path), 0);
	assert_true(c->active_ns == 4 * NS_PER_SEC);
	reload_deinit(&r);
	config_deinit(&first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_or_nothing),
	};
	int fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	return cmocka_run_group_tests_name("reload", tests, NULL, NULL);
}
