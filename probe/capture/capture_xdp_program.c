/*
 * capture_xdp_program: see capture_xdp_program.h.
 *
 * The program is assembled here (capture_ebpf.h).  It hangs on a bpf_link, which the kernel takes away with
 * the last descriptor: nothing is left on the interface however the process ends.  (libxdp's own loader
 * shares an interface with other XDP programs, but pins what it attached, and leaves it behind.)
 *
 * Stopping must need no system call that a sandbox forbids: the gate is a word of memory that the program
 * reads.
 *
 * Limits: Linux 5.9; one XDP program an interface.
 */
#include "capture/capture_xdp_program.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "capture/capture_ebpf.h"
#include "capture/capture_interface.h"

static int program_fail(const char *interface, int err, const char *what, struct diag *diag)
{
	if (err == EPERM || err == EACCES)
		return diag_set(
			diag, -err,
			"%s: XDP needs a privilege that is missing (CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW)",
			interface);
	return diag_set(diag, -err, "%s: XDP: %s: %s", interface, what, strerror(err));
}

static int program_make_maps(struct capture_xdp_program *p, const char *interface, unsigned n_queues,
			     struct diag *diag)
{
	/* libbpf wants the octets between members to be 0, too: these are static */
	static const struct bpf_map_create_opts mapped = {.sz = sizeof(mapped), .map_flags = BPF_F_MMAPABLE};
	void *gate;

	p->sockets_fd = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "pitot_sockets", 4, 4, n_queues, NULL);
	if (p->sockets_fd < 0)
		return program_fail(interface, errno, "no map of sockets", diag);
	p->gate_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "pitot_gate", 4, sizeof(*p->gate), 1, &mapped);
	if (p->gate_fd < 0)
		return program_fail(interface, errno, "no shared map", diag);
	gate = mmap(NULL, sizeof(*p->gate), PROT_READ | PROT_WRITE, MAP_SHARED, p->gate_fd, 0);
	if (gate == MAP_FAILED)
		return program_fail(interface, errno, "mapping a map", diag);
	p->gate = gate;
	return 0;
}

static int program_load(struct capture_xdp_program *p, const char *interface, struct diag *diag)
{
	const struct bpf_insn program[] = {
		EBPF_LOAD(BPF_W, BPF_REG_2, BPF_REG_1, offsetof(struct xdp_md, rx_queue_index)),
		EBPF_LOAD_MAP(BPF_REG_6, BPF_PSEUDO_MAP_VALUE, p->gate_fd),
		EBPF_LOAD_MAP_REST,
		EBPF_LOAD(BPF_W, BPF_REG_3, BPF_REG_6, offsetof(struct capture_xdp_gate, open)),
		EBPF_INSN(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_3, 0, 7, 0), /* to the last two */
		EBPF_LOAD_MAP(BPF_REG_1, BPF_PSEUDO_MAP_FD, p->sockets_fd),
		EBPF_LOAD_MAP_REST,
		EBPF_MOVE(BPF_REG_3, XDP_PASS), /* the outcome for a queue without a socket */
		EBPF_CALL(BPF_FUNC_redirect_map),
		EBPF_INSN(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, 3, XDP_REDIRECT), /* to the last */
		EBPF_MOVE(BPF_REG_1, 1),
		EBPF_ATOMIC_ADD(BPF_REG_6, BPF_REG_1, offsetof(struct capture_xdp_gate, missed)),
		EBPF_MOVE(BPF_REG_0, XDP_PASS),
		EBPF_EXIT,
	};
	static const struct bpf_prog_load_opts opts = {.sz = sizeof(opts), .expected_attach_type = BPF_XDP};

	p->program_fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "pitot", "BSD-2-Clause", program,
				      sizeof(program) / sizeof(*program), &opts);
	return p->program_fd < 0 ? program_fail(interface, errno, "the kernel refuses the program", diag) : 0;
}

static int program_attach(struct capture_xdp_program *p, const char *interface, unsigned ifindex,
			  struct diag *diag)
{
	static const struct bpf_link_create_opts modes[] = {
		{.sz = sizeof(*modes), .flags = XDP_FLAGS_DRV_MODE},
		{.sz = sizeof(*modes), .flags = XDP_FLAGS_SKB_MODE},
	};

	for (unsigned i = 0; i < 2; i++) {
		p->link_fd = bpf_link_create(p->program_fd, (int)ifindex, BPF_XDP, &modes[i]);
		p->generic = i == 1;
		if (p->link_fd >= 0)
			return 0;
		if (errno == EBUSY || errno == EEXIST || errno == EPERM)
			break;
	}
	if (errno == EBUSY || errno == EEXIST)
		return diag_set(diag, -EBUSY, "%s: another XDP program is there already (ip link show %s)",
				interface, interface);
	return program_fail(interface, errno, "the program cannot be attached", diag);
}

int capture_xdp_program_open(struct capture_xdp_program *p, const char *interface, unsigned ifindex,
			     unsigned n_queues, struct diag *diag)
{
	int r;

	*p = (struct capture_xdp_program){.sockets_fd = -1, .gate_fd = -1, .program_fd = -1, .link_fd = -1};
	r = program_make_maps(p, interface, n_queues, diag);
	if (r == 0)
		r = program_load(p, interface, diag);
	if (r == 0)
		r = program_attach(p, interface, ifindex, diag);
	if (r < 0)
		capture_xdp_program_close(p);
	return r;
}

int capture_xdp_program_add(struct capture_xdp_program *p, unsigned queue, int socket)
{
	return bpf_map_update_elem(p->sockets_fd, &queue, &socket, BPF_ANY) < 0 ? -errno : 0;
}

void capture_xdp_program_set_gate(struct capture_xdp_program *p, bool open)
{
	__atomic_store_n(&p->gate->open, open, __ATOMIC_RELEASE);
}

uint64_t capture_xdp_program_missed(const struct capture_xdp_program *p)
{
	return __atomic_load_n(&p->gate->missed, __ATOMIC_RELAXED);
}

void capture_xdp_program_close(struct capture_xdp_program *p)
{
	const int fds[] = {p->link_fd, p->program_fd, p->sockets_fd, p->gate_fd};

	if (p->gate)
		munmap(p->gate, sizeof(*p->gate));
	for (unsigned i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	*p = (struct capture_xdp_program){.sockets_fd = -1, .gate_fd = -1, .program_fd = -1, .link_fd = -1};
}
