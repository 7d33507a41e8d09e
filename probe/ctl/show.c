/* show: see show.h. */
#include "show.h"

#include <inttypes.h>
#include <string.h>

/* 1234567 as 1,234,567: a ledger is read digit by digit */
static const char *show_number(char text[32], json_int_t n)
{
	char plain[24];
	int len = snprintf(plain, sizeof(plain), "%" JSON_INTEGER_FORMAT, n), to = 0;

	for (int i = 0; i < len; i++) {
		text[to++] = plain[i];
		if ((len - i - 1) % 3 == 0 && i + 1 < len && plain[i] != '-')
			text[to++] = ',';
	}
	text[to] = '\0';
	return text;
}

/* A zero says nothing where it is one of many. */
static void show_tree(FILE *out, const char *prefix, const json_t *node)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)node, name, value)
	{
		char path[128], number[32];

		snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "." : "", name);
		if (json_is_object(value))
			show_tree(out, path, value);
		else if (json_is_integer(value) && json_integer_value(value))
			fprintf(out, "  %-36s %20s\n", path, show_number(number, json_integer_value(value)));
		else if (json_is_real(value) && json_real_value(value) > 0)
			fprintf(out, "  %-36s %20.3f\n", path, json_real_value(value));
	}
}

static const char *show_string(const json_t *object, const char *name, const char *missing)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : missing;
}

static json_int_t show_integer(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

void show_collectors(FILE *out, const json_t *result)
{
	size_t i;
	json_t *c;

	fprintf(out, "%-40s %-10s %12s %12s %12s %8s\n", "collector", "state", "records", "waiting",
		"not sent", "errors");
	json_array_foreach((json_t *)result, i, c)
	{
		const char *url = json_string_value(json_object_get(c, "url"));
		const char *state = json_string_value(json_object_get(c, "state"));
		const char *error = json_string_value(json_object_get(c, "last_error"));

		fprintf(out,
			"%-40s %-10s %12" JSON_INTEGER_FORMAT " %12" JSON_INTEGER_FORMAT
			" %12" JSON_INTEGER_FORMAT " %8" JSON_INTEGER_FORMAT "\n",
			url ? url : "", state ? state : "", show_integer(c, "records"),
			show_integer(c, "pending"), show_integer(json_object_get(c, "not_sent"), "records"),
			show_integer(c, "errors"));
		if (error)
			fprintf(out, "  last error: %s\n", error);
	}
}

void show_statistics(FILE *out, const json_t *result)
{
	static const char *const groups[] = {"packets",	   "octets", "notes",
					     "interfaces", "flows",  "fragments"};
	const json_t *ledger = json_object_get(result, "ledger");
	const char *version = json_string_value(json_object_get(result, "version"));

	fprintf(out, "pitot %s, running for %.1f s\n", version ? version : "",
		json_number_value(json_object_get(result, "seconds")));
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		show_tree(out, groups[i], json_object_get(result, groups[i]));
	show_collectors(out, json_object_get(result, "collectors"));
	if (json_is_true(json_object_get(ledger, "balanced")))
		fprintf(out, "The ledger is balanced.\n");
	else
		fprintf(out, "THE LEDGER IS NOT BALANCED: %s\n",
			show_string(ledger, "unbalanced", "please report this as a bug"));
}

void show_interfaces(FILE *out, const json_t *result)
{
	size_t i;
	json_t *n;

	fprintf(out, "%-18s %10s  %s\n", "interface", "index", "description");
	json_array_foreach((json_t *)result, i, n)
		fprintf(out, "%-18s %10" JSON_INTEGER_FORMAT "  %s\n", show_string(n, "name", ""),
			show_integer(n, "index"), show_string(n, "description", ""));
}

void show_values(FILE *out, const json_t *result)
{
	const char *name;
	json_t *value;

	if (json_is_string(result))
		fputs(json_string_value(result), out);
	if (!json_is_object(result))
		return;
	json_object_foreach((json_t *)result, name, value)
	{
		if (json_is_string(value))
			fprintf(out, "%s=%s\n", name, json_string_value(value));
		else
			fprintf(out, "%s=%g\n", name, json_number_value(value));
	}
}
