/* view: see view.h. */
#include "view.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "show.h"

#include "pitot/protocol.h"

static const char *const top_views[] = {"flows", "talkers", "ports", "protocols"};
const char *const view_sorts[TOP_SORTS] = {"rate", "octets", "packets", "age"};

/* ---- answers */

static void view_copy(char *to, size_t size, const json_t *text)
{
	snprintf(to, size, "%s", json_is_string(text) ? json_string_value(text) : "");
}

static void view_push(double *history, unsigned *n, bool count, double value)
{
	if (*n == TOP_HISTORY)
		memmove(history, history + 1, (TOP_HISTORY - 1) * sizeof(*history));
	history[*n == TOP_HISTORY ? TOP_HISTORY - 1 : *n] = value;
	*n += count && *n < TOP_HISTORY;
}

static void view_take_rates(struct view *t, const json_t *s, double now_s)
{
	uint64_t packets = show_count(s, "packets", "received"), octets = show_count(s, "octets", "received");

	if (t->last_s > 0 && now_s > t->last_s && packets >= t->packets && octets >= t->octets) {
		t->pps = (double)(packets - t->packets) / (now_s - t->last_s);
		t->bps = 8 * (double)(octets - t->octets) / (now_s - t->last_s);
		view_push(t->pps_history, &t->n_history, false, t->pps);
		view_push(t->bps_history, &t->n_history, true, t->bps);
	}
	t->last_s = now_s;
	t->packets = packets;
	t->octets = octets;
}

void view_take_statistics(struct view *t, const json_t *s, double now_s)
{
	size_t i;
	const char *name;
	json_t *c;

	view_copy(t->version, sizeof(t->version), json_object_get(s, "version"));
	t->seconds = json_number_value(json_object_get(s, "seconds"));
	view_take_rates(t, s, now_s);
	t->active = show_count(s, "flows", "active");
	t->queued = show_count(s, "flows", "queued");
	t->dropped = show_count(s, "packets", "dropped_by_kernel");
	t->lost = show_count(s, "flows", "not_sent");
	t->ignored = 0;
	json_object_foreach(json_object_get(json_object_get(s, "packets"), "ignored"), name, c) t->ignored +=
		(uint64_t)json_integer_value(c);
	t->balanced = json_is_true(json_object_get(json_object_get(s, "ledger"), "balanced"));
	t->n_collectors = 0;
	json_array_foreach(json_object_get(s, "collectors"), i, c)
	{
		struct view_collector *to = &t->collectors[t->n_collectors];

		if (t->n_collectors == TOP_COLLECTORS)
			break;
		view_copy(to->url, sizeof(to->url), json_object_get(c, "url"));
		view_copy(to->state, sizeof(to->state), json_object_get(c, "state"));
		to->records = (uint64_t)json_integer_value(json_object_get(c, "records"));
		to->pending = (uint64_t)json_integer_value(json_object_get(c, "pending"));
		to->not_sent = show_count(c, "not_sent", "records");
		t->n_collectors++;
	}
}

void view_take_interface(struct view *t, const char *name, uint64_t in, uint64_t out, double elapsed_s)
{
	struct view_interface *to = NULL;

	for (unsigned i = 0; i < t->n_interfaces; i++)
		if (!strcmp(t->interfaces[i].name, name))
			to = &t->interfaces[i];
	if (!to && t->n_interfaces == TOP_INTERFACES)
		return;
	if (!to) {
		to = &t->interfaces[t->n_interfaces++];
		*to = (struct view_interface){.known = false};
		snprintf(to->name, sizeof(to->name), "%s", name);
	}
	if (to->known && elapsed_s > 0 && in >= to->octets[0] && out >= to->octets[1]) {
		to->in = 8 * (double)(in - to->octets[0]) / elapsed_s;
		to->out = 8 * (double)(out - to->octets[1]) / elapsed_s;
	}
	to->octets[0] = in;
	to->octets[1] = out;
	to->known = true;
}

