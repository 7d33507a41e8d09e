/* diag: see include/pitot/diag.h. */
#include "pitot/diag.h"

#include <stdarg.h>
#include <stdio.h>

int diag_set(struct diag *d, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->text, sizeof(d->text), fmt, ap);
	va_end(ap);
	return err;
}

int diag_prefix(struct diag *d, int err, const char *fmt, ...)
{
	struct diag why = *d;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(d->text, sizeof(d->text), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(d->text))
		snprintf(d->text + n, sizeof(d->text) - (size_t)n, "%s", why.text);
	return err;
}
