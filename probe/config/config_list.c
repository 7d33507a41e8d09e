/* config_list: options whose value has parts or that may be given many times. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/config_internal.h"
#include "pitot/clock.h"
#include "pitot/timeouts.h"

/* More are a mistake in a script, not a wish. */
enum { LIST_INTERFACES = 64, LIST_FILES = 65536, LIST_URLS = 64 };

int config_copy(char **dst, const char *value, struct diag *diag)
{
	char *copy = strdup(value);

	if (!copy)
		return diag_set(diag, -ENOMEM, "options: %s", strerror(ENOMEM));
	free(*dst);
	*dst = copy;
	return 0;
}

void config_free_text(char **text)
{
	free(*text);
}

/* The list with room for one more element; NULL with *r and a sentence when there is none. */
static void *list_grow(void *list, unsigned n, unsigned most, size_t size, int *r, const char *label,
		       struct diag *diag)
{
	void *grown;

	if (n >= most) {
		*r = diag_set(diag, CONFIG_E_USAGE, "%s: given more than %u times", label, most);
		return NULL;
	}
	grown = realloc(list, ((size_t)n + 1) * size);
	*r = grown ? 0 : diag_set(diag, -ENOMEM, "options: %s", strerror(ENOMEM));
	return grown;
}

void config_clear_inputs(struct config *c)
{
	for (unsigned i = 0; i < c->n_files; i++)
		free(c->files[i]);
	free(c->files);
	free(c->interfaces);
	c->files = NULL;
	c->interfaces = NULL;
	c->n_files = c->n_interfaces = 0;
}

/* What the command line names replaces what the file named. */
static void list_replace_inputs(struct config_build *b)
{
	if (b->command_line && !b->inputs_replaced) {
		config_clear_inputs(b->c);
		b->inputs_replaced = true;
	}
}

int config_add_file(struct config_build *b, const char *value, const char *label, struct diag *diag)
{
	struct config *c = b->c;
	char **files;
	int r;

	list_replace_inputs(b);
	if (!value[0])
		return diag_set(diag, CONFIG_E_USAGE, "%s: the file has no name", label);
	for (unsigned i = 0; i < c->n_files; i++) {
		if (strcmp(value, "-") == 0 && strcmp(c->files[i], "-") == 0)
			return diag_set(diag, CONFIG_E_USAGE, "%s: standard input (-) can be read only once",
					label);
	}
	files = list_grow(c->files, c->n_files, LIST_FILES, sizeof(*files), &r, label, diag);
	if (!files)
		return r;
	c->files = files;
	c->files[c->n_files] = NULL;
	r = config_copy(&c->files[c->n_files], value, diag);
	if (r)
		return r;
	c->n_files++;
	return 0;
}

int config_add_interface(struct config_build *b, const char *value, const char *label, struct diag *diag)
{
	size_t digits = strspn(value, "0123456789");
	struct config_interface *interfaces;
	struct config *c = b->c;
	const char *name = value;
	uint64_t index = 0;
	char number[24];
	int r;

	list_replace_inputs(b);
	if (digits && value[digits] == ':') {
		snprintf(number, sizeof(number), "%.*s", (int)(digits < 20 ? digits : 20), value);
		if (config_value_number(&index, number, 1, UINT32_MAX, label, diag))
			return diag_set(
				diag, CONFIG_E_USAGE,
				"%s: the index before the colon of '%.80s' is not from 1 to 4294967295",
				label, value);
		name = value + digits + 1;
	}
	if (!name[0] || strlen(name) >= sizeof(c->interfaces->name))
		return diag_set(diag, CONFIG_E_USAGE, "%s: '%.80s' is not the name of an interface", label,
				value);
	for (unsigned i = 0; i < c->n_interfaces; i++) {
		if (strcmp(c->interfaces[i].name, name) == 0)
			return diag_set(diag, CONFIG_E_USAGE,
					"%s: %s is given twice, and every packet would count twice", label,
					name);
	}
	interfaces = list_grow(c->interfaces, c->n_interfaces, LIST_INTERFACES, sizeof(*interfaces), &r,
			       label, diag);
	if (!interfaces)
		return r;
	c->interfaces = interfaces;
	c->interfaces[c->n_interfaces] = (struct config_interface){.ifindex = (uint32_t)index};
	snprintf(c->interfaces[c->n_interfaces].name, sizeof(c->interfaces->name), "%s", name);
	c->n_interfaces++;
	return 0;
}