/* ---- rows */

void view_begin_flows(struct view *t)
{
	t->n_rows = 0;
}

/* Adds to the row of this name. */
static void view_add(struct view *t, const char *name, const char *filter, const json_t *f)
{
	struct view_row *row = NULL;
	double age = json_number_value(json_object_get(f, "age"));

	for (unsigned i = 0; i < t->n_rows && !row; i++)
		if (!strcmp(t->rows[i].name, name))
			row = &t->rows[i];
	if (!row && t->n_rows == TOP_ROWS)
		return;
	if (!row) {
		row = &t->rows[t->n_rows++];
		*row = (struct view_row){.rate = 0};
		snprintf(row->name, sizeof(row->name), "%s", name);
		snprintf(row->filter, sizeof(row->filter), "%s", filter);
	}
	row->rate += json_number_value(json_object_get(f, "rate"));
	row->octets += json_number_value(json_object_get(f, "octets"));
	row->packets += json_number_value(json_object_get(f, "packets"));
	row->age = age > row->age ? age : row->age;
}

static void view_take_flow(struct view *t, const json_t *f)
{
	uint8_t protocol = (uint8_t)json_integer_value(json_object_get(f, "protocol"));
	int src_port = (int)json_integer_value(json_object_get(f, "src_port"));
	int dst_port = (int)json_integer_value(json_object_get(f, "dst_port"));
	const char *src = json_string_value(json_object_get(f, "src"));
	const char *dst = json_string_value(json_object_get(f, "dst"));
	char name[VIEW_NAME], filter[64], text[PROTOCOL_TEXT], from[SHOW_END], to[SHOW_END];
	const char *word = protocol_word(text, protocol);

	if (!src || !dst)
		return;
	if (t->view == TOP_TALKERS) {
		snprintf(filter, sizeof(filter), "host %.46s", src);
		view_add(t, src, filter, f);
	} else if (t->view == TOP_PORTS) {
		/* the lower one is more often the service */
		int port = src_port && src_port < dst_port ? src_port : dst_port;

		if (!protocol_has_ports(protocol))
			return;
		snprintf(name, sizeof(name), "%s port %d", word, port);
		view_add(t, name, name, f);
	} else if (t->view == TOP_PROTOCOLS) {
		snprintf(filter, sizeof(filter), "proto %u", protocol);
		view_add(t, word, filter, f);
	} else {
		show_ends(f, from, to);
		snprintf(name, sizeof(name), "%-5s %s > %s", word, from, to);
		snprintf(filter, sizeof(filter), "host %.46s", src);
		view_add(t, name, filter, f);
	}
}

void view_take_flows(struct view *t, const json_t *flows)
{
	size_t i;
	json_t *f;

	json_array_foreach((json_t *)flows, i, f) view_take_flow(t, f);
}

static double view_value(const struct view_row *r, enum top_sort sort)
{
	switch (sort) {
	case TOP_BY_OCTETS:
		return r->octets;
	case TOP_BY_PACKETS:
		return r->packets;
	case TOP_BY_AGE:
		return r->age;
	default:
		return r->rate;
	}
}

void view_end_flows(struct view *t)
{
	for (unsigned i = 1; i < t->n_rows; i++) { /* they come nearly in order */
		struct view_row row = t->rows[i];
		unsigned at = i;

		for (; at && view_value(&t->rows[at - 1], t->sort) < view_value(&row, t->sort); at--)
			t->rows[at] = t->rows[at - 1];
		t->rows[at] = row;
	}
	if (t->cursor >= t->n_rows)
		t->cursor = t->n_rows ? t->n_rows - 1 : 0;
}

/* ---- the screen */

