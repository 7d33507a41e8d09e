/* lacking: see lacking.h. */
#include "lacking.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cm.h"

__attribute__((format(printf, 1, 0))) static int lacking_say(const char *fmt, va_list args)
{
	const char *ci = getenv("CI");
	bool must = ci && strcmp(ci, "true") == 0;

	fputs(must ? "FAILED: with CI=true nothing is skipped: " : "skipped: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	return must ? 1 : 77;
}

int lacking(const char *fmt, ...)
{
	va_list args;
	int status;

	va_start(args, fmt);
	status = lacking_say(fmt, args);
	va_end(args);
	return status;
}

void lacking_here(const char *fmt, ...)
{
	va_list args;
	int status;

	va_start(args, fmt);
	status = lacking_say(fmt, args);
	va_end(args);
	if (status == 77)
		skip();
	fail();
}
