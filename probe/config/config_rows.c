/* config_rows: options.def as a table, and looking options up in it. */
#include <string.h>

#include "config/config_internal.h"

#define MANY	     FLAG_MANY
#define CLI	     FLAG_CLI
#define RELOAD	     FLAG_RELOAD
#define MANY_RELOAD  (FLAG_MANY | FLAG_RELOAD)
#define GROUP(title) {.name = title, .kind = KIND_GROUP},
#define OPTION(name_, letter_, argument_, kind_, member, min_, max_, preset_, flags_, help_)                 \
	{.name = name_,                                                                                      \
	 .letter = letter_,                                                                                  \
	 .argument = argument_,                                                                              \
	 .kind = KIND_##kind_,                                                                               \
	 .offset = offsetof(struct config, member),                                                          \
	 .size = sizeof(((struct config *)0)->member),                                                       \
	 .min = UINT64_C(min_),                                                                              \
	 .max = UINT64_C(max_),                                                                              \
	 .preset = preset_,                                                                                  \
	 .flags = flags_,                                                                                    \
	 .help = help_},
const struct config_row config_rows[] = {
#include "pitot/options.def"
};
#undef OPTION
#undef GROUP

/* A row whose member is not of its kind's type does not compile. */
#define KIND(NAME, type, manner) typedef type config_type_##NAME;
#include "config/kinds.def"
#define GROUP(title)
#define OPTION(name, letter, argument, kind, member, min, max, preset, flags, help)                          \
	_Static_assert(_Generic(((struct config *)0)->member, config_type_##kind : 1, default : 0),          \
		       "the member of " name " has another type than its kind");
#include "pitot/options.def"
#undef OPTION
#undef GROUP

const unsigned config_rows_count = sizeof(config_rows) / sizeof(config_rows[0]);

const struct config_row *config_row_by_name(const char *name, size_t len)
{
	for (unsigned i = 0; i < config_rows_count; i++) {
		const struct config_row *row = &config_rows[i];

		if (row->kind != KIND_GROUP && strlen(row->name) == len && memcmp(row->name, name, len) == 0)
			return row;
	}
	return NULL;
}

const struct config_row *config_row_by_letter(char letter)
{
	for (unsigned i = 0; i < config_rows_count; i++) {
		if (letter && config_rows[i].letter == letter)
			return &config_rows[i];
	}
	return NULL;
}

enum config_manner config_row_manner(const struct config_row *row)
{
	static const enum config_manner manners[KIND_COUNT] = {
#define KIND(NAME, type, manner) [KIND_##NAME] = MANNER_##manner,
#include "config/kinds.def"
	};

	return manners[row->kind];
}

bool config_row_is_text(const struct config_row *row)
{
	return config_row_manner(row) == MANNER_TEXT;
}

bool config_row_is_switch(const struct config_row *row)
{
	return !row->argument || !row->argument[0];
}

/* Insertions, deletions and replacements that turn one name into the other. */
static unsigned config_row_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned row[64];

	if (a_len >= 64 || b_len >= 64)
		return 64;
	for (unsigned j = 0; j <= b_len; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a_len; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= b_len; j++) {
			unsigned best = diagonal + (a[i - 1] != b[j - 1]);

			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[b_len];
}

const struct config_row *config_row_nearest(const char *name, size_t len)
{
	const struct config_row *nearest = NULL;
	unsigned least = len < 8 ? 1 + (unsigned)(len + 1) / 3 : 4; /* farther is no likeness */

	for (unsigned i = 0; i < config_rows_count; i++) {
		const struct config_row *row = &config_rows[i];
		size_t row_len = strlen(row->name);
		unsigned distance;

		if (row->kind == KIND_GROUP)
			continue;
		distance = config_row_distance(name, len, row->name, row_len);
		if (len >= 2 && len < row_len && memcmp(row->name, name, len) == 0)
			distance = 1; /* an abbreviation */
		if (distance < least && distance < row_len) {
			least = distance;
			nearest = row;
		}
	}
	return nearest;
}
