/*
 * view: what pitotctl top shows.  State from answers of pitot, and a screen from the state: both without a
 * terminal, so that screens are text in a unit test.
 */
#ifndef CTL_VIEW_H
#define CTL_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TOP_HISTORY = 120,
	TOP_ROWS = 500,
	TOP_INTERFACES = 4,
	TOP_COLLECTORS = 4,
	TOP_LINES = 300,
	TOP_LINE = 1024, /* octets */
	VIEW_NAME = 144, /* of a row */
};
enum top_view { TOP_FLOWS, TOP_TALKERS, TOP_PORTS, TOP_PROTOCOLS, TOP_VIEWS };
enum top_sort { TOP_BY_RATE, TOP_BY_OCTETS, TOP_BY_PACKETS, TOP_BY_AGE, TOP_SORTS };
extern const char *const view_sorts[TOP_SORTS]; /* as the flows command names them */

struct view_row {
	char name[VIEW_NAME];
	char filter[64]; /* what drilling down to it means */
	double rate, octets, packets, age;
};

struct view_interface {
	char name[64];
	double in, out;	    /* bit/s */
	uint64_t octets[2]; /* in, out: at the last look */
	bool known;
};

struct view_collector {
	char url[128], state[16];
	uint64_t records, not_sent, pending;
};

struct view {
	char version[32];
	double seconds;		  /* since pitot's start */
	double last_s;		  /* when it was last told of, on the clock of its caller; 0: never */
	uint64_t packets, octets; /* then */
	double pps, bps, cpu;	  /* cpu: per cent, of all its processes; below 0 unknown */
	unsigned n_history;
	double pps_history[TOP_HISTORY], bps_history[TOP_HISTORY]; /* the youngest last */
	uint64_t active, queued, dropped, lost, ignored;
	bool balanced;
	unsigned n_interfaces, n_collectors, n_rows;
	struct view_interface interfaces[TOP_INTERFACES];
	struct view_collector collectors[TOP_COLLECTORS];
	struct view_row rows[TOP_ROWS];
	/* the user's */
	enum top_view view;
	enum top_sort sort;
	bool paused, help, ascii, typing;
	unsigned cursor;
	char filter[256], typed[256], message[128];
};

struct view_screen {
	unsigned n;
	struct view_line {
		bool strong, reverse;
		char text[TOP_LINE];
	} lines[TOP_LINES];
};

/* The answers to "statistics" and "flows", which were got now_s ago from some beginning. */
void view_take_statistics(struct view *t, const json_t *statistics, double now_s);
void view_begin_flows(struct view *t);
void view_take_flows(struct view *t, const json_t *flows);
void view_end_flows(struct view *t);
/* An interface's octets since it is there. */
void view_take_interface(struct view *t, const char *name, uint64_t in, uint64_t out, double elapsed_s);
/* height lines of at most width columns each. */
void view_draw(const struct view *t, unsigned width, unsigned height, struct view_screen *s);

enum view_key { TOP_KEY_UP = 1000, TOP_KEY_DOWN, TOP_KEY_ENTER, TOP_KEY_ESCAPE, TOP_KEY_BACKSPACE };
/* False: the user wants to leave. */
bool view_key(struct view *t, int key);

#endif
