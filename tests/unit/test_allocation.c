/*
 * The Nth allocation fails, for N = 1, 2, 3 ... until all of them succeed: each constructor then returns a
 * negative errno and a sentence, hands out nothing and leaks nothing (LeakSanitizer in the sanitizer build).
 */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>

#include "failalloc.h"
#include "pitot/capture.h"
#include "pitot/clock.h"
#include "pitot/decode.h"
#include "pitot/flow_table.h"
#include "pitot/fragment.h"

/* One constructor: returns what it returned; on success it has freed again what it made. */
typedef int attempt_fn(struct diag *diag);

static char savefile[4096], pcapng[4096];

static int attempt_decoder(struct diag *diag)
{
	struct decode_config config = {.max_layers = 8};
	struct decoder *d = NULL;
	int r = decoder_new(&d, 1, &config, diag);

	if (r == 0)
		decoder_free(d);
	return r;
}

static void ignore_record(void *ctx, const struct flow_record *r)
{
	(void)ctx;
	(void)r;
}

static int attempt_flow_table(struct diag *diag)
{
	struct flow_table_config config = {.max_flows = 100,
					   .active_ns = 60 * NS_PER_SEC,
					   .inactive_ns = 15 * NS_PER_SEC,
					   .tcp_end_ns = UINT64_MAX,
					   .on_record = ignore_record};
	struct flow_table *t = NULL;
	int r = flow_table_new(&t, &config, diag);

	if (r == 0)
		flow_table_free(t);
	return r;
}

static int attempt_fragment_table(struct diag *diag)
{
	struct hash_seed seed;
	struct fragment_table *t = NULL;
	int r;

	hash_seed_fixed(&seed, 1);
	r = fragment_table_new(&t, 100, NS_PER_SEC, &seed, diag);
	if (r == 0)
		fragment_table_free(t);
	return r;
}

static int attempt_savefile(const char *path, struct diag *diag)
{
	struct capture_config config = {.path = path, .filter = "ip or ip6"};
	struct capture *c = NULL;
	int r;

	config.link_types = decode_link_types(&config.n_link_types);
	r = capture_open(&c, &config, diag);

	if (r == 0)
		capture_close(c);
	return r;
}

static int attempt_pcap(struct diag *diag)
{
	return attempt_savefile(savefile, diag);
}

static int attempt_pcapng(struct diag *diag)
{
	return attempt_savefile(pcapng, diag);
}

static void check(attempt_fn *attempt, unsigned least)
{
	unsigned n;

	for (n = 1; n < 1000; n++) {
		struct diag diag = {""};
		int r;

		failalloc_start(n);
		r = attempt(&diag);
		if (!failalloc_stop()) {
			assert_int_equal(r, 0);
			break;
		}
		if (r == 0) /* it did without: a ring that is an offer only, a smaller buffer */
			continue;
		assert_true(r < 0);
		assert_true(diag.text[0] != '\0');
	}
	assert_true(n > least);
}

static void test_decoder(void **state)
{
	(void)state;
	check(attempt_decoder, 1);
}

static void test_flow_table(void **state)
{
	(void)state;
	check(attempt_flow_table, 4);
}

static void test_fragment_table(void **state)
{
	(void)state;
	check(attempt_fragment_table, 2);
}

static void test_savefile(void **state)
{
	(void)state;
	check(attempt_pcap, 1);
	check(attempt_pcapng, 4);
}

int main(void)
{
	const char *root = getenv("PITOT_SOURCE_ROOT");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decoder),
		cmocka_unit_test(test_flow_table),
		cmocka_unit_test(test_fragment_table),
		cmocka_unit_test(test_savefile),
	};

	snprintf(savefile, sizeof(savefile), "%s/tests/data/mixed.pcap", root ? root : ".");
	snprintf(pcapng, sizeof(pcapng), "%s/tests/data/kinds.pcapng", root ? root : ".");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
