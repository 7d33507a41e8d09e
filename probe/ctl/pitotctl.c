/* pitotctl: talks to a pitot that runs (pitotctl(8)).  argv -> request -> answer -> exit status. */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "diagnosis.h"
#include "pitot/control_protocol.h"
#include "pitot/descriptors.h"
#include "pitot/screen.h"
#include "pitot/timeouts.h"
#include "show.h"

enum { STATUS_OK, STATUS_FAILED, STATUS_USAGE };

/* ---- arguments of verbs: 0, or negative and a sentence */

static int pitotctl_fill_none(json_t *request, int argc, char **argv, struct diag *diag)
{
	(void)request;
	return argc ? diag_set(diag, -EINVAL, "'%s' is one word too many", argv[0]) : 0;
}

static int pitotctl_put_number(json_t *request, const char *name, const char *text, struct diag *diag)
{
	char *end;
	double value = strtod(text, &end);

	if (!*text || *end || !(value >= 0))
		return diag_set(diag, -EINVAL, "%s: '%s' is no number", name, text);
	json_object_set_new(request, name, json_real(value));
	return 0;
}

/* As --timeout takes them; what is not named stays as it is. */
static int pitotctl_fill_timeouts(json_t *request, int argc, char **argv, struct diag *diag)
{
	struct timeouts t = {0};
	const struct {
		const char *name;
		const uint64_t *ns;
	} rows[] = {{"active", &t.active_ns}, {"inactive", &t.inactive_ns}, {"tcp-end", &t.tcp_end_ns}};

	for (int i = 0; i < argc; i++) {
		int r = timeouts_parse(&t, argv[i], argv[i], diag);

		if (r)
			return r < 0 ? r : -EINVAL;
	}
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (*rows[i].ns)
			json_object_set_new(request, rows[i].name,
					    *rows[i].ns == TIMEOUT_OFF
						    ? json_null()
						    : json_real((double)*rows[i].ns / NS_PER_SEC));
	return 0;
}

static int pitotctl_fill_rate(json_t *request, int argc, char **argv, struct diag *diag)
{
	return argc == 1 ? pitotctl_put_number(request, "records", argv[0], diag)
			 : diag_set(diag, -EINVAL, "one number is wanted");
}

static int pitotctl_put_level(json_t *request, const char *level)
{
	return json_object_set_new(request, "level", json_string(level)) < 0 ? -ENOMEM : 0;
}

static int pitotctl_fill_level(json_t *request, int argc, char **argv, struct diag *diag)
{
	return argc == 1 ? pitotctl_put_level(request, argv[0])
			 : diag_set(diag, -EINVAL, "one level is wanted");
}

static int pitotctl_fill_more(json_t *request, int argc, char **argv, struct diag *diag)
{
	return argc ? pitotctl_fill_none(request, argc, argv, diag) : pitotctl_put_level(request, "debug");
}

static int pitotctl_fill_less(json_t *request, int argc, char **argv, struct diag *diag)
{
	return argc ? pitotctl_fill_none(request, argc, argv, diag) : pitotctl_put_level(request, "info");
}

static int pitotctl_fill_on(json_t *request, int argc, char **argv, struct diag *diag)
{
	json_object_set_new(request, "on", json_true());
	return pitotctl_fill_none(request, argc, argv, diag);
}

static int pitotctl_fill_off(json_t *request, int argc, char **argv, struct diag *diag)
{
	json_object_set_new(request, "on", json_false());
	return pitotctl_fill_none(request, argc, argv, diag);
}

/* All words are one expression. */
static int pitotctl_put_filter(json_t *request, int argc, char **argv, struct diag *diag)
{
	char text[CONTROL_LINE_MAX / 4] = "";
	size_t n = 0;

	for (int i = 0; i < argc; i++) {
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "", argv[i]);
		if (n >= sizeof(text))
			return diag_set(diag, -EINVAL, "the filter is too long");
	}
	if (argc && json_object_set_new(request, "filter", json_string(text)) < 0)
		return diag_set(diag, -EINVAL, "the filter is no UTF-8");
	return 0;
}

