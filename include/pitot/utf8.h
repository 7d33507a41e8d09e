/* utf8: text that collectors may read (RFC 7011 §6.1.6), of what the system has, which may be any octets. */
#ifndef PITOT_UTF8_H
#define PITOT_UTF8_H

#include <stddef.h>

/* As much of it as fits, with an end; what is no UTF-8, or a control character, becomes "?". */
void utf8_copy(char *out, size_t size, const char *in);

#endif
