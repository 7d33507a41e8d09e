/* config_check: the collectors, and what no option can see alone. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config_internal.h"
#include "pitot/path.h"

static bool check_same_collector(const struct collector_config *a, const struct collector_config *b)
{
	if (a->transport != b->transport)
		return false;
	if (a->transport == TRANSPORT_FILE)
		return strcmp(a->path, b->path) ==
		       0; /* they would overwrite each other, whatever the format */
	return a->format == b->format && a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

/* The i-th URL becomes the next collector. */
static int check_collector(struct config_build *b, unsigned i, struct diag *diag)
{
	struct config *c = b->c;
	struct collector_config *to = &c->collectors[c->n_collectors];

	if (collector_parse(to, b->urls[i].text, c->format, diag))
		return diag_prefix(diag, CONFIG_E_USAGE, "%s: ", b->urls[i].label);
	to->local_time = c->local_time;
	for (unsigned j = 0; j < c->n_collectors; j++)
		if (check_same_collector(to, &c->collectors[j]))
			return diag_set(diag, CONFIG_E_USAGE, "%s: %s and %s are the same destination",
					b->urls[i].label, c->collectors[j].url, b->urls[i].text);
	return 0;
}

static int check_collectors(struct config_build *b, struct diag *diag)
{
	struct config *c = b->c;
	unsigned n = b->n_urls ? b->n_urls : 1;

	c->collectors = calloc(n, sizeof(*c->collectors));
	if (!c->collectors)
		return diag_set(diag, -ENOMEM, "--collector: %s", strerror(ENOMEM));
	c->n_collectors = n;
	if (!b->n_urls && c->live && c->action == CONFIG_RUN) {
		c->n_collectors = 0; /* the terminal is the view's */
		return 0;
	}
	if (!b->n_urls) { /* the template of a table would tell nothing */
		int r = collector_parse(&c->collectors[0],
					c->action == CONFIG_PRINT_TEMPLATE ? "localhost" : "text:-",
					c->format, diag);

		c->collectors[0].local_time = c->local_time;
		return r;
	}
	c->n_collectors = 0; /* those that are understood */
	for (unsigned i = 0; i < n; i++) {
		int r = check_collector(b, i, diag);

		if (r == 0)
			c->n_collectors++;
		r = config_mistake(b, r, diag);
		if (r)
			return r;
	}
	return 0;
}

/* NetFlow v5 has 14 bits for it. */
static int check_sampling(const struct config *c, struct diag *diag)
{
	for (unsigned i = 0; i < c->n_collectors; i++)
		if (c->collectors[i].format == FORMAT_NETFLOW5 && c->sample.interval > 16383)
			return diag_set(diag, CONFIG_E_USAGE,
					"--sample (-s): NetFlow v5 cannot say more than 16383 to %s",
					c->collectors[i].url);
	return 0;
}

/* Both choose what is measured. */
static int check_polite(const struct config *c, struct diag *diag)
{
	if (c->polite.on && c->sample.interval > 1)
		return diag_set(diag, CONFIG_E_USAGE,
				"--polite and --sample (-s) do not go together: polite mode chooses how many "
				"packets are "
				"drawn by itself");
	return 0;
}

static int check_input(const struct config *c, struct diag *diag)
{
	if (c->action != CONFIG_RUN && c->action != CONFIG_DRY_RUN && c->action != CONFIG_DOCTOR)
		return 0;
	if (!c->n_files && !c->n_interfaces)
		return diag_set(diag, CONFIG_E_USAGE,
				"nothing to measure: name an interface with --interface (-i) or a file with "
				"--read (-r); "
				"--help lists all options");
	if (c->n_files && c->n_interfaces)
		return diag_set(diag, CONFIG_E_USAGE,
				"--interface (-i) and --read (-r) do not go together: an interface follows "
				"the clock, a file "
				"its packets' times");
	for (unsigned i = 0; c->n_interfaces > 1 && i < c->n_interfaces; i++) {
		if (strcmp(c->interfaces[i].name, "any") == 0)
			return diag_set(diag, CONFIG_E_USAGE,
					"--interface (-i): any has all interfaces, so packets of the others "
					"would count twice");
	}
	return 0;
}

static int check_user(const struct config *c, struct diag *diag)
{
	if (c->user && c->stay_root)
		return diag_set(diag, CONFIG_E_USAGE, "--user (-u) and --stay-root do not go together");
	return 0;
}

static int check_takeover(const struct config *c, struct diag *diag)
{
	if (!c->takeover || c->action != CONFIG_RUN)
		return 0;
	if (c->n_files)
		return diag_set(diag, CONFIG_E_USAGE,
				"--takeover is for interfaces (-i): files are read from their beginning");
	if (c->control_path && strcmp(c->control_path, "none") == 0)
		return diag_set(diag, CONFIG_E_USAGE,
				"--takeover asks at the control socket of the other process: --control none "
				"does not go "
				"with it");
	if (c->capture == CONFIG_CAPTURE_XDP)
		return diag_set(diag, CONFIG_E_USAGE,
				"--takeover: captures by XDP (--capture xdp) cannot be taken over");
	return 0;
}