static int pitotctl_fill_filter(json_t *request, int argc, char **argv, struct diag *diag)
{
	if (!argc)
		return diag_set(diag, -EINVAL, "a filter is wanted; expire-all ends all flows");
	return pitotctl_put_filter(request, argc, argv, diag);
}

/* The value of an option: behind '=' or the next word; NULL: it is another option, or has none. */
static const char *pitotctl_option(const char *name, int argc, char **argv, int *i)
{
	size_t n = strlen(name);

	if (strncmp(argv[*i], name, n) != 0 || (argv[*i][n] && argv[*i][n] != '='))
		return NULL;
	if (argv[*i][n])
		return argv[*i] + n + 1;
	return *i + 1 < argc ? argv[++*i] : NULL;
}

/* Options may stand anywhere; the words that are left are the filter. */
static int pitotctl_fill_flows(json_t *request, int argc, char **argv, struct diag *diag)
{
	int words = 0;

	for (int i = 0; i < argc; i++) {
		const char *value;
		char *end;

		if (!strcmp(argv[i], "--follow")) {
			json_object_set_new(request, "follow", json_true());
		} else if ((value = pitotctl_option("--sort", argc, argv, &i))) {
			json_object_set_new(request, "sort", json_string(value));
		} else if ((value = pitotctl_option("--top", argc, argv, &i))) {
			long n = strtol(value, &end, 10);

			if (!*value || *end || n < 1 || n > CONTROL_FLOWS_TOP)
				return diag_set(diag, -EINVAL, "--top: '%s' is no number from 1 to %d", value,
						CONTROL_FLOWS_TOP);
			json_object_set_new(request, "top", json_integer(n));
		} else if (!strncmp(argv[i], "--", 2)) {
			return diag_set(diag, -EINVAL,
					"'%s': there are --sort KEY, --top N, --follow and --json", argv[i]);
		} else {
			argv[words++] = argv[i];
		}
	}
	return pitotctl_put_filter(request, words, argv, diag);
}

/* ---- the table */

