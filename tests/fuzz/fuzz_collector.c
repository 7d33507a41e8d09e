/* A collector as the command line names it. */
#include "fuzz.h"

#include "pitot/collector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum export_format formats[] = {FORMAT_NETFLOW5, FORMAT_NETFLOW9, FORMAT_IPFIX};
	static struct collector_config c, again;
	char *text = malloc(size + 1);
	struct diag diag = {""};
	int r;

	FUZZ_CHECK(text);
	memcpy(text, data, size);
	text[size] = '\0';
	r = collector_parse(&c, text, formats[size % 3], &diag);
	if (r < 0) {
		FUZZ_CHECK(diag.text[0]);
	} else {
		FUZZ_CHECK(r == 0 && c.format < FORMAT_COUNT && c.transport < TRANSPORT_COUNT);
		FUZZ_CHECK(memchr(c.url, '\0', sizeof(c.url)) && memchr(c.host, '\0', sizeof(c.host)) &&
			   memchr(c.path, '\0', sizeof(c.path)));
		/* the canonical name means the same; it is for messages and leaves out the end of a long path
		 */
		if (strlen(c.path) < 480 && collector_parse(&again, c.url, FORMAT_IPFIX, &diag) == 0)
			FUZZ_CHECK(again.format == c.format && again.transport == c.transport &&
				   strcmp(again.host, c.host) == 0 && again.port == c.port &&
				   strcmp(again.path, c.path) == 0);
	}
	free(text);
	return 0;
}
