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

/* Letters that softflowd knows and pitot does not: what to do instead. */
static const struct {
	char letter;
	const char *instead;
} args_softflowd[] = {
	{'6', "IPv6 is always measured; leave it out"},
	{'a', "packets of a file are always measured by their own time; leave it out"},
	{'A', "times are exported in milliseconds; --fields takes other elements"},
	{'b', "pitot exports each direction as a flow of its own"},
	{'l', "every collector gets every record"},
	{'P', "the collector's URL names the transport: -n FORMAT+TRANSPORT://HOST:PORT"},
	{'R', "pitot does not receive PSAMP"},
	{'s', "pitot measures every packet and does not sample"},
	{'S', "use --bind-device DEV, or --source ADDR"},
	{'x', "MPLS labels are among the elements of --list-fields, if at all"},
};

static int args_unknown_letter(char letter, struct diag *diag)
{
	char text[2] = {letter, '\0'};

	for (unsigned i = 0; i < sizeof(args_softflowd) / sizeof(args_softflowd[0]); i++) {
		if (args_softflowd[i].letter == letter)
			return diag_set(diag, CONFIG_E_USAGE, "-%c is softflowd's: %s", letter,
					args_softflowd[i].instead);
	}
	return diag_set(diag, CONFIG_E_USAGE, "-%s is not an option; --help lists them", text);
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
	else if (!config_row_is_switch(arg->row))
		return args_take_value(a, arg, diag);
	return 0;
}

static int args_short(struct config_args *a, struct config_arg *arg, struct diag *diag)
{
	arg->row = config_row_by_letter(*a->cluster);
	if (!arg->row)
		return args_unknown_letter(*a->cluster, diag);
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
