/* capture_sampling_none: built without libbpf.  The packets are drawn where they are metered. */
#include <errno.h>

#include "capture/capture_sampling.h"

int capture_sampling_new(struct capture_sampling **sp, const struct capture_sampling_config *config)
{
	(void)sp;
	(void)config;
	return -EOPNOTSUPP;
}

void capture_sampling_free(struct capture_sampling *s)
{
	(void)s;
}

int capture_sampling_attach(const struct capture_sampling *s, int fd)
{
	(void)s;
	(void)fd;
	return -EOPNOTSUPP;
}

void capture_sampling_set(struct capture_sampling *s, uint32_t interval)
{
	(void)s;
	(void)interval;
}

struct capture_sampling_count capture_sampling_left_out(const struct capture_sampling *s)
{
	(void)s;
	return (struct capture_sampling_count){0};
}
