/* timeouts_parse: see include/pitot/timeouts.h. */
#include "pitot/timeouts.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_internal.h"

/* Names of time-outs, softflowd's among them; those without a member say what to do instead. */
static const struct timeout_name {
	const char *name;
	size_t offset;
	const char *instead;
} timeout_names[] = {
	{"active", offsetof(struct timeouts, active_ns), NULL},
	{"inactive", offsetof(struct timeouts, inactive_ns), NULL},
	{"tcp-end", offsetof(struct timeouts, tcp_end_ns), NULL},
	{"maxlife", offsetof(struct timeouts, active_ns), NULL},
	{"general", offsetof(struct timeouts, inactive_ns), NULL},
	{"tcp.fin", offsetof(struct timeouts, tcp_end_ns), NULL},
	{"tcp.rst", offsetof(struct timeouts, tcp_end_ns), NULL},
	{"tcp", 0, "one idle time-out holds for all protocols: use inactive (and tcp-end after FIN or RST)"},
	{"udp", 0, "one idle time-out holds for all protocols: use inactive"},
	{"icmp", 0, "one idle time-out holds for all protocols: use inactive"},
	{"expint", 0, "records leave as soon as they end: leave it out"},
};

static int timeouts_set(struct timeouts *all, const char *name, const char *value, const char *label,
			struct diag *diag)
{
	const struct timeout_name *t = NULL;
	uint64_t *member;
	char what[192];

	for (unsigned i = 0; i < sizeof(timeout_names) / sizeof(timeout_names[0]); i++) {
		if (strcmp(timeout_names[i].name, name) == 0)
			t = &timeout_names[i];
	}
	if (!t)
		return diag_set(diag, CONFIG_E_USAGE,
				"%s: '%.80s' is not a time-out; there are active, inactive and tcp-end",
				label, name);
	if (t->instead)
		return diag_set(diag, CONFIG_E_USAGE, "%s: %s is softflowd's: %s", label, name, t->instead);
	member = (uint64_t *)(void *)((char *)all + t->offset);
	if (t->offset == offsetof(struct timeouts, tcp_end_ns) && strcmp(value, "off") == 0) {
		*member = TIMEOUT_OFF;
		return 0;
	}
	snprintf(what, sizeof(what), "%s: %s", label, name);
	return config_value_seconds(member, value, TIMEOUT_LEAST_NS, TIMEOUT_MOST_NS, what, diag);
}

static void timeouts_free_text(char **text)
{
	free(*text);
}

int timeouts_parse(struct timeouts *all, const char *text, const char *label, struct diag *diag)
{
	char *list __attribute__((cleanup(timeouts_free_text))) = strdup(text);
	char *save = NULL;
	int r;

	if (!list)
		return diag_set(diag, -ENOMEM, "%s: %s", label, strerror(ENOMEM));
	if (!text[0] || text[0] == ',' || text[strlen(text) - 1] == ',' || strstr(text, ",,"))
		return diag_set(diag, CONFIG_E_USAGE,
				"%s: '%.80s' has an empty part; write NAME=SECONDS[,...]", label, text);
	for (char *part = strtok_r(list, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
		char *equals = strchr(part, '=');

		if (!equals)
			return diag_set(diag, CONFIG_E_USAGE,
					"%s: '%.80s' does not say which time-out: write active=SECONDS, "
					"inactive=SECONDS or "
					"tcp-end=SECONDS",
					label, part);
		*equals = '\0';
		r = timeouts_set(all, part, equals + 1, label, diag);
		if (r)
			return r;
	}
	return 0;
}
