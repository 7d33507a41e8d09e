/* A savefile: whatever it is, frames end, and each is as long as it says. */
#include "fuzz.h"

#include "pitot/capture.h"
#include "pitot/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64];
	struct capture *c = NULL;
	struct frame_batch b;
	struct diag diag = {""};
	int fd = fuzz_file(data, size, path, sizeof(path));
	struct capture_config config = {.path = path, .filter = size % 3 ? NULL : "udp or ip6"};
	volatile uint8_t sum = 0;
	size_t octets = 0, empty = 0;
	int r;

	if (size % 2)
		config.link_types = decode_link_types(&config.n_link_types);
	r = capture_open(&c, &config, &diag);
	if (r < 0) {
		FUZZ_CHECK(diag.text[0]);
		close(fd);
		return 0;
	}
	while ((r = capture_recv(c, &b, 0, &diag)) == 0) {
		FUZZ_CHECK(b.n <= BATCH_MAX);
		FUZZ_CHECK(b.n || ++empty <= size / 4096 + 4); /* what the filter rejects may take a while */
		for (unsigned i = 0; i < b.n; i++) {
			octets += b.frames[i].cap_len;
			for (uint32_t o = 0; o < b.frames[i].cap_len; o++)
				sum = (uint8_t)(sum + b.frames[i].data[o]);
		}
		FUZZ_CHECK(octets <= size); /* nothing came from nowhere, and it ends */
		capture_release(c, &b);
	}
	FUZZ_CHECK(r == CAPTURE_E_END || r < 0);
	if (r < 0)
		FUZZ_CHECK(diag.text[0]);
	capture_close(c);
	close(fd);
	return 0;
}
