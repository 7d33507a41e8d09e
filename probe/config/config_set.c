/* config_set: what one setting does to struct config, by kind. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/config_internal.h"
#include "pitot/clock.h"
#include "pitot/timeouts.h"

const struct config_choice config_choices[] = {
#define CHOICE(kind, word, value) {KIND_##kind, word, value},
#include "config/choices.def"
#define FORMAT(NAME, name, text, number, port, carriers, only) {KIND_FORMAT, number, FORMAT_##NAME},
#include "pitot/formats.def"
#define FORMAT(NAME, name, text, number, port, carriers, only)                                               \
	{KIND_FORMAT, (port) ? #name : NULL, FORMAT_##NAME},
#include "pitot/formats.def"
};
const unsigned config_choices_count = sizeof(config_choices) / sizeof(config_choices[0]);

_Static_assert(sizeof(enum export_format) == sizeof(int), "a choice is written as an int");
_Static_assert(sizeof(enum config_action) == sizeof(int), "a choice is written as an int");

static int set_choice(int *out, const char *value, const struct config_row *row, const char *label,
		      struct diag *diag)
{
	for (unsigned i = 0; i < config_choices_count; i++) {
		const struct config_choice *c = &config_choices[i];

		if (c->kind == row->kind && c->word && strcasecmp(c->word, value) == 0) {
			*out = c->value;
			return 0;
		}
	}
	return diag_set(diag, CONFIG_E_USAGE, "%s: '%.80s' is none of %s", label, value, row->argument);
}

/* A number, or a word that means 0. */
static int set_number_or(uint32_t *out, const char *word, const char *value, const struct config_row *row,
			 const char *label, struct diag *diag)
{
	uint64_t n = 0;

	if (strcmp(value, word) != 0 && config_value_number(&n, value, row->min, row->max, label, diag))
		return diag_set(diag, CONFIG_E_USAGE,
				"%s: '%.80s' is neither %s nor a number from %llu to %llu", label, value,
				word, (unsigned long long)row->min, (unsigned long long)row->max);
	*out = (uint32_t)n;
	return 0;
}

/* [KIND:]N; 0 is softflowd's word for all. */
static int set_sample(struct config_sample *out, const char *value, const struct config_row *row,
		      const char *label, struct diag *diag)
{
	static const struct {
		const char *name;
		int value;
	} kinds[] = {{"random:", CONFIG_SAMPLE_RANDOM},
		     {"systematic:", CONFIG_SAMPLE_SYSTEMATIC},
		     {"hash:", CONFIG_SAMPLE_HASH}};
	const char *number = strchr(value, ':') ? strchr(value, ':') + 1 : value;
	int kind = number == value ? CONFIG_SAMPLE_RANDOM : CONFIG_SAMPLE_ALL;
	uint64_t n;

	for (unsigned i = 0; number != value && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strncasecmp(value, kinds[i].name, strlen(kinds[i].name)) &&
		    strlen(kinds[i].name) == (size_t)(number - value))
			kind = kinds[i].value;
	if (kind == CONFIG_SAMPLE_ALL)
		return diag_set(diag, CONFIG_E_USAGE,
				"%s: '%.80s' is none of N, random:N, systematic:N and hash:N", label, value);
	if (!strcmp(number, "0"))
		number = "1";
	if (config_value_number(&n, number, row->min, row->max, label, diag))
		return CONFIG_E_USAGE;
	*out = (struct config_sample){n == 1 ? CONFIG_SAMPLE_ALL : kind, (uint32_t)n};
	return 0;
}

/* The agent of sFlow: collectors tell hosts apart by it. */
static int set_address(char **out, const char *value, const char *label, struct diag *diag)
{
	const char *what = config_address_is(value, CONFIG_UNSPECIFIED | CONFIG_MULTICAST | CONFIG_BROADCAST);
	uint8_t address[16];

	if (inet_pton(AF_INET, value, address) != 1 && inet_pton(AF_INET6, value, address) != 1)
		return diag_set(diag, CONFIG_E_USAGE, "%s: '%.80s' is no IPv4 or IPv6 address", label, value);
	if (what)
		return diag_set(
			diag, CONFIG_E_USAGE,
			"%s: '%.80s' is %s: collectors tell hosts apart by it, so it must be one of a host",
			label, value, what);
	return config_copy(out, value, diag);
}

static int set_size(uint64_t *out, const char *value, const struct config_row *row, const char *label,
		    struct diag *diag)
{
	if (!strcmp(row->preset, "auto") && !strcmp(value, "auto")) {
		*out = 0;
		return 0;
	}
	return config_value_size(out, value, row->min, row->max, label, diag);
}

/* Numbers, sizes and durations. */
static int set_number(const struct config_row *row, void *member, const char *value, const char *label,
		      struct diag *diag)
{
	uint32_t n32 = 0;
	uint64_t n = 0;
	int r;