__attribute__((format(printf, 3, 4))) static struct view_line *view_put(struct view_screen *s, unsigned width,
									const char *format, ...)
{
	struct view_line *l;
	va_list args;

	if (s->n == TOP_LINES)
		return &s->lines[TOP_LINES - 1];
	l = &s->lines[s->n++];
	*l = (struct view_line){.strong = false};
	va_start(args, format);
	vsnprintf(l->text, sizeof(l->text), format, args);
	va_end(args);
	if (width < sizeof(l->text) && strlen(l->text) > width)
		l->text[width] = '\0'; /* what can be longer is ASCII */
	return l;
}

/* The youngest values as blocks of eight heights, the highest of them all as the full one. */
static void view_blocks(char *text, size_t size, const double *history, unsigned n, unsigned width,
			bool ascii)
{
	static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char signs[] = " .:-=+*#@";
	unsigned first = n > width ? n - width : 0;
	double most = 0;
	size_t at = 0;

	for (unsigned i = first; i < n; i++)
		most = history[i] > most ? history[i] : most;
	text[0] = '\0';
	for (unsigned i = first; i < n && at + 4 < size; i++) {
		unsigned level = most > 0 ? (unsigned)(history[i] / most * 8 + 0.5) : 0;

		at += (size_t)snprintf(text + at, size - at, "%s", ascii ? "" : blocks[level]);
		if (ascii) {
			text[at++] = signs[level];
			text[at] = '\0';
		}
	}
}

static void view_draw_rates(const struct view *t, unsigned width, struct view_screen *s)
{
	char text[16], blocks[4 * TOP_HISTORY + 1];
	unsigned room = width > 20 ? width - 20 : 0;

	view_blocks(blocks, sizeof(blocks), t->pps_history, t->n_history, room, t->ascii);
	view_put(s, room ? TOP_LINE : width, "packets/s %7s  %s", show_short(text, t->pps), blocks);
	view_blocks(blocks, sizeof(blocks), t->bps_history, t->n_history, room, t->ascii);
	view_put(s, room ? TOP_LINE : width, "bit/s     %7s  %s", show_short(text, t->bps), blocks);
}

static void view_draw_numbers(const struct view *t, unsigned width, struct view_screen *s)
{
	char a[16], b[16], c[16], d[16], e[16], cpu[16] = "?";

	if (t->cpu >= 0)
		snprintf(cpu, sizeof(cpu), "%.0f%%", t->cpu);
	view_put(s, width,
		 "flows %s active, %s queued, %s not sent   packets %s dropped, %s ignored   cpu %s",
		 show_short(a, (double)t->active), show_short(b, (double)t->queued),
		 show_short(c, (double)t->lost), show_short(d, (double)t->dropped),
		 show_short(e, (double)t->ignored), cpu)
		->strong = t->dropped || t->lost;
	for (unsigned i = 0; i < t->n_interfaces; i++)
		view_put(s, width, "%-16.16s in %7s bit/s  out %7s bit/s", t->interfaces[i].name,
			 show_short(a, t->interfaces[i].in), show_short(b, t->interfaces[i].out));
	for (unsigned i = 0; i < t->n_collectors; i++) {
		const struct view_collector *l = &t->collectors[i];

		view_put(s, width, "%-36.36s %-10s %7s sent %6s wait %6s lost", l->url, l->state,
			 show_short(a, (double)l->records), show_short(b, (double)l->pending),
			 show_short(c, (double)l->not_sent))
			->strong = l->not_sent || strcmp(l->state, "up") != 0;
	}
}

static void view_draw_table(const struct view *t, unsigned width, unsigned height, struct view_screen *s)
{
	int name = width > 50 ? (int)width - 34 : 16;
	unsigned room = height > s->n + 2 ? height - s->n - 2 : 0;
	unsigned first = t->cursor >= room && room ? t->cursor - room + 1 : 0;
	char a[16], b[16], c[16];

	view_put(s, width, "%-*s %7s %7s %8s %7s", name, top_views[t->view], "bit/s", "octets", "packets",
		 "age s")
		->reverse = true;
	for (unsigned i = first; i < t->n_rows && i < first + room; i++)
		view_put(s, width, "%-*.*s %7s %7s %8s %7.0f", name, name, t->rows[i].name,
			 show_short(a, t->rows[i].rate), show_short(b, t->rows[i].octets),
			 show_short(c, t->rows[i].packets), t->rows[i].age)
			->reverse = i == t->cursor;
}

