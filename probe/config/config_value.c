/*
 * config_value: numbers, sizes, durations and switches as a user writes them.
 *
 * Strict: no signs, no leading blanks, no other base, nothing after the value, no overflow.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/config_internal.h"

enum { CPU_MAX = 1023 };
#include "pitot/clock.h"

/* Leading decimal digits of *text; false when there is none or the value does not fit. */
static bool value_digits(uint64_t *out, const char **text)
{
	const char *p = *text;
	uint64_t n = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return false;
	}
	*text = p;
	*out = n;
	return true;
}

int config_value_number(uint64_t *out, const char *text, uint64_t min, uint64_t max, const char *label,
			struct diag *diag)
{
	const char *p = text;
	uint64_t n;

	if (!value_digits(&n, &p) || *p || n < min || n > max)
		return diag_set(diag, CONFIG_E_USAGE,
				"%s: '%.80s' is not a number from %" PRIu64 " to %" PRIu64, label, text, min,
				max);
	*out = n;
	return 0;
}

static void value_size_text(char *dst, size_t size, uint64_t n)
{
	static const char units[] = " KMG";
	unsigned u = 0;

	while (u < 3 && n && n % 1024 == 0) {
		n /= 1024;
		u++;
	}
	snprintf(dst, size, u ? "%" PRIu64 "%c" : "%" PRIu64, n, units[u]);
}

int config_value_size(uint64_t *out, const char *text, uint64_t min, uint64_t max, const char *label,
		      struct diag *diag)
{
	const char *p = text;
	char least[24], most[24];
	uint64_t n, unit = 1;
	bool good = value_digits(&n, &p);

	if (good && *p) {
		unit = strchr("kK", *p)	  ? 1024
		       : strchr("mM", *p) ? 1048576
		       : strchr("gG", *p) ? 1073741824
					  : 0;
		good = unit && !p[1];
	}
	if (good && !__builtin_mul_overflow(n, unit, &n) && n >= min && n <= max) {
		*out = n;
		return 0;
	}
	value_size_text(least, sizeof(least), min);
	value_size_text(most, sizeof(most), max);
	return diag_set(diag, CONFIG_E_USAGE,
			"%s: '%.80s' is not a size from %s to %s (a number of octets, or one with K, M or G)",
			label, text, least, most);
}

/* Digits after a point, at most nine, as billionths. */
static bool value_fraction(uint64_t *ns, const char **text)
{
	const char *p = *text;
	uint64_t n = 0, scale = NS_PER_SEC;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (scale == 1)
			return false;
		scale /= 10;
		n += (uint64_t)(*p - '0') * scale;
	}
	if (p == *text)
		return false;
	*text = p;
	*ns = n;
	return true;
}

/* One member of 1h30m; without a unit: seconds. */
static bool value_duration(uint64_t *ns, const char **text)
{
	static const struct {
		char name;
		uint64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
	uint64_t whole, part = 0, unit = 1;

	if (!value_digits(&whole, text))
		return false;
	if (**text == '.') {
		(*text)++;
		if (!value_fraction(&part, text))
			return false;
	}
	for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if ((**text | 0x20) == units[i].name) {
			unit = units[i].seconds;
			(*text)++;
			break;
		}
	}
	return !__builtin_mul_overflow(whole, NS_PER_SEC, &whole) &&
	       !__builtin_add_overflow(whole, part, &whole) && !__builtin_mul_overflow(whole, unit, ns);
}

int config_value_seconds(uint64_t *out_ns, const char *text, uint64_t min_ns, uint64_t max_ns,
			 const char *label, struct diag *diag)
{
	const char *p = text;
	uint64_t sum = 0, one;

	do {
		if (!value_duration(&one, &p) || __builtin_add_overflow(sum, one, &sum))
			goto bad;
	} while (*p >= '0' && *p <= '9');
	if (*p || sum < min_ns || sum > max_ns)
		goto bad;
	*out_ns = sum;
	return 0;
bad:
	return diag_set(diag, CONFIG_E_USAGE,
			"%s: '%.80s' is not a time from %g to %" PRIu64
			" seconds (such as 30, 1.5, 90s, 5m or 1h30m)",
			label, text, (double)min_ns / 1e9, max_ns / NS_PER_SEC);
}

int config_value_switch(bool *out, const char *text, const char *label, struct diag *diag)
{
	static const char *const yes[] = {"yes", "true", "on", "1"};
	static const char *const no[] = {"no", "false", "off", "0"};

	*out = true;
	if (!text)
		return 0;
	for (unsigned i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (strcasecmp(text, yes[i]) == 0)
			return 0;
		if (strcasecmp(text, no[i]) == 0) {
			*out = false;
			return 0;
		}
	}
	return diag_set(diag, CONFIG_E_USAGE, "%s: '%.80s' is neither yes nor no", label, text);
}

const char *config_address_is(const char *text, unsigned kinds)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* RFC 4291 §2.5.5.2 */
	static const uint8_t none[16], all[4] = {0xff, 0xff, 0xff, 0xff};
	uint8_t six[16], *four = six + 12;
	char bare[64];
	bool is_six;

	snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(text, "%"), text); /* without its zone */
	is_six = inet_pton(AF_INET6, bare, six) == 1 && memcmp(six, mapped, sizeof(mapped)) != 0;
	if (!is_six && inet_pton(AF_INET6, bare, six) != 1 && inet_pton(AF_INET, bare, four) != 1)
		return NULL;
	if (kinds & CONFIG_UNSPECIFIED && (is_six ? !memcmp(six, none, 16) : !memcmp(four, none, 4)))
		return "the unspecified address";
	if (kinds & CONFIG_MULTICAST && (is_six ? six[0] == 0xff : (four[0] & 0xf0) == 0xe0))
		return "a multicast address";
	if (kinds & CONFIG_BROADCAST && !is_six && !memcmp(four, all, 4))
		return "the broadcast address";
	return NULL;
}

/* One number or range of a list; where it ends, or NULL when it is none. */
static const char *value_cpu_range(const char *p, unsigned *first, unsigned *last)
{
	unsigned n[2] = {0, 0};

	for (unsigned i = 0; i < 2; i++) {
		if (*p < '0' || *p > '9')
			return NULL;
		for (; *p >= '0' && *p <= '9' && n[i] <= CPU_MAX; p++)
			n[i] = n[i] * 10 + (unsigned)(*p - '0');
		if (i == 0 && *p != '-') {
			n[1] = n[0];
			break;
		}
		p += i == 0;
	}
	*first = n[0];
	*last = n[1];
	return n[0] <= n[1] && n[1] <= CPU_MAX && (*p == ',' || *p == '\0') ? p : NULL;
}

int config_cpu(const char *list, unsigned i)
{
	unsigned first, last, total = 0;

	if (!list)
		return -1;
	for (unsigned turn = 0; turn < 2; turn++) { /* first count them, then find it */
		const char *p = list;

		if (turn)
			i %= total;
		do {
			p = value_cpu_range(p, &first, &last);
			if (!p)
				return -1;
			if (turn && i <= last - first)
				return (int)(first + i);
			if (turn)
				i -= last - first + 1;
			else
				total += last - first + 1;
		} while (*p++ == ',');
	}
	return -1;
}
