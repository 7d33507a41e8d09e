/*
 * config_args: the command line, one setting after the other.
 *
 * As getopt_long() reads it (-Nq, -n URL, -nURL, --name VALUE, --name=VALUE, --, options after words), but
 * without abbreviations, which break when an option is added, without globals, and with sentences of its own.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/config_internal.h"

/*
 * Letters that softflowd knows and pitot does not.  What means here what it means there is taken: with the
 * values named, or as another option; of all else, what to do instead.
 */
static const struct softflowd_letter {
	char letter;
	bool has_value;
	const char *same; /* values that ask for what pitot does anyway, separated by spaces */
	const char *row;  /* the option and the value that it stands for */
	const char *value;
	const char *instead; /* of any other value; NULL: it takes none and is fine */
} args_softflowd[] = {
	{'6', false, NULL, NULL, NULL, NULL}, /* IPv6 is always measured */
	{'a', false, NULL, NULL, NULL, NULL}, /* packets of a file have their own time */
	{'A', true, "milli", NULL, NULL,
	 "name the elements with --fields, flowStartSeconds, flowStartMicroseconds or flowStartNanoseconds "
	 "and "
	 "their ends; without it times are in milliseconds"},
	{'b', false, NULL, NULL, NULL, "each direction of a connection is a record of its own: leave it out"},
	{'l', false, NULL, "collector-group", "hash", NULL},
	{'P', true, "udp", NULL, NULL, "the collector's URL names the transport: -n ipfix+tcp://HOST:PORT"},
	{'R', true, NULL, NULL, NULL, "pitot does not receive PSAMP"},
	{'S', true, NULL, NULL, NULL, "use --bind-device DEV, or --source ADDR"},
	{'x', true, NULL, NULL, NULL, "records have no MPLS labels: leave it out"},
};

static const struct softflowd_letter *args_find_softflowd(char letter)
{
	for (unsigned i = 0; i < sizeof(args_softflowd) / sizeof(args_softflowd[0]); i++)
		if (args_softflowd[i].letter == letter)
			return &args_softflowd[i];
	return NULL;
}

static bool args_is_same(const char *list, const char *value)
{
	size_t n = strlen(value);

	for (const char *p = list; p && *p; p += strcspn(p, " "), p += *p == ' ')
		if (strcspn(p, " ") == n && !memcmp(p, value, n))
			return true;
	return false;
}

static void args_label(struct config_arg *arg)
{
	const struct config_row *row = arg->row;

	if (row->letter)
		snprintf(arg->label, sizeof(arg->label), "--%s (-%c)", row->name, row->letter);
	else
		snprintf(arg->label, sizeof(arg->label), "--%s", row->name);
}

/* The next element is the value. */
static int args_take_value(struct config_args *a, struct config_arg *arg, struct diag *diag)
{
	if (a->i >= a->argc)
		return diag_set(diag, CONFIG_E_USAGE, "%s: the value (%s) is missing", arg->label,
				arg->row->argument);
	arg->value = a->argv[a->i++];
	return 0;
}

/* Its value may be left out, and then what follows is a word of the filter. */
static bool args_is_polite_value(const struct config_args *a)
{
	return a->i < a->argc && config_is_polite_value(a->argv[a->i]);
}

static int args_long(struct config_args *a, struct config_arg *arg, const char *text, struct diag *diag)
{
	size_t len = strcspn(text, "=");

	arg->row = config_row_by_name(text, len);
	if (!arg->row) {
		const struct config_row *near = config_row_nearest(text, len);

		if (near)
			return diag_set(diag, CONFIG_E_USAGE, "--%.*s is not an option; is --%s meant?",
					(int)(len < 80 ? len : 80), text, near->name);
		return diag_set(diag, CONFIG_E_USAGE, "--%.*s is not an option; --help lists them",
				(int)(len < 80 ? len : 80), text);
	}
	args_label(arg);
	if (text[len] == '=')
		arg->value = text + len + 1;
	else if (arg->row->kind == KIND_POLITE && !args_is_polite_value(a))
		return 0;
	else if (!config_row_is_switch(arg->row))
		return args_take_value(a, arg, diag);
	return 0;
}

/* One that is not pitot's.  0: arg has what it stands for, or is empty when it changes nothing. */
static int args_foreign(struct config_args *a, struct config_arg *arg, struct diag *diag)
{
	char letter = *a->cluster++;
	const struct softflowd_letter *l = args_find_softflowd(letter);
	const char *value = "";

	if (!l) {
		a->cluster = NULL; /* what follows may be its value */
		return diag_set(diag, CONFIG_E_USAGE, "-%c is not an option; --help lists them", letter);
	}
	if (l->has_value) {
		if (!*a->cluster && a->i >= a->argc)
			return diag_set(diag, CONFIG_E_USAGE, "-%c is softflowd's: %s", letter, l->instead);
		value = *a->cluster ? a->cluster : a->argv[a->i++];
		a->cluster = NULL;
	}
	if (l->instead && !args_is_same(l->same, value))
		return diag_set(diag, CONFIG_E_USAGE, "-%c is softflowd's: %s", letter, l->instead);
	if (l->row) {
		arg->row = config_row_by_name(l->row, strlen(l->row));
		arg->value = l->value;
		snprintf(arg->label, sizeof(arg->label), "-%c", letter);
		return 0;
	}
	return config_args_next(a, arg, diag);
}

static int args_short(struct config_args *a, struct config_arg *arg, struct diag *diag)
{
	arg->row = config_row_by_letter(*a->cluster);
	if (!arg->row)
		return args_foreign(a, arg, diag);
	args_label(arg);
	a->cluster++;
	if (config_row_is_switch(arg->row))
		return 0;
	if (!*a->cluster)
		return args_take_value(a, arg, diag);
	arg->value = a->cluster;
	a->cluster = NULL;
	return 0;
}

int config_args_next(struct config_args *a, struct config_arg *arg, struct diag *diag)
{
	const char *text;

	*arg = (struct config_arg){.row = NULL};
	if (a->cluster && *a->cluster)
		return args_short(a, arg, diag);
	if (a->i >= a->argc)
		return -ENOENT;
	text = a->argv[a->i++];
	if (!a->only_words && strcmp(text, "--") == 0) {
		a->only_words = true;
		return config_args_next(a, arg, diag);
	}
	if (a->only_words || text[0] != '-' || !text[1]) {
		arg->value = text;
		return 0;
	}
	if (text[1] == '-')
		return args_long(a, arg, text + 2, diag);
	a->cluster = text + 1;
	return args_short(a, arg, diag);
}
