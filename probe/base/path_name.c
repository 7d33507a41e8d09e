/* path_name: see include/pitot/path.h.  Names with a time in them. */
#include "pitot/path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool path_has_time(const char *path)
{
	return strchr(name_of(path), '%') != NULL;
}

int path_check_time(const char *path, struct diag *diag)
{
	const char *name = name_of(path), *percent = strchr(path, '%');

	if (percent && percent < name)
		return diag_set(
			diag, -EINVAL,
			"'%.100s': times may stand in the name of the file, not in that of a directory",
			path);
	for (const char *p = name; (p = strchr(p, '%')) != NULL; p += 2)
		if (!p[1] || !strchr("YmdHMS%", p[1]))
			return diag_set(
				diag, -EINVAL,
				"'%.100s': %%%.1s is unknown; there are %%Y %%m %%d %%H %%M %%S, and %%%% "
				"for a percent sign",
				path, p + 1);
	return 0;
}

/* A name's ending, with its point: of a compressed file the one before counts to it.  NULL: none. */
static const char *name_ending(const char *name)
{
	static const char *const compressed[] = {
#define COMPRESSION(NAME, name, library) "." #name,
#include "pitot/compressions.def"
	};
	const char *point = strrchr(name, '.'), *before = NULL;

	for (unsigned i = 0; point && i < sizeof(compressed) / sizeof(compressed[0]); i++)
		if (!strcmp(point, compressed[i]))
			for (const char *p = name; p < point; p++)
				if (*p == '.')
					before = p;
	if (before && before != name)
		point = before;
	return point == name ? NULL : point;
}

int path_insert(char *out, size_t size, const char *path, const char *words)
{
	const char *point = name_ending(name_of(path));
	size_t before = point ? (size_t)(point - path) : strlen(path);

	return (size_t)snprintf(out, size, "%.*s%s%s", (int)before, path, words, path + before) >= size
		       ? -ENAMETOOLONG
		       : 0;
}

/* Without strftime(), whose result could be of any length. */
static int name_expand(char *out, size_t size, const char *pattern, const struct tm *tm)
{
	size_t n = 0;

	for (const char *p = pattern; *p; p++) {
		int value = 0;
		size_t left = size - n;
		int wrote;

		if (*p == '%') {
			p++;
			value = *p == 'Y'   ? tm->tm_year + 1900
				: *p == 'm' ? tm->tm_mon + 1
				: *p == 'd' ? tm->tm_mday
				: *p == 'H' ? tm->tm_hour
				: *p == 'M' ? tm->tm_min
				: *p == 'S' ? tm->tm_sec
					    : -1;
			if (value < 0 && *p != '%')
				return -EINVAL;
			wrote = value < 0 ? snprintf(out + n, left, "%%")
					  : snprintf(out + n, left, *p == 'Y' ? "%04d" : "%02d", value);
		} else {
			wrote = snprintf(out + n, left, "%c", *p);
		}
		if (wrote < 0 || (size_t)wrote >= left)
			return -ENAMETOOLONG;
		n += (size_t)wrote;
	}
	return 0;
}

int path_at_time(struct path_at *at, const struct path_at *pattern, const struct path_time *time)
{
	time_t seconds = (time_t)time->seconds;
	char name[PATH_NAME_SIZE], words[16] = "";
	struct tm tm;
	int r;

	*at = *pattern;
	if (!(time->local ? localtime_r(&seconds, &tm) : gmtime_r(&seconds, &tm)))
		return -EOVERFLOW;
	r = name_expand(name, sizeof(name), pattern->name, &tm);
	if (time->number)
		snprintf(words, sizeof(words), "-%u", (unsigned)time->number);
	return r < 0 ? r : path_insert(at->name, sizeof(at->name), name, words);
}