static int list_add_url(struct config_build *b, const char *value, const char *label, struct diag *diag)
{
	struct config_text *urls;
	int r;

	if (b->command_line && !b->urls_replaced) {
		while (b->n_urls)
			free(b->urls[--b->n_urls].text);
		b->urls_replaced = true;
	}
	urls = list_grow(b->urls, b->n_urls, LIST_URLS, sizeof(*urls), &r, label, diag);
	if (!urls)
		return r;
	b->urls = urls;
	b->urls[b->n_urls] = (struct config_text){.text = NULL};
	r = config_copy(&b->urls[b->n_urls].text, value, diag);
	if (r)
		return r;
	snprintf(b->urls[b->n_urls].label, sizeof(b->urls->label), "%s", label);
	b->n_urls++;
	return 0;
}

/* Several hosts may stand together, HOST:PORT,HOST:PORT, as softflowd has them. */
int config_add_url(struct config_build *b, const char *value, const char *label, struct diag *diag)
{
	char *list __attribute__((cleanup(config_free_text))) = NULL;
	int r = config_copy(&list, value, diag);

	if (r || collector_is_file(value) || !strchr(value, ','))
		return r ? r : list_add_url(b, value, label, diag);
	for (char *part = list, *comma; part && r == 0; part = comma ? comma + 1 : NULL) {
		comma = strchr(part, ',');
		if (comma)
			*comma = '\0';
		if (!*part)
			return diag_set(diag, CONFIG_E_USAGE,
					"%s: '%.80s' has an empty part; write HOST:PORT[,HOST:PORT...]",
					label, value);
		r = list_add_url(b, part, label, diag);
	}
	return r;
}

int config_set_timeout(struct config *c, const char *value, const char *label, struct diag *diag)
{
	struct timeouts t = {c->active_ns, c->inactive_ns, c->tcp_end_ns};
	int r = timeouts_parse(&t, value, label, diag);

	if (r)
		return r;
	c->active_ns = t.active_ns;
	c->inactive_ns = t.inactive_ns;
	c->tcp_end_ns = t.tcp_end_ns;
	return 0;
}

/* The row of a word of a list, or NULL. */
static const struct config_choice *list_choice(enum config_kind kind, const char *word, size_t len)
{
	for (unsigned i = 0; i < config_choices_count; i++) {
		const struct config_choice *c = &config_choices[i];

		if (c->kind == kind && strlen(c->word) == len && memcmp(c->word, word, len) == 0)
			return c;
	}
	return NULL;
}

static int list_refuse_key(const char *word, size_t len, const char *label, struct diag *diag)
{
	char words[128] = "";
	size_t n = 0;

	for (unsigned i = 0; i < config_choices_count && n < sizeof(words); i++)
		if (config_choices[i].kind == KIND_FLOW_KEY && config_choices[i].value)
			n += (size_t)snprintf(words + n, sizeof(words) - n, "%s%s", n ? ", " : "",
					      config_choices[i].word);
	return diag_set(diag, CONFIG_E_USAGE, "%s: '%.*s' cannot be added to the flow key; these can: %s%s",
			label, (int)(len < 80 ? len : 80), word, words,
			len == 5 && memcmp(word, "ether", 5) == 0 ? " (softflowd's ether is vlan,mac)" : "");
}

int config_set_flow_key(struct config *c, const char *value, const char *label, struct diag *diag)
{
	uint32_t bits = 0;

	for (const char *p = value;; p++) {
		size_t len = strcspn(p, ",");
		const struct config_choice *key = list_choice(KIND_FLOW_KEY, p, len);

		if (!key && (len != 4 || memcmp(p, "full", 4) != 0)) /* softflowd's word for none */
			return list_refuse_key(p, len, label, diag);
		bits |= key ? (uint32_t)key->value : 0;
		p += len;
		if (!*p)
			break;
	}
	c->flow_key = bits;
	return 0;
}

static const struct tunnel_choice {
	const char *name;
	uint16_t port; /* 0: not over UDP */
} tunnel_choices[TUNNEL_COUNT] = {
#define TUNNEL(name, choice, port, text) {choice, port},
#define IP_EDGE(...)
#include "pitot/tunnels.def"
};

