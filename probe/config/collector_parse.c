/*
 * collector_parse: see include/pitot/collector.h.
 *
 * The text may come from anywhere: lengths are checked before anything is copied, and a host is letters,
 * digits, points, hyphens and underscores, so that it can stand in any message.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/config_internal.h"
#include "pitot/clock.h"
#include "pitot/collector.h"
#include "pitot/path.h"

#define ROTATE_NS_MOST	    (366 * 86400 * NS_PER_SEC)
#define ROTATE_OCTETS_LEAST 16384
#define HOST_CHARS	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

#define PORT_SECURE 4740 /* of IPFIX, and whatever else goes over TLS: RFC 7011 §10.3.4 */

const struct format_row format_rows[FORMAT_COUNT] = {
#define FORMAT(NAME, name, text, number, port, carriers, only)                                               \
	[FORMAT_##NAME] = {#name, text, number, only, port, carriers},
#include "pitot/formats.def"
};

const struct transport_row transport_rows[TRANSPORT_COUNT] = {
#define TRANSPORT(NAME, name, traits) [TRANSPORT_##NAME] = {#name, traits},
#include "pitot/transports.def"
};

/* The i-th of what there is, or NULL. */
typedef const char *collector_names(unsigned i);

static const char *collector_format_name(unsigned i)
{
	return i < FORMAT_COUNT ? format_rows[i].name : NULL;
}

static const char *collector_transport_name(unsigned i)
{
	return i < TRANSPORT_COUNT ? transport_rows[i].name : NULL;
}

/* "a, b and c" */
static const char *collector_list(char *text, size_t size, collector_names *names)
{
	size_t n = 0;

	for (unsigned i = 0; names(i) && n < size; i++)
		n += (size_t)snprintf(text + n, size - n, "%s%s",
				      i == 0	     ? ""
				      : names(i + 1) ? ", "
						     : " and ",
				      names(i));
	return text;
}

static bool collector_url_is(const char *text, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(text, name, len) == 0;
}

/* FORMAT_COUNT: none. */
static enum export_format collector_url_format(const char *text, size_t len)
{
	unsigned f = 0;

	while (f < FORMAT_COUNT && !collector_url_is(text, len, format_rows[f].name))
		f++;
	return (enum export_format)f;
}

/* TRANSPORT_COUNT: none. */
static enum transport_kind collector_url_transport(const char *text, size_t len)
{
	unsigned t = 0;

	while (t < TRANSPORT_COUNT && !collector_url_is(text, len, transport_rows[t].name))
		t++;
	return (enum transport_kind)t;
}

/* FORMAT[+TRANSPORT] */
static int collector_url_parse_scheme(struct collector_config *c, const char *text, size_t len,
				      struct diag *diag)
{
	const char *plus = memchr(text, '+', len);
	size_t name = plus ? (size_t)(plus - text) : len;
	int shown = (int)(len < 40 ? len : 40);
	enum export_format f = collector_url_format(text, name);
	char list[128];
	unsigned t = TRANSPORT_UDP;

	if (f == FORMAT_COUNT && !plus && collector_url_transport(text, len) != TRANSPORT_COUNT)
		return diag_set(
			diag, -EINVAL, "'%.*s' is a transport, and the format is missing: ipfix+%.*s:%s",
			shown, text, shown, text,
			collector_url_transport(text, len) == TRANSPORT_FILE ? "FILE" : "//HOST:PORT");
	if (f == FORMAT_COUNT)
		return diag_set(diag, -EINVAL, "'%.*s' is not a format; there are %s",
				(int)(name < 40 ? name : 40), text,
				collector_list(list, sizeof(list), collector_format_name));
	c->format = f;
	if (plus) {
		t = collector_url_transport(plus + 1, len - name - 1);
		if (t == TRANSPORT_COUNT)
			return diag_set(diag, -EINVAL,
					"'%.*s' has no known transport after the +; there are %s", shown,
					text, collector_list(list, sizeof(list), collector_transport_name));
	} else if (collector_is_lines(c->format)) {
		t = TRANSPORT_FILE;
	}
	c->transport = (enum transport_kind)t;
	if (format_rows[f].carriers >> t & 1)
		return 0;
	if (collector_is_lines(c->format))
		return diag_set(diag, -EINVAL, "%s goes to a file: %s:FILE", format_rows[f].name,
				format_rows[f].name);
	return diag_set(diag, -EINVAL, "'%.*s': %s goes over %s only", shown, text, format_rows[f].text,
			format_rows[f].only);
}

/* One limit of ?rotate=: a size ends with K, M or G; anything else is a time. */
static int collector_url_parse_limit(struct collector_config *c, const char *text, size_t len,
				     struct diag *diag)
{
	char one[32];

	if (len == 0 || len >= sizeof(one))
		return diag_set(diag, -EINVAL, "?rotate=%.40s: such as 60s, 100M or 1h,1G", text);
	memcpy(one, text, len);
	one[len] = '\0';
	if (strchr("kKMgG", one[len - 1]))
		return config_value_size(&c->rotate_octets, one, ROTATE_OCTETS_LEAST, UINT64_C(1) << 40,
					 "?rotate", diag);
	return config_value_seconds(&c->rotate_ns, one, NS_PER_SEC, ROTATE_NS_MOST, "?rotate", diag);
}

static int collector_url_parse_rotate(struct collector_config *c, const char *text, size_t len,
				      struct diag *diag)
{
	for (size_t n = 0;; text += n + 1, len -= n + 1) {
		n = strcspn(text, ",|&");
		if (collector_url_parse_limit(c, text, n, diag))
			return -EINVAL;
		if (n >= len)
			return 0;
	}
}

static const char *const compression_names[COMPRESSION_COUNT] = {
	[COMPRESSION_NONE] = "none",
#define COMPRESSION(NAME, name, library) [COMPRESSION_##NAME] = #name,
#include "pitot/compressions.def"
};

static const char *collector_compression_name(unsigned i)
{
	return i + 1 < COMPRESSION_COUNT ? compression_names[i + 1] : NULL;
}

static int collector_url_parse_compress(struct collector_config *c, const char *text, size_t len,
					struct diag *diag)
{
	char list[64];

	for (unsigned i = COMPRESSION_NONE + 1; i < COMPRESSION_COUNT; i++) {
		if (strlen(compression_names[i]) == len && !strncmp(text, compression_names[i], len)) {
			c->compression = (enum compression)i;
			return 0;
		}
	}
	return diag_set(diag, -EINVAL, "?compress=%.*s: there are %s", (int)(len < 40 ? len : 40), text,
			collector_list(list, sizeof(list), collector_compression_name));
}

static const struct {
	const char *name, *shown;
	int (*parse)(struct collector_config *c, const char *text, size_t len, struct diag *diag);
} url_settings[] = {
#define URL_SETTING(name, value) {#name, "?" #name "=" value, collector_url_parse_##name},
#include "pitot/url_settings.def"
};
enum { URL_SETTINGS = sizeof(url_settings) / sizeof(url_settings[0]) };

static const char *collector_setting_shown(unsigned i)
{
	return i < URL_SETTINGS ? url_settings[i].shown : NULL;
}

static int collector_url_parse_setting(struct collector_config *c, const char *text, size_t len,
				       struct diag *diag)
{
	size_t word = strcspn(text, "=");
	char list[128];

	for (unsigned i = 0; word < len && i < URL_SETTINGS; i++)
		if (strlen(url_settings[i].name) == word && !strncmp(text, url_settings[i].name, word))
			return url_settings[i].parse(c, text + word + 1, len - word - 1, diag);
	return diag_set(diag, -EINVAL, "'?%.*s' is unknown; there are %s", (int)(len < 40 ? len : 40), text,
			collector_list(list, sizeof(list), collector_setting_shown));
}

/* Behind the name: ?rotate=60s, ?rotate=1h,1G&compress=gz; *len is the name's. */
static int collector_url_parse_settings(struct collector_config *c, const char *path, size_t *len,
					struct diag *diag)
{
	const char *at = strrchr(path, '?');
	size_t word = at ? strspn(at + 1, "abcdefghijklmnopqrstuvwxyz") : 0;

	*len = strlen(path);
	if (!word || at[1 + word] != '=')
		return 0; /* of the name */
	*len = (size_t)(at - path);
	for (at++;;) {
		size_t n = strcspn(at, "&");
		int r = collector_url_parse_setting(c, at, n, diag);

		if (r || !at[n])
			return r;
		at += n + 1;
	}
}

/* A compressed file's name says so, once. */
static int collector_url_end_name(const struct collector_config *c, char *name, size_t size)
{
	const char *end = compression_names[c->compression];
	size_t n = strlen(name), m = strlen(end);

	if (c->compression == COMPRESSION_NONE ||
	    (n > m + 1 && name[n - m - 1] == '.' && !strcmp(name + n - m, end)))
		return 0;
	return (size_t)snprintf(name + n, size - n, ".%s", end) >= size - n ? -ENAMETOOLONG : 0;
}

static int collector_url_set_path(struct collector_config *c, const char *path, size_t len, struct diag *diag)
{
	bool rotates = c->rotate_ns || c->rotate_octets;
	char name[sizeof(c->path)];

	if (len >= sizeof(name))
		return diag_set(diag, -EINVAL, "the file name '%.40s...' is longer than %zu octets", path,
				sizeof(c->path) - 1);
	memcpy(name, path, len);
	name[len] = '\0';
	if (rotates && strcmp(name, "-") == 0)
		return diag_set(diag, -EINVAL, "'%.80s': standard output is one file", path);
	if (c->compression != COMPRESSION_NONE && strcmp(name, "-") == 0)
		return diag_set(diag, -EINVAL, "'%.80s': standard output is not compressed; pipe it to %s",
				path, c->compression == COMPRESSION_GZ ? "gzip" : "zstd");
	if (path_check_time(name, diag))
		return -EINVAL;
	if (collector_url_end_name(c, name, sizeof(name)) < 0)
		return diag_set(diag, -EINVAL, "the file name '%.40s...' is too long for its ending", path);
	memcpy(c->path, name, strlen(name) + 1);
	if (rotates && !path_has_time(name) &&
	    path_insert(c->path, sizeof(c->path), name, "-%Y%m%d%H%M%S") < 0)
		return diag_set(diag, -EINVAL, "the file name '%.40s...' is too long for a time in it", path);
	return 0;
}

static int collector_url_parse_file(struct collector_config *c, const char *path, struct diag *diag)
{
	const char *plus = collector_is_lines(c->format) ? "" : "+file";
	size_t len;
	int r = collector_url_parse_settings(c, path, &len, diag);

	if (r)
		return r;
	if (!len)
		return diag_set(diag, -EINVAL, "%s%s: names no file; - is standard output",
				format_rows[c->format].name, plus);
	if (path[len - 1] == '/')
		return diag_set(diag, -EINVAL, "%s%s:%.200s: names a directory; name a file in it",
				format_rows[c->format].name, plus, path);
	if (path[0] == '/' && path[1] == '/' && path[2] != '/')
		return diag_set(diag, -EINVAL, "'%.80s' is not a file: write %s%s:FILE, without //", path,
				format_rows[c->format].name, plus);
	snprintf(c->url, sizeof(c->url), "%s%s:%.480s", format_rows[c->format].name, plus, path);
	return collector_url_set_path(c, path, len, diag);
}

static int collector_url_parse_port(struct collector_config *c, const char *text, struct diag *diag)
{
	unsigned long port = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9' && port <= UINT16_MAX; p++)
		port = port * 10 + (unsigned long)(*p - '0');
	if (p == text || (*p && strcmp(p, "/") != 0) || !port || port > UINT16_MAX)
		return diag_set(diag, -EINVAL, "'%.80s' is not a port from 1 to 65535", text);
	c->port = (uint16_t)port;
	return 0;
}

/* An IPv6 address, with or without %ZONE. */
static bool collector_url_is_ip6(const char *host)
{
	size_t len = strcspn(host, "%");
	uint8_t address[16];
	char bare[64];

	if (len >= sizeof(bare))
		return false;
	memcpy(bare, host, len);
	bare[len] = '\0';
	if (host[len] && (!host[len + 1] || host[len + 1 + strspn(host + len + 1, HOST_CHARS)]))
		return false;
	return inet_pton(AF_INET6, bare, address) == 1;
}

/* A link-local address (RFC 4291 §2.5.6) means nothing without an interface. */
static bool collector_url_lacks_zone(const char *host)
{
	uint8_t address[16];

	return inet_pton(AF_INET6, host, address) == 1 && address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

static int collector_url_check_name(const char *host, struct diag *diag)
{
	uint8_t address[4];
	const char *bad = host + strspn(host, HOST_CHARS);

	if (*bad == ',')
		return diag_set(diag, -EINVAL,
				"'%.80s...' has a comma: each collector needs a --collector (-n) of its own",
				host);
	if (*bad || host[0] == '-' || host[0] == '.' || strstr(host, ".."))
		return diag_set(diag, -EINVAL, "'%.80s' is not the name or address of a host", host);
	if (!host[strspn(host, "0123456789.")] && inet_pton(AF_INET, host, address) != 1)
		return diag_set(diag, -EINVAL, "'%.80s' is not an IPv4 address, and no name of a host", host);
	return 0;
}

/* Of the addresses that are not of one host: datagrams may go to a group. */
static int collector_url_check_address(const struct collector_config *c, struct diag *diag)
{
	bool group = c->transport == TRANSPORT_UDP;
	const char *what = config_address_is(c->host, CONFIG_UNSPECIFIED | CONFIG_BROADCAST |
							      (group ? 0 : CONFIG_MULTICAST));

	return what ? diag_set(diag, -EINVAL, "'%.80s' is %s, and no address of a collector%s", c->host, what,
			       strstr(what, "multicast") ? " but over UDP" : "")
		    : 0;
}

/* Copies what is before the port to c->host; *rest is what follows it. */
static int collector_url_parse_host(struct collector_config *c, const char *text, const char **rest,
				    struct diag *diag)
{
	bool bracket = text[0] == '[';
	size_t len;

	if (bracket) {
		text++;
		len = strcspn(text, "]");
		if (text[len] != ']')
			return diag_set(diag, -EINVAL, "'[%.80s': the closing bracket is missing", text);
		*rest = text + len + 1;
	} else {
		len = strcspn(text, ":/");
		*rest = text + len;
		if (strchr(*rest, ':') != strrchr(*rest, ':'))
			return diag_set(diag, -EINVAL,
					"'%.80s' has several colons: an IPv6 address stands in brackets, "
					"[2001:db8::5]:4739",
					text);
	}
	if (!len)
		return diag_set(diag, -EINVAL, "'%.80s' names no host", text);
	if (len >= sizeof(c->host))
		return diag_set(diag, -EINVAL, "the host name '%.40s...' is longer than %zu octets", text,
				sizeof(c->host) - 1);
	memcpy(c->host, text, len);
	c->host[len] = '\0';
	if (!bracket)
		return collector_url_check_name(c->host, diag);
	if (!collector_url_is_ip6(c->host))
		return diag_set(diag, -EINVAL, "'[%.80s]' is not an IPv6 address", c->host);
	if (collector_url_lacks_zone(c->host))
		return diag_set(
			diag, -EINVAL,
			"'[%.80s]' is a link-local address and needs its interface: [fe80::1%%eth0]:4739",
			c->host);
	return 0;
}

/* "xml:-": more likely a format that there is not than a host and its port. */
static bool collector_url_looks_like_format(const char *host, const char *port)
{
	size_t n = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

	return n && (!host[n] || !host[n + strspn(host + n, "0123456789")]) &&
	       !(*port >= '0' && *port <= '9') && *port;
}

static int collector_url_parse_address(struct collector_config *c, const char *text, struct diag *diag)
{
	const char *rest = NULL, *open, *close;
	char list[128];
	bool is_udp = c->transport == TRANSPORT_UDP;
	int r = collector_url_parse_host(c, text, &rest, diag);

	if (r == 0)
		r = collector_url_check_address(c, diag);
	if (r)
		return r;
	c->port = format_rows[c->format].port;
	if (transport_is(c->transport, TRANSPORT_SECURE))
		c->port = PORT_SECURE;
	if (rest[0] == ':') {
		if (collector_url_looks_like_format(c->host, rest + 1))
			return diag_set(
				diag, -EINVAL,
				"'%.40s' is not a format, and '%.80s' is not a port from 1 to 65535; there "
				"are %s",
				c->host, rest + 1, collector_list(list, sizeof(list), collector_format_name));
		r = collector_url_parse_port(c, rest + 1, diag);
		if (r)
			return r;
	} else if (rest[0] && strcmp(rest, "/") != 0) {
		return diag_set(diag, -EINVAL, "'%.80s' after the host is not :PORT", rest);
	}
	open = strchr(c->host, ':') ? "[" : "";
	close = open[0] ? "]" : "";
	snprintf(c->url, sizeof(c->url), "%s%s%s://%s%s%s:%u", format_rows[c->format].name, is_udp ? "" : "+",
		 is_udp ? "" : transport_rows[c->transport].name, open, c->host, close, (unsigned)c->port);
	return 0;
}

bool collector_is_file(const char *text)
{
	size_t scheme = strcspn(text, ":,");
	enum export_format format = collector_url_format(text, scheme);

	return text[scheme] == ':' && ((format < FORMAT_COUNT && collector_is_lines(format)) ||
				       (scheme > 5 && strncasecmp(text + scheme - 5, "+file", 5) == 0));
}

int collector_parse(struct collector_config *c, const char *text, enum export_format default_format,
		    struct diag *diag)
{
	size_t scheme = strcspn(text, ":");
	const char *rest = text[scheme] ? text + scheme + 1 : NULL;
	enum export_format named = collector_url_format(text, scheme);
	bool is_lines = named < FORMAT_COUNT && collector_is_lines(named);
	int r;

	*c = (struct collector_config){.format = default_format, .transport = TRANSPORT_UDP};
	if (!rest && is_lines)
		return diag_set(
			diag, -EINVAL,
			"'%s' is a format, and the file is missing: %s:FILE, or %s:- for standard output; a "
			"host of that name is ipfix://%s",
			text, text, text, text);
	if (!rest && named < FORMAT_COUNT)
		return diag_set(
			diag, -EINVAL,
			"'%s' is a format, and the host is missing: %s://HOST:PORT; a host of that name is "
			"ipfix://%s",
			text, text, text);
	if (!rest || text[0] == '[')
		return collector_url_parse_address(c, text, diag);
	if (strncmp(rest, "//", 2) != 0 && !memchr(text, '+', scheme) && !is_lines &&
	    (named == FORMAT_COUNT || !rest[strspn(rest, "0123456789")]))
		return collector_url_parse_address(c, text, diag);
	r = collector_url_parse_scheme(c, text, scheme, diag);
	if (r)
		return r;
	if (c->transport == TRANSPORT_FILE)
		return collector_url_parse_file(c, rest, diag);
	if (strncmp(rest, "//", 2) != 0)
		return diag_set(diag, -EINVAL, "'%.80s' lacks the // before the host: %.*s://%.80s", text,
				(int)scheme, text, rest + strspn(rest, "/"));
	return collector_url_parse_address(c, rest + 2, diag);
}