	switch (row->kind) {
	case KIND_U32:
		r = config_value_number(&n, value, row->min, row->max, label, diag);
		*(uint32_t *)member = r ? *(uint32_t *)member : (uint32_t)n;
		return r;
	case KIND_INT:
		r = config_value_number(&n, value, row->min, row->max, label, diag);
		*(int *)member = r ? *(int *)member : (int)n;
		return r;
	case KIND_MTU:
		return set_number_or(member, "auto", value, row, label, diag);
	case KIND_WORKERS:
		r = set_number_or(&n32, "auto", value, row, label, diag);
		*(unsigned *)member = r ? *(unsigned *)member : n32;
		return r;
	case KIND_SIZE:
		return set_size(member, value, row, label, diag);
	case KIND_SECONDS:
		return config_value_seconds(member, value, row->min * NS_PER_SEC, row->max * NS_PER_SEC,
					    label, diag);
	default: /* KIND_ACTIVE, KIND_INACTIVE */
		return config_value_seconds(member, value, TIMEOUT_LEAST_NS, TIMEOUT_MOST_NS, label, diag);
	}
}

static int set_text(struct config_build *b, const struct config_row *row, char **member, const char *value,
		    const char *label, struct diag *diag)
{
	bool is_filter = row->offset == offsetof(struct config, filter);

	if (row->kind == KIND_ADDRESS)
		return set_address(member, value, label, diag);
	if (row->kind == KIND_CPUS && config_cpu(value, 0) < 0)
		return diag_set(diag, CONFIG_E_USAGE, "%s: '%.80s' is no list of processors, such as 2,4-7",
				label, value);
	if (!value[0] && !is_filter)
		return diag_set(diag, CONFIG_E_USAGE, "%s: the value is empty", label);
	b->filter_replaced |= b->command_line && is_filter;
	return config_copy(member, value, diag);
}

static int set_value(struct config_build *b, const struct config_row *row, void *member, const char *value,
		     const char *label, struct diag *diag)
{
	switch (row->kind) {
	case KIND_U32:
	case KIND_INT:
	case KIND_MTU:
	case KIND_WORKERS:
	case KIND_SIZE:
	case KIND_SECONDS:
	case KIND_ACTIVE:
	case KIND_INACTIVE:
		return set_number(row, member, value, label, diag);
	case KIND_TEXT:
	case KIND_CONFIG_FILE:
	case KIND_CPUS:
	case KIND_ADDRESS:
		return set_text(b, row, member, value, label, diag);
	case KIND_SAMPLE:
		return set_sample(member, value, row, label, diag);
	case KIND_TIMEOUT:
		return config_set_timeout(b->c, value, label, diag);
	case KIND_DECAPSULATE:
		return config_set_decapsulate(b->c, value, label, diag);
	case KIND_FLOW_KEY:
		return config_set_flow_key(b->c, value, label, diag);
	case KIND_POLITE:
		return config_set_polite(b->c, value, label, diag);
	case KIND_SOURCE:
		return config_set_source(b->c, value, label, diag);
	case KIND_INTERFACE:
		return config_add_interface(b, value, label, diag);
	case KIND_FILES:
		return config_add_file(b, value, label, diag);
	case KIND_COLLECTOR:
		return config_add_url(b, value, label, diag);
	default:
		return diag_set(diag, CONFIG_E_USAGE, "%s: takes no value", label);
	}
}

static int set_switch(struct config_build *b, const struct config_row *row, bool *member, const char *value,
		      const char *label, struct diag *diag)
{
	struct config *c = b->c;
	bool on;
	int r = config_value_switch(&on, value, label, diag);

	if (r)
		return r;
	*member = on;
	/* --foreground and --daemon are one switch: the later one counts */
	if (on && row->kind == KIND_FOREGROUND)
		c->daemon = false;
	if (on && row->kind == KIND_DAEMON)
		c->foreground = false;
	return 0;
}

int config_set(struct config_build *b, const struct config_row *row, const char *value, const char *label,
	       struct diag *diag)
{
	void *member = (char *)b->c + row->offset;
	int r;

	switch (config_row_manner(row)) {
	case MANNER_SWITCH:
		return set_switch(b, row, member, value, label, diag);
	case MANNER_CHOICE:
		return set_choice(member, value, row, label, diag);
	case MANNER_TEXT:
	case MANNER_VALUE:
		return set_value(b, row, member, value, label, diag);
	case MANNER_ACTION:
		break;
	}
	if (value)
		return diag_set(diag, CONFIG_E_USAGE, "%s: takes no value", label);
	r = set_choice(member, "", row, label, diag);
	b->help |= b->c->action == CONFIG_HELP || b->c->action == CONFIG_VERSION;
	return r;
}

int config_mistake(struct config_build *b, int r, struct diag *diag)
{
	if (r != CONFIG_E_USAGE || !b->listener)
		return r;
	b->listener->mistake(diag->text);
	return ++b->n_mistakes < CONFIG_MISTAKES_MAX ? 0 : r;
}
