/* sections: see include/pitot/sections.h. */
#include "pitot/sections.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char sections_magic[8] = "pitot-1";

struct sections_head {
	char name[SECTION_NAME];
	uint32_t version;
	uint32_t spare;
	uint64_t size;
};

enum { ALIGN = 8 };

/* ---- writing */

static void sections_append(struct sections_writer *w, const void *data, size_t size)
{
	if (w->overflow || w->size - w->used < size) {
		w->overflow = true;
		return;
	}
	if (size)
		memcpy(w->memory + w->used, data, size);
	w->used += size;
}

void sections_write_init(struct sections_writer *w, void *memory, size_t size)
{
	*w = (struct sections_writer){.memory = memory, .size = size};
	sections_append(w, sections_magic, sizeof(sections_magic));
}

void sections_begin(struct sections_writer *w, const char *name, uint32_t version)
{
	struct sections_head head = {.version = version};

	snprintf(head.name, sizeof(head.name), "%s", name);
	w->open = w->used;
	sections_append(w, &head, sizeof(head));
}

void sections_put(struct sections_writer *w, const void *data, size_t size)
{
	sections_append(w, data, size);
}

void sections_end(struct sections_writer *w)
{
	static const uint8_t zeros[ALIGN];
	uint64_t size;

	if (w->overflow)
		return;
	size = w->used - w->open - sizeof(struct sections_head);
	memcpy(w->memory + w->open + offsetof(struct sections_head, size), &size, sizeof(size));
	sections_append(w, zeros, (ALIGN - size % ALIGN) % ALIGN);
	w->open = 0;
}

size_t sections_finish(struct sections_writer *w)
{
	return w->overflow ? 0 : w->used;
}

/* ---- reading */

int sections_read_init(struct sections_reader *r, const void *memory, size_t size)
{
	*r = (struct sections_reader){.at = memory, .end = (const uint8_t *)memory + size};
	if (size < sizeof(sections_magic) || memcmp(memory, sections_magic, sizeof(sections_magic)) != 0)
		return -EBADMSG;
	r->at += sizeof(sections_magic);
	return 0;
}

bool sections_next(struct sections_reader *r, struct section *s)
{
	struct sections_head head;
	size_t left = (size_t)(r->end - r->at), pad;

	*s = (struct section){.name = ""};
	if (left == 0 || r->broken)
		return false;
	if (left < sizeof(head)) {
		r->broken = true;
		return false;
	}
	memcpy(&head, r->at, sizeof(head));
	left -= sizeof(head);
	if (head.size > left || !head.name[0]) {
		r->broken = true;
		return false;
	}
	memcpy(s->name, head.name, SECTION_NAME);
	s->version = head.version;
	s->at = r->at + sizeof(head);
	s->left = (size_t)head.size;
	pad = (ALIGN - s->left % ALIGN) % ALIGN;
	r->at = s->at + s->left;
	r->at += pad < (size_t)(r->end - r->at) ? pad : (size_t)(r->end - r->at);
	return true;
}

bool sections_find(const struct sections_reader *r, const char *name, uint32_t version, struct section *s)
{
	struct sections_reader from = *r;

	while (sections_next(&from, s))
		if (strcmp(s->name, name) == 0 && s->version == version)
			return true;
	return false;
}

const void *section_take(struct section *s, size_t size)
{
	const uint8_t *at = s->at;

	if (s->left < size)
		return NULL;
	s->at += size;
	s->left -= size;
	return at;
}

bool section_get(struct section *s, void *to, size_t size)
{
	const void *from = section_take(s, size);

	if (from && size)
		memcpy(to, from, size);
	return from != NULL;
}
