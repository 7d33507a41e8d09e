/* protocol: see include/pitot/protocol.h. */
#include "pitot/protocol.h"

#include <stdio.h>
#include <string.h>

static const struct protocol protocols[] = {
#define PROTOCOL(name, word, title, number, kind, family) {word, title, number, family},
#include "pitot/protocols.def"
};

enum { PROTOCOLS = sizeof(protocols) / sizeof(protocols[0]) };

const struct protocol *protocol_by_word(const char *word)
{
	for (unsigned i = 0; i < PROTOCOLS; i++)
		if (protocols[i].word && strcmp(protocols[i].word, word) == 0)
			return &protocols[i];
	return NULL;
}

static const struct protocol *protocol_by_number(uint8_t number)
{
	for (unsigned i = 0; i < PROTOCOLS; i++)
		if (protocols[i].number == number)
			return &protocols[i];
	return NULL;
}

static const char *protocol_number(char text[PROTOCOL_TEXT], uint8_t number)
{
	snprintf(text, PROTOCOL_TEXT, "%u", number);
	return text;
}

const char *protocol_word(char text[PROTOCOL_TEXT], uint8_t number)
{
	const struct protocol *p = protocol_by_number(number);

	return p && p->word ? p->word : protocol_number(text, number);
}

const char *protocol_title(char text[PROTOCOL_TEXT], uint8_t number)
{
	const struct protocol *p = protocol_by_number(number);

	return p ? p->title : protocol_number(text, number);
}
