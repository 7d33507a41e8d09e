/* config_set: what one setting does to struct config, by kind. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/config_internal.h"
#include "pitot/clock.h"

struct choice {
	const char *name;
	int value;
};

static const struct choice capture_choices[] = {{"auto", CONFIG_CAPTURE_AUTO},
						{"afpacket", CONFIG_CAPTURE_AFPACKET},
						{"pcap", CONFIG_CAPTURE_PCAP},
						{"xdp", CONFIG_CAPTURE_XDP},
						{0}};
static const struct choice direction_choices[] = {
	{"in", CONFIG_DIRECTION_IN}, {"out", CONFIG_DIRECTION_OUT}, {"both", CONFIG_DIRECTION_BOTH}, {0}};
static const struct choice fanout_choices[] = {
	{"hash", CONFIG_FANOUT_HASH}, {"cpu", CONFIG_FANOUT_CPU}, {"rollover", CONFIG_FANOUT_ROLLOVER}, {0}};
static const struct choice log_choices[] = {{"auto", CONFIG_LOG_AUTO},
					    {"stderr", CONFIG_LOG_STDERR},
					    {"syslog", CONFIG_LOG_SYSLOG},
					    {"journal", CONFIG_LOG_JOURNAL},
					    {0}};
static const struct choice sandbox_choices[] = {
	{"on", CONFIG_SANDBOX_ON}, {"off", CONFIG_SANDBOX_OFF}, {"log", CONFIG_SANDBOX_LOG}, {0}};
static const struct choice group_choices[] = {{"replicate", CONFIG_GROUP_REPLICATE},
					      {"failover", CONFIG_GROUP_FAILOVER},
					      {"hash", CONFIG_GROUP_HASH},
					      {0}};
static const struct choice format_choices[] = {{"5", FORMAT_NETFLOW5},	      {"9", FORMAT_NETFLOW9},
					       {"10", FORMAT_IPFIX},	      {"netflow5", FORMAT_NETFLOW5},
					       {"netflow9", FORMAT_NETFLOW9}, {"ipfix", FORMAT_IPFIX},
					       {"sflow", FORMAT_SFLOW},	      {0}};

static int set_choice(int *out, const struct choice *choices, const char *value, const struct config_row *row,
		      const char *label, struct diag *diag)
{
	for (; choices->name; choices++) {
		if (strcasecmp(choices->name, value) == 0) {
			*out = choices->value;
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
	static const struct choice kinds[] = {{"random:", CONFIG_SAMPLE_RANDOM},
					      {"systematic:", CONFIG_SAMPLE_SYSTEMATIC},
					      {"hash:", CONFIG_SAMPLE_HASH},
					      {0}};
	const char *number = strchr(value, ':') ? strchr(value, ':') + 1 : value;
	int kind = number == value ? CONFIG_SAMPLE_RANDOM : CONFIG_SAMPLE_ALL;
	uint64_t n;

	for (const struct choice *k = kinds; number != value && k->name; k++)
		if (!strncasecmp(value, k->name, strlen(k->name)) &&
		    strlen(k->name) == (size_t)(number - value))
			kind = k->value;
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

static int set_address(char **out, const char *value, const char *label, struct diag *diag)
{
	uint8_t address[16];

	if (inet_pton(AF_INET, value, address) != 1 && inet_pton(AF_INET6, value, address) != 1)
		return diag_set(diag, CONFIG_E_USAGE, "%s: '%.80s' is no IPv4 or IPv6 address", label, value);
	return config_copy(out, value, diag);
}

static int set_value(struct config_build *b, const struct config_row *row, void *member, const char *value,
		     const char *label, struct diag *diag)
{
	struct config *c = b->c;
	uint32_t n32 = 0;
	uint64_t n = 0;
	int choice = 0, r;

	switch (row->kind) {
	case KIND_CAPTURE:
		return set_choice(member, capture_choices, value, row, label, diag);
	case KIND_COLLECTOR_GROUP:
		return set_choice(member, group_choices, value, row, label, diag);
	case KIND_DIRECTION:
		return set_choice(member, direction_choices, value, row, label, diag);
	case KIND_FANOUT:
		return set_choice(member, fanout_choices, value, row, label, diag);
	case KIND_LOG:
		return set_choice(member, log_choices, value, row, label, diag);
	case KIND_SANDBOX:
		return set_choice(member, sandbox_choices, value, row, label, diag);
	case KIND_FORMAT:
		r = set_choice(&choice, format_choices, value, row, label, diag);
		c->format = r ? c->format : (enum export_format)choice;
		return r;
	case KIND_U32:
		r = config_value_number(&n, value, row->min, row->max, label, diag);
		*(uint32_t *)member = r ? *(uint32_t *)member : (uint32_t)n;
		return r;
	case KIND_INT:
		r = config_value_number(&n, value, row->min, row->max, label, diag);
		*(int *)member = r ? *(int *)member : (int)n;
		return r;
	case KIND_SAMPLE:
		return set_sample(member, value, row, label, diag);
	case KIND_ADDRESS:
		return set_address(member, value, label, diag);
	case KIND_MTU:
		return set_number_or(member, "auto", value, row, label, diag);
	case KIND_WORKERS:
		r = set_number_or(&n32, "auto", value, row, label, diag);
		c->workers = r ? c->workers : n32;
		return r;
	case KIND_SIZE:
		if (!strcmp(row->preset, "auto") && !strcmp(value, "auto")) {
			*(uint64_t *)member = 0;
			return 0;
		}
		return config_value_size(member, value, row->min, row->max, label, diag);
	case KIND_SECONDS:
		return config_value_seconds(member, value, row->min * NS_PER_SEC, row->max * NS_PER_SEC,
					    label, diag);
	case KIND_ACTIVE:
	case KIND_INACTIVE:
		return config_value_seconds(member, value, NS_PER_MSEC, 31536000 * NS_PER_SEC, label, diag);
	case KIND_TEXT:
	case KIND_CONFIG_FILE:
		if (!value[0] && row->offset != offsetof(struct config, filter))
			return diag_set(diag, CONFIG_E_USAGE, "%s: the value is empty", label);
		b->filter_replaced |= b->command_line && row->offset == offsetof(struct config, filter);
		return config_copy(member, value, diag);
	case KIND_CPUS:
		if (config_cpu(value, 0) < 0)
			return diag_set(diag, CONFIG_E_USAGE,
					"%s: '%.80s' is no list of processors, such as 2,4-7", label, value);
		return config_copy(member, value, diag);
	case KIND_TIMEOUT:
		return config_set_timeout(c, value, label, diag);
	case KIND_DECAPSULATE:
		return config_set_decapsulate(c, value, label, diag);
	case KIND_FLOW_KEY:
		return config_set_flow_key(c, value, label, diag);
	case KIND_SOURCE:
		return config_set_source(c, value, label, diag);
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
	enum config_action action;

	switch (row->kind) {
	case KIND_SWITCH:
	case KIND_FOREGROUND:
	case KIND_DAEMON:
		return set_switch(b, row, member, value, label, diag);
	case KIND_HELP:
		action = CONFIG_HELP;
		break;
	case KIND_VERSION:
		action = CONFIG_VERSION;
		break;
	case KIND_LIST_FIELDS:
		action = CONFIG_LIST_FIELDS;
		break;
	case KIND_PRINT_TEMPLATE:
		action = CONFIG_PRINT_TEMPLATE;
		break;
	case KIND_DRY_RUN:
		action = CONFIG_DRY_RUN;
		break;
	case KIND_DOCTOR:
		action = CONFIG_DOCTOR;
		break;
	default:
		return set_value(b, row, member, value, label, diag);
	}
	if (value)
		return diag_set(diag, CONFIG_E_USAGE, "%s: takes no value", label);
	b->c->action = action;
	b->help |= action == CONFIG_HELP || action == CONFIG_VERSION;
	return 0;
}
