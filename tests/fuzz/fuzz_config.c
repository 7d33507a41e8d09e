/* A configuration file. */
#include "fuzz.h"

#include "pitot/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64], program[] = "pitot", option[] = "--config";
	char *argv[] = {program, option, path, NULL};
	struct config c;
	struct diag diag = {""};
	int fd = fuzz_file(data, size, path, sizeof(path)), r = config_parse_again(&c, 3, argv, &diag);

	if (r != 0)
		FUZZ_CHECK(diag.text[0]);
	else
		config_deinit(&c);
	close(fd);
	return 0;
}
