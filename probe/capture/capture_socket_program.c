/*
 * capture_socket_program: see capture_socket_program.h.
 *
 * Limits: Linux 5.5 (memory of a map that can be mapped).
 */
#include "capture/capture_socket_program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/capture_socket_code.h"

struct capture_socket_program {
	int fd;
	bool draws;
	unsigned n_counters;
	struct socket_memory *memory;
	size_t mapped;
};

static int program_fail(const char *what, struct diag *why)
{
	int err = errno;

	if (err == EPERM || err == EACCES)
		return diag_set(why, -err, "%s: %s (it takes CAP_BPF)", what, strerror(err));
	return diag_set(why, -err, "%s: %s", what, strerror(err));
}

/* The descriptor of the map. */
static int program_map(struct capture_socket_program *p, struct diag *why)
{
	static const struct bpf_map_create_opts mapped = {.sz = sizeof(mapped), .map_flags = BPF_F_MMAPABLE};
	size_t size = sizeof(*p->memory) + p->n_counters * sizeof(*p->memory->counters),
	       page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "pitot_left_out", 4, (uint32_t)size, 1, &mapped), r;
	void *at;

	if (fd < 0)
		return program_fail("no shared map of eBPF", why);
	p->mapped = (size + page - 1) / page * page;
	at = mmap(NULL, p->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at != MAP_FAILED) {
		p->memory = at;
		return fd;
	}
	r = program_fail("mapping a map of eBPF", why);
	close(fd);
	return r;
}

static int program_load(struct capture_socket_program *p, const struct capture_socket_program_config *config,
			int map_fd, struct diag *why)
{
	static const struct bpf_prog_load_opts opts = {.sz = sizeof(opts)};
	const struct socket_code_config code = {
		.insns = config->filter->insns,
		.n = config->filter->n,
		.n_uncounted = config->filter->n_direction,
		.header = config->header,
		.draws = config->draws,
		.map_fd = map_fd,
		.n_counters = p->n_counters,
	};
	struct bpf_insn *insns;
	unsigned n;
	int r = socket_code_make(&insns, &n, &code, why);

	if (r < 0)
		return r;
	p->fd = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "pitot_socket", "BSD-2-Clause", insns, n, &opts);
	if (p->fd < 0)
		r = program_fail("the kernel refuses the filter in eBPF", why);
	free(insns);
	return r;
}

int capture_socket_program_new(struct capture_socket_program **pp,
			       const struct capture_socket_program_config *config, struct diag *why)
{
	int n = libbpf_num_possible_cpus(), map_fd, r;
	struct capture_socket_program *p;

	if (n <= 0)
		return diag_set(why, n < 0 ? n : -ENOENT, "the number of processors is not known");
	p = calloc(1, sizeof(*p));
	if (!p)
		return diag_set(why, -ENOMEM, "out of memory");
	*p = (struct capture_socket_program){.fd = -1, .draws = config->draws, .n_counters = (unsigned)n};
	r = map_fd = program_map(p, why);
	if (map_fd >= 0) {
		capture_socket_program_draw(p, config->interval);
		r = program_load(p, config, map_fd, why);
		close(map_fd); /* the program and the mapping hold it */
	}
	if (r < 0) {
		capture_socket_program_free(p);
		return r;
	}
	*pp = p;
	return 0;
}

void capture_socket_program_free(struct capture_socket_program *p)
{
	if (!p)
		return;
	if (p->memory)
		munmap(p->memory, p->mapped);
	if (p->fd >= 0)
		close(p->fd);
	free(p);
}

int capture_socket_program_attach(const struct capture_socket_program *p, int fd)
{
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &p->fd, sizeof(p->fd)) < 0 ? -errno : 0;
}

void capture_socket_program_draw(struct capture_socket_program *p, uint32_t interval)
{
	uint64_t limit = interval > 1 ? UINT64_MAX / interval : interval ? SOCKET_DRAW_EVERY : 0;

	__atomic_store_n(&p->memory->limit, limit, __ATOMIC_SEQ_CST);
}

bool capture_socket_program_draws(const struct capture_socket_program *p)
{
	return p->draws;
}

static uint64_t program_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

struct capture_left_out capture_socket_program_left_out(const struct capture_socket_program *p)
{
	struct capture_left_out sum = {0};

	for (unsigned i = 0; i < p->n_counters; i++) {
		const struct socket_counters *c = &p->memory->counters[i];

		sum.filtered += program_read(&c->filtered.packets);
		sum.filtered_octets += program_read(&c->filtered.octets);
		sum.unselected += program_read(&c->unselected.packets);
		sum.unselected_octets += program_read(&c->unselected.octets);
	}
	return sum;
}
