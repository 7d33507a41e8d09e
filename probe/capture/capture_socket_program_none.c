/* capture_socket_program_none: built without libbpf.  The filter is a classic program, which counts nothing,
 * and packets are drawn where they are metered. */
#include <errno.h>

#include "capture/capture_socket_program.h"

int capture_socket_program_new(struct capture_socket_program **pp,
			       const struct capture_socket_program_config *config, struct diag *why)
{
	(void)pp;
	(void)config;
	return diag_set(why, -EOPNOTSUPP, "built without libbpf");
}

void capture_socket_program_free(struct capture_socket_program *p)
{
	(void)p;
}

int capture_socket_program_attach(const struct capture_socket_program *p, int fd)
{
	(void)p;
	(void)fd;
	return -EOPNOTSUPP;
}

void capture_socket_program_draw(struct capture_socket_program *p, uint32_t interval)
{
	(void)p;
	(void)interval;
}

bool capture_socket_program_draws(const struct capture_socket_program *p)
{
	(void)p;
	return false;
}

struct capture_left_out capture_socket_program_left_out(const struct capture_socket_program *p)
{
	(void)p;
	return (struct capture_left_out){0};
}