static int check_tunnels(const struct config *c, struct diag *diag)
{
	if ((c->flow_key & CONFIG_KEY_TUNNEL) && !c->decapsulate)
		return diag_set(diag, CONFIG_E_USAGE,
				"--flow-key (-T) tunnel: no tunnel is opened; say which with --decapsulate");
	return 0;
}

static int check_daemon(const struct config *c, struct diag *diag)
{
	if (!c->daemon || c->action != CONFIG_RUN)
		return 0;
	for (unsigned i = 0; i < c->n_collectors; i++) {
		if (collector_is_stdout(&c->collectors[i]))
			return diag_set(diag, CONFIG_E_USAGE,
					"--daemon: standard output is gone in the background, and the "
					"collector %.80s writes there; "
					"name another with --collector (-n)",
					c->collectors[i].url);
	}
	for (unsigned i = 0; i < c->n_files; i++) {
		if (strcmp(c->files[i], "-") == 0)
			return diag_set(diag, CONFIG_E_USAGE,
					"--daemon: standard input is gone in the background, and --read (-r) "
					"- reads it");
	}
	return 0;
}

/* What is measured is never complete, but for files of which one follows the other. */
static int check_compression(const struct config *c, struct diag *diag)
{
	for (unsigned i = 0; c->n_interfaces && i < c->n_collectors; i++)
		if (c->collectors[i].compression != COMPRESSION_NONE && !path_has_time(c->collectors[i].path))
			return diag_set(diag, CONFIG_E_USAGE,
					"--collector (-n): %.200s: an interface's file is compressed when "
					"another one follows: add ?rotate=TIME or a time in its name",
					c->collectors[i].url);
	return 0;
}

static int check_live(const struct config *c, struct diag *diag)
{
	if (!c->live || c->action != CONFIG_RUN)
		return 0;
	if (!c->n_interfaces)
		return diag_set(diag, CONFIG_E_USAGE,
				"--live: the view is of interfaces: name one with --interface (-i)");
	if (c->daemon)
		return diag_set(diag, CONFIG_E_USAGE,
				"--live and --daemon do not go together: the view takes the terminal");
	for (unsigned i = 0; i < c->n_collectors; i++)
		if (collector_is_stdout(&c->collectors[i]))
			return diag_set(
				diag, CONFIG_E_USAGE,
				"--live: the view takes the terminal, and the collector %.80s writes there; "
				"name a host or a file with --collector (-n), or none at all",
				c->collectors[i].url);
	return 0;
}

static bool check_ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n > m && strcmp(text + n - m, end) == 0;
}

/* The trailing words become the filter, unless they may be the value of an option that is unknown. */
static int check_filter(struct config_build *b, struct diag *diag)
{
	struct config *c = b->c;

	if (b->words && !b->has_unknown) {
		if (b->filter_replaced)
			return diag_set(diag, CONFIG_E_USAGE,
					"--filter (-f): there is a second filter after the options: %.120s",
					b->words);
		if (check_ends_with(b->words, ".pcap") || check_ends_with(b->words, ".pcapng"))
			return diag_set(
				diag, CONFIG_E_USAGE,
				"'%.120s' would be the filter; each file needs a --read (-r) of its own",
				b->words);
		free(c->filter);
		c->filter = b->words;
		b->words = NULL;
	}
	if (c->filter && !c->filter[strspn(c->filter, " \t\r\n")]) {
		free(c->filter);
		c->filter = NULL;
	}
	return 0;
}

struct used_file {
	const char *option;
	const char *path;
	int standard; /* the standard descriptor that it is, or -1 */
	bool written;
	bool has_part; /* grows as PATH.part, if it is an ordinary file */
};

/* What a path leads to: the file, and before there is one its name in its directory. */
struct place {
	bool exists;
	bool ordinary; /* devices and pipes may be shared: nothing is overwritten there */
	dev_t dev;
	ino_t ino;
	char name[NAME_MAX + 1];
};

static struct place check_place_of(const struct stat *st)
{
	return (struct place){
		.exists = true, .ordinary = S_ISREG(st->st_mode), .dev = st->st_dev, .ino = st->st_ino};
}

/* False if there is no such place. */
static bool check_find_place(struct place *place, const char *path)
{
	char directory[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) + 1 : 0;
	struct stat st;

	*place = (struct place){0};
	if (stat(path, &st) == 0) {
		*place = check_place_of(&st);
		return true;
	}
	if (n >= sizeof(directory) || strlen(path + n) > NAME_MAX)
		return false;
	snprintf(directory, sizeof(directory), "%.*s", n ? (int)n : 1, n ? path : ".");
	snprintf(place->name, sizeof(place->name), "%s", path + n);
	place->ordinary = true;
	if (stat(directory, &st) < 0)
		return false;
	place->dev = st.st_dev;
	place->ino = st.st_ino;
	return true;
}

