/* screen_curses: see include/pitot/screen.h. */
#include "pitot/screen.h"

#include <curses.h>
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "pitot/clock.h"
#include "view.h"

enum { KEY_WAIT_MS = 100, ESCAPE = 27, FLOWS = 1000 };

static volatile sig_atomic_t screen_ended;

static void screen_on_signal(int signal)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	(void)signal;
	screen_ended = 1;
	/* in the background of a shell, giving the terminal back would stop us rather than let us end */
	sigaction(SIGTTOU, &ignore, NULL);
}

struct screen {
	struct client *client;
	struct view top;
	struct view_screen drawn;
	double looked_s;
	uint64_t ticks; /* of the processor, that pitot had used then */
	char interfaces[TOP_INTERFACES][64];
	unsigned n_interfaces;
};

static double screen_now_s(void)
{
	return (double)clock_monotonic_ns() / 1e9;
}

/* ---- looks */

static void screen_part(void *ctx, const json_t *part)
{
	view_take_flows(ctx, part);
}

static int screen_flows(struct screen *s, struct diag *diag)
{
	json_t *result = NULL;
	json_t *request = json_pack("{s:s, s:s, s:i, s:s}", "command", "flows", "sort",
				    view_sorts[s->top.sort], "top", FLOWS, "filter", s->top.filter);
	int r;

	view_begin_flows(&s->top);
	r = request ? client_ask_parts(s->client, request, screen_part, &s->top, &result, diag)
		    : diag_set(diag, -ENOMEM, "out of memory");
	json_decref(request);
	if (r == -EREMOTEIO) { /* the filter: what was wrong with it stands below, and all flows are shown */
		snprintf(s->top.message, sizeof(s->top.message), "%.120s", diag->text);
		s->top.filter[0] = '\0';
		r = 0;
	} else if (r == 0) {
		view_take_flows(&s->top, result);
	}
	view_end_flows(&s->top);
	json_decref(result);
	return r;
}

/* "  eth0: OCTETS_IN and seven more, OCTETS_OUT ..." */
static void screen_interface(struct screen *s, char *line, double elapsed_s)
{
	char *name = line + strspn(line, " "), *at = strchr(name, ':');
	uint64_t values[9] = {0};

	if (!at)
		return;
	*at++ = '\0';
	for (unsigned i = 0; i < 9; i++)
		values[i] = strtoull(at, &at, 10);
	for (unsigned i = 0; i < s->n_interfaces; i++)
		if (!strcmp(s->interfaces[i], name))
			view_take_interface(&s->top, name, values[0], values[8], elapsed_s);
}

/* Of this network namespace, as whoever looks has it. */
static void screen_interfaces(struct screen *s, double elapsed_s)
{
	FILE *f = fopen("/proc/net/dev", "re");
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		screen_interface(s, line, elapsed_s);
	if (f)
		fclose(f);
}

static uint64_t screen_ticks_of(int pid)
{
	unsigned long long user = 0, system = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
			&system) != 2)
		user = system = 0;
	if (f)
		fclose(f);
	return user + system;
}

/* Of whoever answers, and its processes. */
static void screen_cpu(struct screen *s, double elapsed_s)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	uint64_t ticks;
	char path[64];
	FILE *f;
	int pid;

	s->top.cpu = -1;
	if (getsockopt(s->client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.pid <= 0)
		return;
	ticks = screen_ticks_of(peer.pid);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", peer.pid, peer.pid);
	f = fopen(path, "re");
	while (f && fscanf(f, "%d", &pid) == 1)
		ticks += pid == getpid() ? 0 : screen_ticks_of(pid);
	if (f)
		fclose(f);
	if (s->ticks && elapsed_s > 0 && ticks >= s->ticks)
		s->top.cpu = 100 * (double)(ticks - s->ticks) / (double)sysconf(_SC_CLK_TCK) / elapsed_s;
	s->ticks = ticks;
}

