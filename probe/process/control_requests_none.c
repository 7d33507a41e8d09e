/* control_requests: see control_requests.h.  This build has no JSON library. */
#include "control_requests.h"

bool control_requests_exist(void)
{
	return false;
}

char *control_requests_answer(void *ctx, const char *line, size_t size, struct control_stream **stream)
{
	(void)stream;
	(void)ctx;
	(void)line;
	(void)size;
	return NULL;
}
