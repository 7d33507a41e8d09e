/* show: see show.h. */
#include "show.h"

#include <inttypes.h>
#include <string.h>

#include "pitot/protocol.h"

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

uint64_t show_count(const json_t *from, const char *group, const char *name)
{
	return (uint64_t)show_integer(json_object_get(from, group), name);
}

void show_collectors(struct show *s, const json_t *result)
{
	FILE *out = s->out;
	size_t i;
	json_t *c;

	fprintf(out, "%-40s %-10s %12s %12s %12s %8s\n", "collector", "state", "records", "waiting",
		"not sent", "errors");
	json_array_foreach((json_t *)result, i, c)
	{
		const char *error = json_string_value(json_object_get(c, "last_error"));

		fprintf(out,
			"%-40s %-10s %12" JSON_INTEGER_FORMAT " %12" JSON_INTEGER_FORMAT
			" %12" JSON_INTEGER_FORMAT " %8" JSON_INTEGER_FORMAT "\n",
			show_string(c, "url", ""), show_string(c, "state", ""), show_integer(c, "records"),
			show_integer(c, "pending"), show_integer(json_object_get(c, "not_sent"), "records"),
			show_integer(c, "errors"));
		if (error)
			fprintf(out, "  last error: %s\n", error);
	}
}

void show_statistics(struct show *s, const json_t *result)
{
	FILE *out = s->out;
	const json_t *ledger = json_object_get(result, "ledger");
	const char *group;
	json_t *numbers;

	fprintf(out, "pitot %s, running for %.1f s\n", show_string(result, "version", ""),
		json_number_value(json_object_get(result, "seconds")));
	json_object_foreach((json_t *)result, group,
			    numbers) if (json_is_object(numbers) && numbers != ledger)
		show_tree(out, group, numbers);
	show_collectors(s, json_object_get(result, "collectors"));
	if (json_is_true(json_object_get(ledger, "balanced")))
		fprintf(out, "The ledger is balanced.\n");
	else
		fprintf(out, "THE LEDGER IS NOT BALANCED: %s\n",
			show_string(ledger, "unbalanced", "please report this as a bug"));
}

void show_interfaces(struct show *s, const json_t *result)
{
	FILE *out = s->out;
	size_t i;
	json_t *n;

	fprintf(out, "%-18s %10s  %s\n", "interface", "index", "description");
	json_array_foreach((json_t *)result, i, n)
		fprintf(out, "%-18s %10" JSON_INTEGER_FORMAT "  %s\n", show_string(n, "name", ""),
			show_integer(n, "index"), show_string(n, "description", ""));
}

void show_values(struct show *s, const json_t *result)
{
	FILE *out = s->out;
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
		else if (json_is_integer(value))
			fprintf(out, "%s=%" JSON_INTEGER_FORMAT "\n", name, json_integer_value(value));
		else if (json_is_null(value))
			fprintf(out, "%s=off\n", name);
		else
			fprintf(out, "%s=%.10g\n", name, json_number_value(value));
	}
}

void show_nothing(struct show *s, const json_t *result)
{
	(void)s;
	(void)result;
}

const char *show_short(char text[16], double n)
{
	static const char units[] = "kMGTPE";
	unsigned unit = 0;

	if (n < 1000) {
		snprintf(text, 16, "%.0f", n);
		return text;
	}
	for (n /= 1000; n >= 999.5 && unit < sizeof(units) - 2; unit++)
		n /= 1000;
	snprintf(text, 16, "%.*f%c", n < 9.995 ? 2 : n < 99.95 ? 1 : 0, n, units[unit]);
	return text;
}

/* A number behind an IPv6 address could be its last part, were there no brackets. */
static void show_end(char out[SHOW_END], const char *address, const char *number)
{
	if (*number && strchr(address, ':'))
		snprintf(out, SHOW_END, "[%.45s]:%.11s", address, number);
	else
		snprintf(out, SHOW_END, "%.45s%s%.11s", address, *number ? ":" : "", number);
}

void show_ends(const json_t *f, char src[SHOW_END], char dst[SHOW_END])
{
	uint8_t protocol = (uint8_t)show_integer(f, "protocol");
	unsigned from = (uint16_t)show_integer(f, "src_port"), to = (uint16_t)show_integer(f, "dst_port");
	char first[12] = "", second[12] = "";

	if (protocol_has_type(protocol)) {
		snprintf(second, sizeof(second), "%u.%u", to >> 8, to & 255u);
	} else if (protocol_has_ports(protocol)) {
		snprintf(first, sizeof(first), "%u", from);
		snprintf(second, sizeof(second), "%u", to);
	}
	show_end(src, show_string(f, "src", ""), first);
	show_end(dst, show_string(f, "dst", ""), second);
}

static void show_flow(FILE *out, const json_t *f)
{
	char src[SHOW_END], dst[SHOW_END], name[PROTOCOL_TEXT], packets[16], octets[16], rate[16];

	show_ends(f, src, dst);
	fprintf(out, "%-5s %-21s %-21s %7s %7s %7.0f %5s\n",
		protocol_word(name, (uint8_t)show_integer(f, "protocol")), src, dst,
		show_short(packets, json_number_value(json_object_get(f, "packets"))),
		show_short(octets, json_number_value(json_object_get(f, "octets"))),
		json_number_value(json_object_get(f, "age")),
		show_short(rate, json_number_value(json_object_get(f, "rate"))));
}

void show_flows(struct show *s, const json_t *result)
{
	size_t i;
	json_t *f;

	if (!s->begun)
		fprintf(s->out, "%-5s %-21s %-21s %7s %7s %7s %5s\n", "proto", "source", "destination",
			"packets", "octets", "age s", "bit/s");
	s->begun = true;
	json_array_foreach((json_t *)result, i, f) show_flow(s->out, f);
	if (json_is_object(result))
		fprintf(s->out,
			"%" JSON_INTEGER_FORMAT " flows in the table, %" JSON_INTEGER_FORMAT
			" selected, %" JSON_INTEGER_FORMAT " listed\n",
			show_integer(result, "looked"), show_integer(result, "selected"),
			show_integer(result, "listed"));
}

static void show_template(FILE *out, const json_t *t)
{
	size_t i;
	json_t *f;

	fprintf(out, "%s: template %" JSON_INTEGER_FORMAT ", %s\n", show_string(t, "collector", ""),
		show_integer(t, "id"),
		json_is_true(json_object_get(t, "options")) ? "options" : "flow records");
	json_array_foreach(json_object_get(t, "fields"), i, f)
	{
		json_int_t pen = show_integer(f, "pen"), length = show_integer(f, "length");

		fprintf(out, "  ");
		if (pen)
			fprintf(out, "%" JSON_INTEGER_FORMAT "/", pen);
		fprintf(out, "%-5" JSON_INTEGER_FORMAT " %-40s ", show_integer(f, "id"),
			show_string(f, "name", ""));
		if (length == 65535)
			fprintf(out, "variable\n");
		else
			fprintf(out, "%" JSON_INTEGER_FORMAT "\n", length);
	}
}

void show_templates(struct show *s, const json_t *result)
{
	size_t i;
	json_t *t;

	json_array_foreach((json_t *)result, i, t) show_template(s->out, t);
}
