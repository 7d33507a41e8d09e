/* A filter over flows as pitotctl names it, and the same octets as a program that nobody parsed. */
#include "fuzz.h"

#include "pitot/flow_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct flow_key key = {.protocol = 6, .ip_version = 4, .dst_port = 80};
	char *text = malloc(size + 1);
	struct flow_filter f;
	struct diag diag = {""};
	int r;

	FUZZ_CHECK(text);
	memcpy(text, data, size);
	text[size] = '\0';
	r = flow_filter_parse(&f, text, &diag);
	FUZZ_CHECK(r == 0 || diag.text[0]);
	FUZZ_CHECK(f.n <= FLOW_FILTER_OPS);
	if (r == 0)
		(void)flow_filter_match(&f, &key, 7);
	free(text);
	memset(&f, 0, sizeof(f));
	memcpy(&f, data, size < sizeof(f) ? size : sizeof(f));
	if (size)
		memcpy(&key, data, size < sizeof(key) ? size : sizeof(key));
	(void)flow_filter_match(&f, &key, 7);
	return 0;
}
