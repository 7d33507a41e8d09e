/* config: see include/pitot/config.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_internal.h"

static int config_defaults(struct config_build *b, struct diag *diag)
{
	for (unsigned i = 0; i < config_rows_count; i++) {
		const struct config_row *row = &config_rows[i];
		int r;

		if (row->kind == KIND_GROUP || !row->preset[0])
			continue;
		r = config_set(b, row, row->preset, row->name, diag);
		if (r)
			return r;
	}
	return 0;
}

static int config_add_word(struct config_build *b, const char *word, struct diag *diag)
{
	size_t old = b->words ? strlen(b->words) : 0, len = strlen(word);
	char *grown = realloc(b->words, old + len + 2);

	if (!grown)
		return diag_set(diag, -ENOMEM, "options: %s", strerror(ENOMEM));
	b->words = grown;
	if (old)
		grown[old++] = ' ';
	memcpy(grown + old, word, len + 1);
	return 0;
}

/* First a look for what comes before everything else: --help, --version, the configuration file. */
static int config_scan(struct config_build *b, int argc, char **argv, struct diag *diag)
{
	struct config_args args = {.argc = argc, .argv = argv, .i = 1};
	struct config_arg arg;
	int r;

	while (!b->help && (r = config_args_next(&args, &arg, diag)) != -ENOENT) {
		if (!r && arg.row &&
		    (arg.row->kind == KIND_HELP || arg.row->kind == KIND_VERSION ||
		     arg.row->kind == KIND_CONFIG_FILE))
			r = config_set(b, arg.row, arg.value, arg.label, diag);
		if (r < 0) /* a mistake is said when its turn comes */
			return r;
	}
	return 0;
}

static int config_apply(struct config_build *b, int argc, char **argv, struct diag *diag)
{
	struct config_args args = {.argc = argc, .argv = argv, .i = 1};
	struct config_arg arg;
	int r;

	b->command_line = true;
	while ((r = config_args_next(&args, &arg, diag)) != -ENOENT) {
		if (r == 0 && arg.row)
			r = config_set(b, arg.row, arg.value, arg.label, diag);
		else if (r == 0)
			r = config_add_word(b, arg.value, diag);
		b->has_unknown |= r == CONFIG_E_USAGE && !arg.row && !arg.value;
		r = config_mistake(b, r, diag);
		if (r)
			return r;
	}
	return 0;
}

static int config_finish_build(struct config_build *b, int r, struct diag *diag)
{
	if (!r && !b->help) {
		r = config_finish(b, diag);
		if (!r && b->listener && b->listener->check)
			b->n_mistakes += b->listener->check(b->c, b->listener->mistake);
	}
	/* what ended it is a mistake that nobody was told, unless there were too many */
	if (r == CONFIG_E_USAGE && b->n_mistakes < CONFIG_MISTAKES_MAX)
		(void)config_mistake(b, r, diag);
	if (!r && b->n_mistakes)
		r = CONFIG_E_USAGE;
	while (b->n_urls)
		free(b->urls[--b->n_urls].text);
	free(b->urls);
	free(b->words);
	if (r)
		config_deinit(b->c);
	return r;
}

static int config_build_all(struct config_build *b, int argc, char **argv, struct diag *diag)
{
	int r;

	*b->c = (struct config){.action = CONFIG_RUN};
	r = config_scan(b, argc, argv, diag);
	if (!r && !b->help)
		r = config_defaults(b, diag);
	if (!r && !b->help && b->c->config_path)
		r = config_file_read(b, b->c->config_path, diag);
	if (!r && !b->help)
		r = config_apply(b, argc, argv, diag);
	return config_finish_build(b, r, diag);
}

int config_parse_again(struct config *c, int argc, char **argv, struct diag *diag)
{
	struct config_build b = {.c = c, .again = true};

	return config_build_all(&b, argc, argv, diag);
}

int config_parse_all(struct config *c, int argc, char **argv, const struct config_listener *listener,
		     struct diag *diag)
{
	struct config_build b = {.c = c, .listener = listener};

	return config_build_all(&b, argc, argv, diag);
}

int config_parse_text(struct config *c, const char *name, const char *text, size_t size, struct diag *diag)
{
	struct config_build b = {.c = c};
	int r;

	*c = (struct config){.action = CONFIG_RUN};
	r = config_defaults(&b, diag);
	if (!r)
		r = config_file_apply(&b, name, text, size, diag);
	return config_finish_build(&b, r, diag);
}

void config_deinit(struct config *c)
{
	config_clear_inputs(c);
	free(c->collectors);
	free(c->source_host);
	for (unsigned i = 0; i < config_rows_count; i++) /* a text that a row has is freed by being one */
		if (config_row_is_text(&config_rows[i]))
			free(*(char **)((char *)c + config_rows[i].offset));
	*c = (struct config){.action = CONFIG_RUN};
}
