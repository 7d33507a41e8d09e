/* config_check: the collectors, and what no option can see alone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/config_internal.h"

static bool check_same_collector(const struct collector_config *a, const struct collector_config *b)
{
	if (a->transport != b->transport)
		return false;
	if (a->transport == TRANSPORT_FILE)
		return strcmp(a->path, b->path) ==
		       0; /* they would overwrite each other, whatever the format */
	return a->format == b->format && a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

static int check_collectors(struct config_build *b, struct diag *diag)
{
	struct config *c = b->c;
	unsigned n = b->n_urls ? b->n_urls : 1;
	struct diag why;

	c->collectors = calloc(n, sizeof(*c->collectors));
	if (!c->collectors)
		return diag_set(diag, -ENOMEM, "--collector: %s", strerror(ENOMEM));
	c->n_collectors = n;
	if (!b->n_urls) /* the template of a table would tell nothing */
		return collector_parse(&c->collectors[0], c->action == CONFIG_PRINT_TEMPLATE ? "localhost" : "text:-",
				       c->format, diag);
	for (unsigned i = 0; i < n; i++) {
		if (collector_parse(&c->collectors[i], b->urls[i].text, c->format, &why))
			return diag_set(diag, CONFIG_E_USAGE, "%s: %s", b->urls[i].label, why.text);
		for (unsigned j = 0; j < i; j++) {
			if (check_same_collector(&c->collectors[i], &c->collectors[j]))
				return diag_set(diag, CONFIG_E_USAGE,
						"%s: %s and %s are the same destination", b->urls[i].label,
						b->urls[j].text, b->urls[i].text);
		}
	}
	return 0;
}

static int check_input(const struct config *c, struct diag *diag)
{
	if (c->action != CONFIG_RUN && c->action != CONFIG_DRY_RUN)
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

static int check_daemon(const struct config *c, struct diag *diag)
{
	if (!c->daemon || c->action != CONFIG_RUN)
		return 0;
	for (unsigned i = 0; i < c->n_collectors; i++) {
		if (c->collectors[i].transport == TRANSPORT_FILE && strcmp(c->collectors[i].path, "-") == 0)
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

static bool check_ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n > m && strcmp(text + n - m, end) == 0;
}

/* The trailing words become the filter. */
static int check_filter(struct config_build *b, struct diag *diag)
{
	struct config *c = b->c;

	if (b->words) {
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

int config_finish(struct config_build *b, struct diag *diag)
{
	int r;

	r = check_filter(b, diag);
	if (!r)
		r = check_input(b->c, diag);
	if (!r)
		r = check_collectors(b, diag);
	if (!r)
		r = check_daemon(b->c, diag);
	return r;
}