static int screen_look(struct screen *s, struct diag *diag)
{
	double now_s = screen_now_s(), elapsed_s = s->looked_s > 0 ? now_s - s->looked_s : 0;
	json_t *result = NULL;
	int r = client_ask(s->client, "statistics", &result, diag);

	if (r == 0) {
		view_take_statistics(&s->top, result, now_s);
		screen_interfaces(s, elapsed_s);
		screen_cpu(s, elapsed_s);
		s->looked_s = now_s;
	}
	json_decref(result);
	return r == 0 ? screen_flows(s, diag) : r;
}

static int screen_begin(struct screen *s, struct diag *diag)
{
	json_t *list = NULL, *n;
	int r = client_ask(s->client, "interfaces", &list, diag);
	size_t i;

	json_array_foreach(list, i, n)
	{
		const char *name = json_string_value(json_object_get(n, "name"));

		if (name && s->n_interfaces < TOP_INTERFACES)
			snprintf(s->interfaces[s->n_interfaces++], sizeof(s->interfaces[0]), "%s", name);
	}
	json_decref(list);
	return r;
}

/* ---- the terminal */

static void screen_show(struct screen *s)
{
	int width, height;

	getmaxyx(stdscr, height, width);
	view_draw(&s->top, (unsigned)width, (unsigned)height, &s->drawn);
	erase();
	for (unsigned i = 0; i < s->drawn.n; i++) {
		const struct view_line *l = &s->drawn.lines[i];

		attrset((l->strong ? A_BOLD : 0) | (l->reverse ? A_REVERSE : 0));
		mvaddstr((int)i, 0, l->text);
	}
	attrset(A_NORMAL);
	refresh();
}

static int screen_key(int key)
{
	switch (key) {
	case KEY_UP:
		return TOP_KEY_UP;
	case KEY_DOWN:
		return TOP_KEY_DOWN;
	case '\n':
	case '\r':
	case KEY_ENTER:
		return TOP_KEY_ENTER;
	case ESCAPE:
		return TOP_KEY_ESCAPE;
	case KEY_BACKSPACE:
	case 127:
	case 8:
		return TOP_KEY_BACKSPACE;
	default:
		return key;
	}
}

static int screen_loop(struct screen *s, struct diag *diag)
{
	bool fresh = true;
	int r = 0;

	while (r == 0 && !screen_ended) {
		int key;

		if (!s->top.paused && (fresh || screen_now_s() - s->looked_s >= 1))
			r = screen_look(s, diag);
		screen_show(s);
		key = getch();
		fresh = key != ERR && key != KEY_RESIZE && !s->top.typing;
		if (key != ERR && key != KEY_RESIZE && !view_key(&s->top, screen_key(key)))
			break;
		fresh = fresh && key != KEY_UP && key != KEY_DOWN;
	}
	return r;
}

int screen_run(int fd, struct diag *diag)
{
	struct sigaction act = {.sa_handler = screen_on_signal};
	struct client client;
	struct screen *s = calloc(1, sizeof(*s));
	SCREEN *terminal;
	int r;

	if (!s)
		return diag_set(diag, -ENOMEM, "out of memory");
	client_init(&client, fd);
	s->client = &client;
	setlocale(LC_CTYPE, "");
	s->top.ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
	r = screen_begin(s, diag);
	/* before the terminal is touched: from then on a signal has to give it back */
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
	terminal = r == 0 ? newterm(NULL, stdout, stdin) : NULL;
	if (r == 0 && !terminal)
		r = diag_set(diag, -ENOMEM, "no terminal: out of memory");
	if (r == 0) {
		cbreak();
		noecho();
		curs_set(0);
		keypad(stdscr, TRUE);
		set_escdelay(25);
		timeout(KEY_WAIT_MS);
		r = screen_loop(s, diag);
		erase(); /* terminals that have no second screen keep what is on it */
		refresh();
		endwin();
		delscreen(terminal);
	}
	free(s);
	client.fd = -1; /* the caller's */
	client_close(&client);
	return screen_ended ? 0 : r;
}