static int list_refuse_tunnel(const char *part, const char *label, struct diag *diag)
{
	char names[256] = "";
	size_t n = 0;

	for (unsigned i = 0; i < TUNNEL_COUNT && n < sizeof(names); i++)
		n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", i ? ", " : "",
				      tunnel_choices[i].name);
	return diag_set(diag, CONFIG_E_USAGE,
			"%s: '%.80s' is no tunnel that pitot opens; there are %s; or all", label, part,
			names);
}

static int list_add_tunnel(struct config *c, char *part, const char *label, struct diag *diag)
{
	char *equals = strchr(part, '=');
	uint64_t port = 0;
	unsigned i = 0;

	if (equals)
		*equals = '\0';
	while (i < TUNNEL_COUNT && strcmp(tunnel_choices[i].name, part) != 0)
		i++;
	if (i == TUNNEL_COUNT)
		return list_refuse_tunnel(part, label, diag);
	if (equals && !tunnel_choices[i].port)
		return diag_set(diag, CONFIG_E_USAGE, "%s: %s has no port: write %s alone", label, part,
				part);
	if (equals) {
		int r = config_value_number(&port, equals + 1, 1, 65535, label, diag);

		if (r)
			return r;
	}
	c->decapsulate |= UINT32_C(1) << i;
	c->tunnel_ports[i] = (uint16_t)port;
	return 0;
}

int config_set_decapsulate(struct config *c, const char *value, const char *label, struct diag *diag)
{
	char *list __attribute__((cleanup(config_free_text))) = NULL;
	char *save = NULL;
	int r = config_copy(&list, value, diag);

	c->decapsulate = 0;
	for (unsigned i = 0; i < TUNNEL_COUNT; i++)
		c->tunnel_ports[i] = 0;
	if (r || strcmp(value, "none") == 0)
		return r;
	if (!value[0] || value[0] == ',' || value[strlen(value) - 1] == ',' || strstr(value, ",,"))
		return diag_set(diag, CONFIG_E_USAGE,
				"%s: '%.80s' has an empty part; write NAME[,...], all or none", label, value);
	for (char *part = strtok_r(list, ",", &save); part && r == 0; part = strtok_r(NULL, ",", &save)) {
		if (strcmp(part, "all") == 0) /* and a port for one of them may follow */
			c->decapsulate = (UINT32_C(1) << TUNNEL_COUNT) - 1;
		else
			r = list_add_tunnel(c, part, label, diag);
	}
	return r;
}

/* ADDR[:PORT] or [ADDR6][:PORT] or ADDR6: host and port apart; false when it is none of them. */
static bool list_split_source(char *host, size_t size, const char **port, const char *value)
{
	const char *end = value + strlen(value), *start = value;
	const char *colon = strchr(value, ':');

	*port = NULL;
	if (value[0] == '[') {
		start = value + 1;
		end = strchr(value, ']');
		if (!end || (end[1] && end[1] != ':'))
			return false;
		*port = end[1] ? end + 2 : NULL;
	} else if (colon && !strchr(colon + 1, ':')) {
		end = colon;
		*port = colon + 1;
	}
	if (end == start || (size_t)(end - start) >= size)
		return false;
	snprintf(host, size, "%.*s", (int)(end - start), start);
	return true;
}

int config_set_source(struct config *c, const char *value, const char *label, struct diag *diag)
{
	char host[80], bare[80];
	const char *port, *what;
	uint64_t number = 0;
	uint8_t address[16];
	int r;

	if (!list_split_source(host, sizeof(host), &port, value))
		goto bad;
	snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(host, "%"), host);
	if ((value[0] == '[' || inet_pton(AF_INET, host, address) != 1) &&
	    inet_pton(AF_INET6, bare, address) != 1)
		goto bad;
	what = config_address_is(host, CONFIG_MULTICAST | CONFIG_BROADCAST);
	if (what)
		return diag_set(diag, CONFIG_E_USAGE, "%s: '%.80s' is %s: nothing can be sent from it", label,
				host, what);
	if (port) {
		r = config_value_number(&number, port, 0, 65535, label, diag);
		if (r)
			return r;
	}
	r = config_copy(&c->source_host, host, diag);
	if (r)
		return r;
	c->source_port = (uint16_t)number;
	return 0;
