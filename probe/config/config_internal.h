/*
 * config_internal: what the files of this folder share.
 *
 * A row of options.def becomes a struct config_row.  A struct config_build gathers what the user says, first
 * the defaults, then the file, then the command line; config_finish() checks it as a whole.
 */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pitot/config.h"

enum config_kind {
	KIND_GROUP, /* a title in --help */
#define KIND(NAME, type, manner) KIND_##NAME,
#include "config/kinds.def"
	KIND_COUNT
};

enum config_manner { MANNER_VALUE, MANNER_TEXT, MANNER_CHOICE, MANNER_ACTION, MANNER_SWITCH };

enum { FLAG_MANY = 1, FLAG_CLI = 2, FLAG_RELOAD = 4 };

struct config_row {
	const char *name; /* KIND_GROUP: the title */
	const char *argument;
	const char *preset; /* the default */
	const char *help;
	uint64_t min, max;
	size_t offset; /* of the member in struct config */
	size_t size;
	enum config_kind kind;
	unsigned flags;
	char letter;
};

extern const struct config_row config_rows[];
extern const unsigned config_rows_count;

const struct config_row *config_row_by_name(const char *name, size_t len);
const struct config_row *config_row_by_letter(char letter);
const struct config_row *config_row_nearest(const char *name, size_t len); /* NULL: nothing is near */
bool config_row_is_switch(const struct config_row *row); /* takes no value on the command line */
bool config_row_is_text(const struct config_row *row);	 /* its member is a string of its own */

enum config_manner config_row_manner(const struct config_row *row);

/* A word that options of a kind take. */
struct config_choice {
	enum config_kind kind;
	const char *word;
	int value;
};
extern const struct config_choice config_choices[];
extern const unsigned config_choices_count;

/* One of a MANY list. */
struct config_text {
	char *text;
	char label[384]; /* what the user calls it: "--collector (-n)", "pitot.conf:3: collector" */
};

struct config_build {
	struct config *c;
	struct config_text *urls; /* parsed last: they need --format */
	unsigned n_urls;
	bool command_line;    /* who is speaking */
	bool inputs_replaced; /* the command line's lists replace those of the file */
	bool urls_replaced;
	bool filter_replaced;
	char *words;				/* the trailing words */
	bool has_unknown;			/* an option that there is not: words may be its value */
	bool help;				/* --help or --version: nothing else matters */
	bool again;				/* the program runs, and may wait for nothing */
	const struct config_listener *listener; /* NULL: the first mistake ends it */
	unsigned n_mistakes;
};

enum { CONFIG_MISTAKES_MAX = 20 };

/*
 * What to go on with after r: with a listener a mistake is told and counted, and 0 comes back, until there
 * are too many to be of use.
 */
int config_mistake(struct config_build *b, int r, struct diag *diag);

/* One setting; label begins the sentence about it.  value is NULL for a switch without one. */
int config_set(struct config_build *b, const struct config_row *row, const char *value, const char *label,
	       struct diag *diag);

/* The kinds that are more than a number: config_list.c. */
int config_set_timeout(struct config *c, const char *value, const char *label, struct diag *diag);
int config_set_flow_key(struct config *c, const char *value, const char *label, struct diag *diag);
int config_set_decapsulate(struct config *c, const char *value, const char *label, struct diag *diag);
int config_set_polite(struct config *c, const char *value, const char *label, struct diag *diag);
/* Whether a word behind --polite is its value. */
bool config_is_polite_value(const char *word);
int config_set_source(struct config *c, const char *value, const char *label, struct diag *diag);
int config_add_interface(struct config_build *b, const char *value, const char *label, struct diag *diag);
int config_add_file(struct config_build *b, const char *value, const char *label, struct diag *diag);
int config_add_url(struct config_build *b, const char *value, const char *label, struct diag *diag);
int config_copy(char **dst, const char *value, struct diag *diag);
void config_free_text(char **text); /* for cleanup attributes */
void config_clear_inputs(struct config *c);

/* Values.  Each 0 or CONFIG_E_USAGE with a sentence that begins with the label. */
int config_value_number(uint64_t *out, const char *text, uint64_t min, uint64_t max, const char *label,
			struct diag *diag);
int config_value_size(uint64_t *out, const char *text, uint64_t min, uint64_t max, const char *label,
		      struct diag *diag);
int config_value_seconds(uint64_t *out_ns, const char *text, uint64_t min_ns, uint64_t max_ns,
			 const char *label, struct diag *diag);
int config_value_switch(bool *out, const char *text, const char *label, struct diag *diag);

/* The command line: settings one after the other, then the words. */
struct config_args {
	int argc;
	char **argv;
	int i;
	const char *cluster; /* the rest of -abc */
	bool only_words;     /* after -- */
};

struct config_arg {
	const struct config_row *row; /* NULL: a word */
	const char *value;	      /* of the option; NULL for a switch without one; or the word */
	char label[64];
};

/* 0, -ENOENT after the last one, or CONFIG_E_USAGE. */
int config_args_next(struct config_args *a, struct config_arg *arg, struct diag *diag);

/* Files. */
int config_file_apply(struct config_build *b, const char *name, const char *text, size_t size,
		      struct diag *diag);
int config_file_read(struct config_build *b, const char *path, struct diag *diag);

/* The collectors, then every check that needs more than one option. */
int config_finish(struct config_build *b, struct diag *diag);

#endif
