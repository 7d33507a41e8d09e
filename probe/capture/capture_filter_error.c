/*
 * capture_filter_error: the words of an expression, and which of them libpcap did not understand.
 *
 * libpcap says what is wrong but not where.  It reads an expression word by word, and the first error is the
 * one that it tells: when the first i words are followed by one of which the scanner itself complains, it is
 * that complaint that comes back as long as those i words are fine.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/capture_filter_internal.h"

#define MARKER	      " ::999.999.999.999"
#define MARKER_ERROR  "999.999"
#define SYNTAX_PREFIX "can't parse filter expression: "

static bool error_word_has(char c)
{
	return isalnum((unsigned char)c) || strchr("-_.:/\\$", c);
}

/* The next word from *at on, which is moved behind it; its length, 0 at the end. */
static size_t error_word_next(const char **at, const char **word)
{
	const char *p = *at;

	while (isspace((unsigned char)*p))
		p++;
	*word = p;
	if (!*p)
		return 0;
	if (error_word_has(*p))
		while (*p && error_word_has(*p))
			p++;
	else if (!strncmp(p, "&&", 2) || !strncmp(p, "||", 2) || !strncmp(p, "<<", 2) ||
		 !strncmp(p, ">>", 2) || (strchr("<>=!", *p) && p[1] == '='))
		p += 2;
	else
		p++;
	*at = p;
	return (size_t)(p - *word);
}

bool filter_names(const char *expression, const char *word)
{
	const char *at = expression, *found;
	size_t n;

	while ((n = error_word_next(&at, &found)) > 0)
		if (n == strlen(word) && !memcmp(found, word, n))
			return true;
	return false;
}

/* Whether libpcap reads past these octets of the expression. */
static bool error_is_behind(pcap_t *p, const char *expression, size_t octets)
{
	struct bpf_program program;
	char *text = malloc(octets + sizeof(MARKER));
	bool behind = false;

	if (!text)
		return false;
	memcpy(text, expression, octets);
	memcpy(text + octets, MARKER, sizeof(MARKER));
	if (pcap_compile(p, &program, text, 0, PCAP_NETMASK_UNKNOWN) == 0)
		pcap_freecode(&program);
	else
		behind = strstr(pcap_geterr(p), MARKER_ERROR);
	free(text);
	return behind;
}

int filter_explain(struct diag *diag, const char *expression, pcap_t *p)
{
	const char *at = expression, *word = at, *why;
	char text[PCAP_ERRBUF_SIZE];
	size_t n;

	snprintf(text, sizeof(text), "%s", pcap_geterr(p));
	why = strncmp(text, SYNTAX_PREFIX, strlen(SYNTAX_PREFIX)) ? text : text + strlen(SYNTAX_PREFIX);
	/* a libpcap that does not play along */
	if (!error_is_behind(p, "", 0))
		return diag_set(diag, -EINVAL, "--filter \"%.200s\": %s", expression, why);
	while ((n = error_word_next(&at, &word)) > 0)
		if (!error_is_behind(p, expression, (size_t)(at - expression)))
			return diag_set(diag, -EINVAL, "--filter \"%.200s\": %s, at \"%.*s\" (character %zu)",
					expression, why, n > 60 ? 60 : (int)n, word,
					(size_t)(word - expression) + 1);
	return diag_set(diag, -EINVAL, "--filter \"%.200s\": %s, at its end", expression, why);
}