bad:
	return diag_set(diag, CONFIG_E_USAGE,
			"%s: '%.80s' is not an address of this host as ADDR, ADDR:PORT or [ADDR6]:PORT",
			label, value);
}

/* ---- polite mode */

enum { POLITE_CPU = 30, POLITE_YIELD = 20, POLITE_SPARE = 1 };

static const struct polite_key {
	const char *name; /* with its = */
	enum { POLITE_NUMBER, POLITE_SWITCH, POLITE_FILE } kind;
	uint64_t min, max;
	size_t offset; /* in struct config_polite */
} polite_keys[] = {
	{"cpu=", POLITE_NUMBER, 1, 100000, offsetof(struct config_polite, cpu)},
	{"yield=", POLITE_NUMBER, 1, 100, offsetof(struct config_polite, yield)},
	{"spare=", POLITE_NUMBER, 0, 100, offsetof(struct config_polite, spare)},
	{"slice=", POLITE_SWITCH, 0, 0, offsetof(struct config_polite, slice)},
	{"pressure=", POLITE_FILE, 0, 0, offsetof(struct config_polite, pressure)},
};

static const struct polite_key *list_polite_key(const char *word)
{
	for (unsigned i = 0; i < sizeof(polite_keys) / sizeof(polite_keys[0]); i++)
		if (!strncmp(word, polite_keys[i].name, strlen(polite_keys[i].name)))
			return &polite_keys[i];
	return NULL;
}

/* cpu=, and what was to be one of them, such as 30 or 30%: no filter of tcpdump's begins like that. */
bool config_is_polite_value(const char *word)
{
	size_t digits = strspn(word, "0123456789");

	return word[strspn(word, "abcdefghijklmnopqrstuvwxyz")] == '=' ||
	       (digits && !word[digits + (word[digits] == '%')]);
}

static int list_polite_part(struct config_polite *p, const char *part, const char *label, struct diag *diag)
{
	const struct polite_key *k = list_polite_key(part);
	const char *value;
	uint64_t n = 0;
	char name[400];

	if (!k)
		return diag_set(
			diag, CONFIG_E_USAGE,
			"%s: '%.80s' is none of cpu=PERCENT, yield=PERCENT, spare=PERCENT, slice=off and "
			"pressure=FILE",
			label, part);
	value = part + strlen(k->name);
	snprintf(name, sizeof(name), "%.300s: %.*s", label, (int)strlen(k->name) - 1, k->name);
	if (k->kind == POLITE_SWITCH)
		return config_value_switch((bool *)(void *)((char *)p + k->offset), value, name, diag)
			       ? CONFIG_E_USAGE
			       : 0;
	if (k->kind == POLITE_NUMBER) {
		if (config_value_number(&n, value, k->min, k->max, name, diag))
			return CONFIG_E_USAGE;
		*(uint32_t *)(void *)((char *)p + k->offset) = (uint32_t)n;
		return 0;
	}
	if (!value[0] || strlen(value) >= sizeof(p->pressure))
		return diag_set(diag, CONFIG_E_USAGE, "%s: '%.80s' is not the name of a file", name, value);
	snprintf(p->pressure, sizeof(p->pressure), "%s", value);
	return 0;
}

/* Anew with each value: what a file says is no part of what the command line does. */
int config_set_polite(struct config *c, const char *value, const char *label, struct diag *diag)
{
	struct config_polite p = {
		.on = true, .slice = true, .cpu = POLITE_CPU, .yield = POLITE_YIELD, .spare = POLITE_SPARE};
	char *copy __attribute__((cleanup(config_free_text))) = NULL;
	int r = 0;

	if (!value || !strchr(value, '=')) {
		r = config_value_switch(&p.on, value, label, diag);
		if (r)
			return list_polite_part(&p, value, label, diag);
		c->polite = p.on ? p : (struct config_polite){.on = false};
		return 0;
	}
	r = config_copy(&copy, value, diag);
	for (char *at = copy, *next; r == 0 && at; at = next) {
		next = strchr(at, ',');
		if (next)
			*next++ = '\0';
		r = list_polite_part(&p, at, label, diag);
	}
	if (r == 0)
		c->polite = p;
	return r;
}
