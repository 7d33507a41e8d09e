/* utf8: see include/pitot/utf8.h. */
#include "pitot/utf8.h"

#include <stdbool.h>

void utf8_copy(char *out, size_t size, const char *in)
{
	size_t n = 0;

	while (*in && n + 1 < size) {
		unsigned char ch = (unsigned char)*in;
		unsigned more = ch < 0x80		  ? 0
				: ch >= 0xc2 && ch < 0xe0 ? 1
				: ch >= 0xe0 && ch < 0xf0 ? 2
				: ch >= 0xf0 && ch < 0xf5 ? 3
							  : 9;
		bool good = more < 9 && n + more + 1 < size;

		for (unsigned i = 1; good && i <= more; i++)
			good = ((unsigned char)in[i] & 0xc0) == 0x80;
		if (good && ((ch == 0xe0 && (unsigned char)in[1] < 0xa0) ||
			     (ch == 0xed && (unsigned char)in[1] > 0x9f) ||
			     (ch == 0xf0 && (unsigned char)in[1] < 0x90) ||
			     (ch == 0xf4 && (unsigned char)in[1] > 0x8f)))
			good = false; /* overlong, surrogates, beyond U+10FFFF */
		if (!good || ch < 0x20 || ch == 0x7f) {
			out[n++] = '?';
			in++;
			continue;
		}
		for (unsigned i = 0; i <= more; i++)
			out[n++] = *in++;
	}
	out[n] = '\0';
}
