/* config_help: --help from options.def, 80 columns wide. */
#include <stdio.h>
#include <string.h>

#include "config/config_internal.h"

enum { HELP_INDENT = 30, HELP_WIDTH = 79 };

struct help {
	void (*print)(void *ctx, const char *line);
	void *ctx;
	char line[256];
	size_t len;
};

static void help_flush(struct help *h)
{
	h->print(h->ctx, h->line);
	h->len = 0;
	h->line[0] = '\0';
}

static void help_append(struct help *h, const char *text, size_t len)
{
	if (len >= sizeof(h->line) - h->len)
		len = sizeof(h->line) - h->len - 1;
	memcpy(h->line + h->len, text, len);
	h->len += len;
	h->line[h->len] = '\0';
}

static void help_pad(struct help *h)
{
	while (h->len < HELP_INDENT)
		help_append(h, " ", 1);
}

/* The words of text from the indent on, line after line; the last one stays open. */
static void help_wrap(struct help *h, const char *text)
{
	while (*text) {
		size_t word = strcspn(text, " ");

		if (h->len > HELP_INDENT && h->len + 1 + word > HELP_WIDTH)
			help_flush(h);
		if (h->len > HELP_INDENT)
			help_append(h, " ", 1);
		help_pad(h);
		help_append(h, text, word);
		text += word;
		text += strspn(text, " ");
	}
}

static void help_option(struct help *h, const struct config_row *row)
{
	char head[96], preset[80];

	snprintf(head, sizeof(head), row->letter ? "  -%c, --%s %s" : "  %c   --%s %s",
		 row->letter ? row->letter : ' ', row->name, row->argument);
	help_append(h, head, strlen(head));
	while (h->len && h->line[h->len - 1] == ' ')
		h->line[--h->len] = '\0';
	if (h->len > HELP_INDENT - 2)
		help_flush(h);
	help_pad(h);
	help_wrap(h, row->help);
	if (row->preset[0]) {
		snprintf(preset, sizeof(preset), "[%s]", row->preset);
		help_wrap(h, preset);
	}
	help_flush(h);
}

void config_help(void (*print)(void *ctx, const char *line), void *ctx)
{
	struct help h = {.print = print, .ctx = ctx};

	print(ctx, "Usage: pitot [OPTION]... [FILTER...]");
	print(ctx, "Measures packets and exports flow records: IPFIX, NetFlow v9, NetFlow v5.");
	for (unsigned i = 0; i < config_rows_count; i++) {
		if (config_rows[i].kind == KIND_GROUP) {
			print(ctx, "");
			snprintf(h.line, sizeof(h.line), "%s:", config_rows[i].name);
			help_flush(&h);
		} else {
			help_option(&h, &config_rows[i]);
		}
	}
	print(ctx, "");
	print(ctx, "Defaults are in [brackets].  pitot(8) has the whole story, and examples.");
}