static const struct verb {
	const char *name, *command, *arguments;
	int (*fill)(json_t *request, int argc, char **argv, struct diag *diag);
	show_fn *show;
	const char *help;
} verbs[] = {
#define VERB(name, command, arguments, fill, show, help)                                                     \
	{name, command, arguments, pitotctl_fill_##fill, show_##show, help},
#include "verbs.def"
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static const struct verb *pitotctl_find_verb(const char *name)
{
	for (size_t i = 0; i < VERBS; i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

static void pitotctl_help(FILE *out)
{
	fprintf(out, "Usage: pitotctl [-c PATH] [--json] COMMAND [ARGUMENT ...]\n\n"
		     "  -c, --control PATH  the socket of the pitot; without: the only one in /run/pitot\n"
		     "      --json          print what it answers as it is\n"
		     "  -h, --help          print this text and exit\n"
		     "  -V, --version       print the version of pitotctl and exit\n\n");
	for (size_t i = 0; i < VERBS; i++) {
		char head[80];

		snprintf(head, sizeof(head), "%s %s", verbs[i].name, verbs[i].arguments);
		if (strlen(head) > 32)
			fprintf(out, "  %s\n  %-32s %s\n", head, "", verbs[i].help);
		else
			fprintf(out, "  %-32s %s\n", head, verbs[i].help);
	}
}

/* ---- one command */

struct run {
	const struct verb *verb;
	bool as_json;
	struct show show;
};

static void pitotctl_run_json(const json_t *value, size_t flags)
{
	json_dumpf(value, stdout, flags | JSON_ENCODE_ANY | CONTROL_REALS);
	putchar('\n');
}

/* Of an answer in parts; as JSON they are lines of one element each, which takes no memory. */
static void pitotctl_run_part(void *ctx, const json_t *part)
{
	struct run *run = ctx;
	size_t i;
	json_t *element;

	if (!run->as_json)
		run->verb->show(&run->show, part);
	else
		json_array_foreach((json_t *)part, i, element) pitotctl_run_json(element, JSON_COMPACT);
}

/* Asks, and shows the answer; with --follow until something ends it. */
static int pitotctl_run_ask(struct run *run, struct client *client, const json_t *request, bool follow,
			    struct diag *diag)
{
	int r;

	do {
		json_t *result = NULL;

		run->show = (struct show){.out = stdout};
		r = client_ask_parts(client, request, pitotctl_run_part, run, &result, diag);
		if (r == 0 && run->as_json)
			pitotctl_run_json(result,
					  run->verb->show == show_flows ? JSON_COMPACT : JSON_INDENT(1));
		else if (r == 0)
			run->verb->show(&run->show, result);
		json_decref(result);
		if (fflush(stdout) != 0 || ferror(stdout))
			return diag_set(diag, -errno, "standard output: %s", strerror(errno));
		if (r == 0 && follow)
			nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
	} while (r == 0 && follow);
	return r;
}

static int pitotctl_run_top(const struct client *client, struct diag *diag)
{
	int r = screen_check(diag);

	return r < 0 ? r : screen_run(client->fd, diag);
}

static int pitotctl_run_verb(const struct verb *v, const char *path, bool as_json, int argc, char **argv)
{
	json_t *request = json_pack("{s:s}", "command", v->command);
	struct run run = {.verb = v, .as_json = as_json};
	struct client client = {.fd = -1};
	struct diag diag = {"out of memory"};
	int r = request ? v->fill(request, argc, argv, &diag) : -ENOMEM;
	bool follow;

	if (r < 0) {
		fprintf(stderr, "pitotctl: %s: %s\n", v->name, diag.text);
		json_decref(request);
		return STATUS_USAGE;
	}
	follow = json_is_true(json_object_get(request, "follow"));
	json_object_del(request, "follow"); /* it is for this side */
	r = client_open(&client, path, &diag);
	if (r == 0 && !strcmp(v->name, "top"))
		r = pitotctl_run_top(&client, &diag);
	else if (r == 0 && !strcmp(v->name, "doctor"))
		r = diagnosis_run(&client, stdout, as_json, &diag); /* how many things are wrong */
	else if (r == 0)
		r = pitotctl_run_ask(&run, &client, request, follow, &diag);
	if (r < 0)
		fprintf(stderr, "pitotctl: %s\n", diag.text);
	client_close(&client);
	json_decref(request);
	return r ? STATUS_FAILED : STATUS_OK;
}

/* --json may stand behind the command, too: takes it out. */
static bool pitotctl_take_json(int *argc, char **argv)
{
	int n = 0;

	for (int i = 0; i < *argc; i++)
		if (strcmp(argv[i], "--json") != 0)
			argv[n++] = argv[i];
	if (n == *argc)
		return false;
	*argc = n;
	return true;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"control", required_argument, NULL, 'c'},
						{"json", no_argument, NULL, 'j'},
						{"help", no_argument, NULL, 'h'},
						{"version", no_argument, NULL, 'V'},
						{0}};
	const char *path = NULL;
	const struct verb *verb;
	bool as_json = false;
	int o;

	if (descriptors_open_standard() < 0) /* or the socket is what is printed to */
		return STATUS_FAILED;
	while ((o = getopt_long(argc, argv, "+c:hV", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			path = optarg;
			break;
		case 'j':
			as_json = true;
			break;
		case 'h':
			pitotctl_help(stdout);
			return STATUS_OK;
		case 'V':
			printf("pitotctl %s\n", PITOT_VERSION);
			return STATUS_OK;
		default:
			fprintf(stderr, "pitotctl: --help lists options and commands\n");
			return STATUS_USAGE;
		}
	}
	if (optind == argc) {
		fprintf(stderr, "pitotctl: a command is wanted; --help lists them\n");
		return STATUS_USAGE;
	}
	verb = pitotctl_find_verb(argv[optind]);
	if (!verb) {
		fprintf(stderr, "pitotctl: '%s' is no command; --help lists them\n", argv[optind]);
		return STATUS_USAGE;
	}
	argc -= optind + 1;
	argv += optind + 1;
	as_json |= pitotctl_take_json(&argc, argv);
	return pitotctl_run_verb(verb, path, as_json, argc, argv);
}
