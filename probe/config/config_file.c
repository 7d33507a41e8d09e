/*
 * config_file: pitot.conf(5).  NAME = VALUE lines; # begins a comment; double quotes keep a value as it is.
 *
 * A name that may be given many times may stand on many lines; any other may stand on one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config_internal.h"
#include "pitot/path.h"

enum { FILE_MAX = 1 << 20, FILE_LINE_MAX = 8192, FILE_ROWS_MAX = 128 };

struct file_line {
	const char *file;
	unsigned number;
	char *name;
	char *value;
};

static char *file_trim(char *text)
{
	size_t len;

	text += strspn(text, " \t");
	len = strlen(text);
	while (len && strchr(" \t\r", text[len - 1]))
		len--;
	text[len] = '\0';
	return text;
}

/* Takes the quotes off, or the comment. */
static int file_unquote(struct file_line *l, struct diag *diag)
{
	char *value = file_trim(l->value), *end;

	if (value[0] == '"') {
		end = strchr(value + 1, '"');
		if (!end)
			return diag_set(diag, CONFIG_E_USAGE,
					"%.200s:%u: %.40s: the closing quote is missing", l->file, l->number,
					l->name);
		*end = '\0';
		end += 1 + strspn(end + 1, " \t");
		if (*end && *end != '#')
			return diag_set(diag, CONFIG_E_USAGE,
					"%.200s:%u: %.40s: text after the closing quote", l->file, l->number,
					l->name);
		l->value = value + 1;
		return 0;
	}
	for (char *p = value; *p; p++) {
		if (*p == '#' && (p == value || p[-1] == ' ' || p[-1] == '\t')) {
			*p = '\0';
			break;
		}
	}
	l->value = file_trim(value);
	if (!l->value[0])
		return diag_set(diag, CONFIG_E_USAGE, "%.200s:%u: %.40s: the value is missing", l->file,
				l->number, l->name);
	return 0;
}

static int file_unknown(const struct file_line *l, struct diag *diag)
{
	const struct config_row *near = config_row_nearest(l->name, strlen(l->name));

	if (near && !(near->flags & FLAG_CLI))
		return diag_set(diag, CONFIG_E_USAGE, "%.200s:%u: '%.80s' is not an option; is %s meant?",
				l->file, l->number, l->name, near->name);
	return diag_set(diag, CONFIG_E_USAGE, "%.200s:%u: '%.80s' is not an option; pitot.conf(5) lists them",
			l->file, l->number, l->name);
}

/* One line; seen[row] is the line that set it. */
static int file_apply_line(struct config_build *b, struct file_line *l, char *text, unsigned *seen,
			   struct diag *diag)
{
	const struct config_row *row;
	char label[320], *equals;
	int r;

	text = file_trim(text);
	if (!text[0] || text[0] == '#')
		return 0;
	equals = strchr(text, '=');
	if (!equals)
		return diag_set(diag, CONFIG_E_USAGE, "%.200s:%u: '%.80s' is not a NAME = VALUE line",
				l->file, l->number, text);
	*equals = '\0';
	l->name = file_trim(text);
	l->value = equals + 1;
	row = config_row_by_name(l->name, strlen(l->name));
	if (!row)
		return file_unknown(l, diag);
	if (row->flags & FLAG_CLI)
		return diag_set(diag, CONFIG_E_USAGE, "%.200s:%u: %s belongs on the command line", l->file,
				l->number, row->name);
	if (seen[row - config_rows] && !(row->flags & FLAG_MANY))
		return diag_set(diag, CONFIG_E_USAGE, "%.200s:%u: %s was already set in line %u", l->file,
				l->number, row->name, seen[row - config_rows]);
	seen[row - config_rows] = l->number;
	r = file_unquote(l, diag);
	if (r)
		return r;
	snprintf(label, sizeof(label), "%.200s:%u: %s", l->file, l->number, row->name);
	return config_set(b, row, l->value, label, diag);
}

int config_file_apply(struct config_build *b, const char *name, const char *text, size_t size,
		      struct diag *diag)
{
	struct file_line l = {.file = name};
	unsigned seen[FILE_ROWS_MAX] = {0};
	const char *end = text + size;
	char line[FILE_LINE_MAX];

	if (config_rows_count > FILE_ROWS_MAX)
		return diag_set(diag, -E2BIG, "%.200s: more options than FILE_ROWS_MAX", name);
	while (text < end) {
		const char *next = memchr(text, '\n', (size_t)(end - text));
		size_t len = (size_t)((next ? next : end) - text);
		int r;

		l.number++;
		if (len >= sizeof(line))
			return diag_set(diag, CONFIG_E_USAGE, "%.200s:%u: the line is longer than %d octets",
					name, l.number, FILE_LINE_MAX - 1);
		if (memchr(text, '\0', len))
			return diag_set(diag, CONFIG_E_USAGE,
					"%.200s:%u: the line has a NUL octet: this is not a text file", name,
					l.number);
		memcpy(line, text, len);
		line[len] = '\0';
		r = config_mistake(b, file_apply_line(b, &l, line, seen, diag), diag);
		if (r)
			return r;
		text += len + 1;
	}
	return 0;
}

static void file_close(FILE **f)
{
	if (*f)
		fclose(*f);
}

int config_file_read(struct config_build *b, const char *path, struct diag *diag)
{
	int fd = path_read(path, geteuid(), b->again ? O_NONBLOCK : 0, diag);
	FILE *f __attribute__((cleanup(file_close))) = fd < 0 ? NULL : fdopen(fd, "r");
	char *text __attribute__((cleanup(config_free_text))) = NULL;
	struct stat st;
	size_t size;

	if (fd < 0)
		return diag_prefix(diag, fd, "--config: ");
	if (!f) {
		close(fd);
		return diag_set(diag, -ENOMEM, "--config: %.200s: %s", path, strerror(ENOMEM));
	}
	/* a pipe's other end may never come, and a program that runs waits for nobody */
	if (b->again && (fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))))
		return diag_set(diag, -EINVAL, "--config: %.200s: is no file, and is not read again", path);
	text = malloc(FILE_MAX + 1);
	if (!text)
		return diag_set(diag, -ENOMEM, "--config: %.200s: %s", path, strerror(ENOMEM));
	size = fread(text, 1, FILE_MAX + 1, f);
	if (ferror(f))
		return diag_set(diag, errno ? -errno : -EIO, "--config: %.200s: %s", path,
				strerror(errno ? errno : EIO));
	if (size > FILE_MAX)
		return diag_set(diag, CONFIG_E_USAGE,
				"--config: %.200s is longer than 1 MiB: this is no configuration", path);
	return config_file_apply(b, path, text, size, diag);
}
