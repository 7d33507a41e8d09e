/* compress: see compress.h. */
#include "transport/compress.h"

#include <errno.h>
#include <stdlib.h>

static const struct compress_ops *const kinds[COMPRESSION_COUNT] = {
#define COMPRESSION(NAME, name, library) [COMPRESSION_##NAME] = &compress_##name##_ops,
#include "pitot/compressions.def"
};

struct compress {
	const struct compress_ops *ops;
	void *state;
	size_t room;
	uint8_t out[];
};

int compress_new(struct compress **cp, enum compression kind, size_t largest)
{
	const struct compress_ops *ops = kinds[kind];
	struct compress *c;
	size_t room;

	if (!ops || !ops->begin)
		return -EOPNOTSUPP;
	room = ops->bound(largest);
	c = malloc(sizeof(*c) + room);
	if (!c)
		return -ENOMEM;
	*c = (struct compress){.ops = ops, .state = ops->begin(), .room = room};
	if (!c->state) {
		free(c);
		return -ENOMEM;
	}
	*cp = c;
	return 0;
}

void compress_free(struct compress *c)
{
	if (!c)
		return;
	c->ops->end(c->state);
	free(c);
}

const uint8_t *compress_member(struct compress *c, const uint8_t *data, size_t size, size_t *length)
{
	*length = c->ops->member(c->state, data, size, c->out, c->room);
	return *length ? c->out : NULL;
}
