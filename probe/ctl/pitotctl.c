/* pitotctl: talks to a pitot that runs (pitotctl(8)).  argv -> request -> answer -> exit status. */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "show.h"

enum { STATUS_OK, STATUS_FAILED, STATUS_USAGE };

/* ---- arguments of verbs: 0, or negative and a sentence */

static int verb_fill_none(json_t *request, int argc, char **argv, struct diag *diag)
{
	(void)request;
	return argc ? diag_set(diag, -EINVAL, "'%s' is one word too many", argv[0]) : 0;
}

static int verb_put_number(json_t *request, const char *name, const char *text, struct diag *diag)
{
	char *end;
	double value = strtod(text, &end);

	if (!*text || *end || !(value >= 0))
		return diag_set(diag, -EINVAL, "%s: '%s' is no number", name, text);
	json_object_set_new(request, name, json_real(value));
	return 0;
}

static int verb_fill_pairs(json_t *request, int argc, char **argv, struct diag *diag)
{
	for (int i = 0; i < argc; i++) {
		char *equals = strchr(argv[i], '=');
		int r;

		if (!equals)
			return diag_set(diag, -EINVAL, "'%s': NAME=SECONDS is wanted", argv[i]);
		*equals = '\0';
		if (strcmp(argv[i], "active") != 0 && strcmp(argv[i], "inactive") != 0 &&
		    strcmp(argv[i], "tcp-end") != 0)
			return diag_set(diag, -EINVAL,
					"'%s' is no time-out; there are active, inactive and tcp-end",
					argv[i]);
		r = verb_put_number(request, argv[i], equals + 1, diag);
		if (r < 0)
			return r;
	}
	return 0;
}

static int verb_fill_rate(json_t *request, int argc, char **argv, struct diag *diag)
{
	return argc == 1 ? verb_put_number(request, "records", argv[0], diag)
			 : diag_set(diag, -EINVAL, "one number is wanted");
}

static int verb_put_level(json_t *request, const char *level)
{
	return json_object_set_new(request, "level", json_string(level)) < 0 ? -ENOMEM : 0;
}

static int verb_fill_level(json_t *request, int argc, char **argv, struct diag *diag)
{
	return argc == 1 ? verb_put_level(request, argv[0]) : diag_set(diag, -EINVAL, "one level is wanted");
}

static int verb_fill_more(json_t *request, int argc, char **argv, struct diag *diag)
{
	return argc ? verb_fill_none(request, argc, argv, diag) : verb_put_level(request, "debug");
}

static int verb_fill_less(json_t *request, int argc, char **argv, struct diag *diag)
{
	return argc ? verb_fill_none(request, argc, argv, diag) : verb_put_level(request, "info");
}

/* ---- the table */

static const struct verb {
	const char *name, *command, *arguments;
	int (*fill)(json_t *request, int argc, char **argv, struct diag *diag);
	void (*show)(FILE *out, const json_t *result);
	const char *help;
} verbs[] = {
#define VERB(name, command, arguments, fill, show, help)                                                     \
	{name, command, arguments, verb_fill_##fill, show_##show, help},
#include "verbs.def"
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < VERBS; i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

static void verb_help(FILE *out)
{
	fprintf(out, "Usage: pitotctl [-c PATH] [--json] COMMAND [ARGUMENT ...]\n\n"
		     "  -c, --control PATH  the socket of the pitot; without: the only one in /run/pitot\n"
		     "      --json          print what it answers as it is\n"
		     "  -h, --help          print this text and exit\n"
		     "  -V, --version       print the version of pitotctl and exit\n\n");
	for (size_t i = 0; i < VERBS; i++) {
		char head[64];

		snprintf(head, sizeof(head), "%s %s", verbs[i].name, verbs[i].arguments);
		fprintf(out, "  %-32s %s\n", head, verbs[i].help);
	}
}

static int verb_run(const struct verb *v, const char *path, bool as_json, int argc, char **argv)
{
	json_t *request = json_pack("{s:s}", "command", v->command), *result = NULL;
	struct client client = {.fd = -1};
	struct diag diag = {"out of memory"};
	int r = request ? v->fill(request, argc, argv, &diag) : -ENOMEM, status = STATUS_OK;

	if (r < 0) {
		fprintf(stderr, "pitotctl: %s: %s\n", v->name, diag.text);
		json_decref(request);
		return STATUS_USAGE;
	}
	r = client_open(&client, path, &diag);
	if (r == 0)
		r = client_ask(&client, request, &result, &diag);
	if (r < 0) {
		fprintf(stderr, "pitotctl: %s\n", diag.text);
		status = STATUS_FAILED;
	} else if (as_json) {
		json_dumpf(result, stdout, JSON_INDENT(1) | JSON_ENCODE_ANY);
		putchar('\n');
	} else {
		v->show(stdout, result);
	}
	client_close(&client);
	json_decref(result);
	json_decref(request);
	if (fflush(stdout) != 0) {
		fprintf(stderr, "pitotctl: standard output: %s\n", strerror(errno));
		status = STATUS_FAILED;
	}
	return status;
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

	while ((o = getopt_long(argc, argv, "+c:hV", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			path = optarg;
			break;
		case 'j':
			as_json = true;
			break;
		case 'h':
			verb_help(stdout);
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
	verb = verb_find(argv[optind]);
	if (!verb) {
		fprintf(stderr, "pitotctl: '%s' is no command; --help lists them\n", argv[optind]);
		return STATUS_USAGE;
	}
	if (!as_json && optind + 1 < argc && !strcmp(argv[argc - 1], "--json")) {
		as_json = true; /* after the command, too */
		argc--;
	}
	return verb_run(verb, path, as_json, argc - optind - 1, argv + optind + 1);
}