static bool check_find_file(struct place *place, const struct used_file *file, bool part)
{
	struct stat st;
	char name[PATH_MAX];

	if (file->standard >= 0) {
		if (part || fstat(file->standard, &st) < 0)
			return false;
		*place = check_place_of(&st);
		return true;
	}
	if (!part)
		return check_find_place(place, file->path);
	return file->has_part && check_find_place(place, file->path) && place->ordinary &&
	       snprintf(name, sizeof(name), "%s.part", file->path) < (int)sizeof(name) &&
	       check_find_place(place, name);
}

/* One file under two names counts, by whatever way they lead there. */
static bool check_same_file(const struct used_file *a, const struct used_file *b)
{
	struct place x, y;

	if (a->standard < 0 && b->standard < 0 && strcmp(a->path, b->path) == 0 &&
	    (!check_find_place(&x, a->path) || x.ordinary))
		return true;
	for (unsigned parts = 0; parts < 4; parts++)
		if (check_find_file(&x, a, parts & 1) && check_find_file(&y, b, parts & 2) && x.ordinary &&
		    x.exists == y.exists && x.dev == y.dev && x.ino == y.ino && strcmp(x.name, y.name) == 0)
			return true;
	return false;
}

/* The standard descriptors are files, too, if the shell made them so; stderr is for messages. */
static void check_use_file(struct used_file *files, unsigned *n, struct used_file file)
{
	if (!file.path)
		return;
	if (strcmp(file.path, "-") != 0)
		file.standard = -1;
	if (file.standard != STDERR_FILENO)
		files[(*n)++] = file;
}

static void check_free_files(struct used_file **files)
{
	free(*files);
}

/* No file is written that is read, or written for something else: a capture would be gone. */
static int check_files(const struct config *c, struct diag *diag)
{
	struct used_file *files __attribute__((cleanup(check_free_files))) =
		calloc(c->n_files + c->n_collectors + 7, sizeof(*files));
	unsigned n = 0;

	if (!files)
		return diag_set(diag, -ENOMEM, "options: %s", strerror(ENOMEM));
	check_use_file(files, &n, (struct used_file){"--stats", c->stats_path, STDERR_FILENO, true, true});
	check_use_file(files, &n, (struct used_file){"--metrics-file", c->metrics_path, -1, true, true});
	check_use_file(files, &n, (struct used_file){"--pidfile", c->pidfile, -1, true, false});
	for (unsigned i = 0; i < c->n_collectors; i++)
		if (c->collectors[i].transport == TRANSPORT_FILE)
			check_use_file(files, &n,
				       (struct used_file){"--collector", c->collectors[i].path, STDOUT_FILENO,
							  true, true});
	for (unsigned i = 0; i < c->n_files; i++)
		check_use_file(files, &n,
			       (struct used_file){"--read", c->files[i], STDIN_FILENO, false, false});
	check_use_file(files, &n, (struct used_file){"--config", c->config_path, -1, false, false});
	check_use_file(files, &n, (struct used_file){"--tls-ca", c->tls_ca, -1, false, false});
	check_use_file(files, &n, (struct used_file){"--tls-cert", c->tls_cert, -1, false, false});
	check_use_file(files, &n, (struct used_file){"--tls-key", c->tls_key, -1, false, false});
	for (unsigned i = 0; i < n && files[i].written; i++)
		for (unsigned j = i + 1; j < n; j++)
			if (check_same_file(&files[i], &files[j]))
				return diag_set(diag, CONFIG_E_USAGE,
						"%s %.200s: that is the file of %s%s%.200s: name another",
						files[i].option, files[i].path, files[j].option,
						strcmp(files[j].path, files[i].path) == 0 ? "" : " ",
						strcmp(files[j].path, files[i].path) == 0 ? ""
											  : files[j].path);
	return 0;
}

int config_finish(struct config_build *b, struct diag *diag)
{
	/* what options were not understood is not to be missed */
	bool complete = !b->n_mistakes;
	int r = config_mistake(b, check_filter(b, diag), diag);

	if (!r && complete)
		r = config_mistake(b, check_input(b->c, diag), diag);
	if (!r)
		r = check_collectors(b, diag);
	if (!r)
		r = config_mistake(b, check_sampling(b->c, diag), diag);
	if (!r)
		r = config_mistake(b, check_compression(b->c, diag), diag);
	if (!r)
		r = config_mistake(b, check_polite(b->c, diag), diag);
	if (!r)
		r = config_mistake(b, check_tunnels(b->c, diag), diag);
	if (!r && !b->has_unknown)
		r = config_mistake(b, check_takeover(b->c, diag), diag);
	if (!r)
		r = config_mistake(b, check_daemon(b->c, diag), diag);
	if (!r && !b->has_unknown)
		r = config_mistake(b, check_live(b->c, diag), diag);
	if (!r)
		r = config_mistake(b, check_user(b->c, diag), diag);
	if (!r)
		r = config_mistake(b, check_files(b->c, diag), diag);
	return r;
}