static void view_draw_help(unsigned width, struct view_screen *s)
{
	static const char *const lines[] = {
		"",
		"  v        flows, talkers, ports, protocols (of the 1000 largest flows)",
		"  s        sort by rate, octets, packets, age",
		"  /        filter, in tcpdump's words: host 10.0.0.1 and port 53",
		"  up down  choose a row;  Enter  only what belongs to it",
		"  Escape   without filter",
		"  p        pause: the screen stands still, pitot goes on",
		"  h ?      this text;  q  leave",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		view_put(s, width, "%s", lines[i]);
}

void view_draw(const struct view *t, unsigned width, unsigned height, struct view_screen *s)
{
	s->n = 0;
	height = height < TOP_LINES ? height : TOP_LINES;
	view_put(s, width, "pitot %s  up %.0f s  by %s%s%s%s%s", t->version, t->seconds, view_sorts[t->sort],
		 t->filter[0] ? "  filter: " : "", t->filter, t->paused ? "  PAUSED" : "",
		 t->balanced || !t->last_s ? "" : "  LEDGER NOT BALANCED")
		->strong = true;
	view_draw_rates(t, width, s);
	view_draw_numbers(t, width, s);
	if (t->help)
		view_draw_help(width, s);
	else
		view_draw_table(t, width, height, s);
	if (s->n >= height)
		s->n = height ? height - 1 : 0;
	while (s->n + 1 < height)
		view_put(s, width, "%s", "");
	if (t->typing)
		view_put(s, width, "filter: %s_", t->typed);
	else if (t->message[0])
		view_put(s, width, "%s", t->message)->strong = true;
	else
		view_put(s, width, "v view  s sort  / filter  Enter drill down  p pause  h help  q quit");
}

/* ---- keys */

static void view_type(struct view *t, int key)
{
	size_t n = strlen(t->typed);

	if (key == TOP_KEY_ESCAPE || key == TOP_KEY_ENTER)
		t->typing = false;
	if (key == TOP_KEY_ENTER)
		snprintf(t->filter, sizeof(t->filter), "%s", t->typed);
	else if (key == TOP_KEY_BACKSPACE && n)
		t->typed[n - 1] = '\0';
	else if (key >= ' ' && key < 127 && n + 1 < sizeof(t->typed))
		snprintf(t->typed + n, sizeof(t->typed) - n, "%c", key);
}

bool view_key(struct view *t, int key)
{
	if (t->typing) {
		view_type(t, key);
		return true;
	}
	t->message[0] = '\0';
	if (key == 'q' || key == 'Q')
		return false;
	if (key == 'p')
		t->paused = !t->paused;
	else if (key == 'h' || key == '?')
		t->help = !t->help;
	else if (key == 's')
		t->sort = (t->sort + 1) % TOP_SORTS;
	else if (key == 'v' || key == '\t')
		t->view = (t->view + 1) % TOP_VIEWS;
	else if (key == TOP_KEY_UP && t->cursor)
		t->cursor--;
	else if (key == TOP_KEY_DOWN && t->cursor + 1 < t->n_rows)
		t->cursor++;
	else if (key == TOP_KEY_ESCAPE)
		t->filter[0] = '\0';
	if (key == '/') {
		t->typing = true;
		snprintf(t->typed, sizeof(t->typed), "%s", t->filter);
	}
	if (key == TOP_KEY_ENTER && t->cursor < t->n_rows) {
		snprintf(t->filter, sizeof(t->filter), "%s", t->rows[t->cursor].filter);
		t->view = TOP_FLOWS;
		t->cursor = 0;
	}
	return true;
}
