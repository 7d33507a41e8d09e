/*
 * capture_sampling: see capture_sampling.h.
 *
 * The program is assembled here, as that of capture_xdp_program.c is.  It draws 64 random bits and compares
 * them with 2^64 / interval; the lower half is only drawn when the upper one does not decide, so a packet
 * costs one call in all but one case of 2^32.  The limit stands in the memory that is shared, in front of the
 * counters, so that whoever has that can change it without a system call.
 *
 * Limits: Linux 5.5 (memory of a map that can be mapped).
 */
#include "capture/capture_sampling.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNTER_SHIFT 6		 /* a line of the cache for each processor */
#define EVERY	      UINT64_MAX /* limit: no draw is needed */

struct sampling_counter {
	_Alignas(1 << COUNTER_SHIFT) uint64_t packets;
	uint64_t octets;
};

/* Shared with the kernel. */
struct sampling_memory {
	_Alignas(1 << COUNTER_SHIFT) uint64_t limit; /* a draw below it is taken; EVERY, 0 */
	struct sampling_counter counters[];	     /* of what is left out, for each processor */
};

struct capture_sampling {
	int map_fd, program_fd;
	unsigned n_counters;
	struct sampling_memory *memory;
	size_t mapped;
};

#define INSN(c, d, s, o, i)                                                                                  \
	((struct bpf_insn){.code = (uint8_t)(c),                                                             \
			   .dst_reg = (d),                                                                   \
			   .src_reg = (s),                                                                   \
			   .off = (int16_t)(o),                                                              \
			   .imm = (int32_t)(i)})
#define LOAD(d, member)	       INSN(BPF_LDX | BPF_MEM | BPF_W, d, BPF_REG_6, offsetof(struct __sk_buff, member), 0)
#define MOVE(d, i)	       INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define COPY(d, s)	       INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define ADD(d, s)	       INSN(BPF_ALU64 | BPF_ADD | BPF_X, d, s, 0, 0)
#define JUMP(kind, d, i, o)    INSN(BPF_JMP32 | (kind) | BPF_K, d, 0, o, i)
#define CALL(f)		       INSN(BPF_JMP | BPF_CALL, 0, 0, 0, f)
#define JUMP64(kind, d, i, o)  INSN(BPF_JMP | (kind) | BPF_K, d, 0, o, i)
#define JUMP_BY(kind, d, s, o) INSN(BPF_JMP32 | (kind) | BPF_X, d, s, o, 0)
#define COUNT(d, s, member)                                                                                  \
	INSN(BPF_STX | BPF_ATOMIC | BPF_DW, d, s, FIRST + offsetof(struct sampling_counter, member), BPF_ADD)
#define FIRST offsetof(struct sampling_memory, counters)
#define EXIT  INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* The direction that is not wanted goes to the line that takes nothing. */
static struct bpf_insn sampling_direction(enum capture_direction direction)
{
	return direction == CAPTURE_IN	  ? JUMP(BPF_JEQ, BPF_REG_2, PACKET_OUTGOING, 23)
	       : direction == CAPTURE_OUT ? JUMP(BPF_JNE, BPF_REG_2, PACKET_OUTGOING, 23)
					  : MOVE(BPF_REG_0, 0);
}

static int sampling_load(struct capture_sampling *s, const struct capture_sampling_config *config)
{
	static const struct bpf_prog_load_opts opts = {.sz = sizeof(opts)};
	const struct bpf_insn program[] = {
		/*  0 */ COPY(BPF_REG_6, BPF_REG_1),
		/*  1 */ LOAD(BPF_REG_2, pkt_type),
		/*  2 */ sampling_direction(config->direction),
		/*  3 */ INSN(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_7, BPF_PSEUDO_MAP_VALUE, 0, s->map_fd),
		/*  4 */ INSN(0, 0, 0, 0, 0),
		/*  5 */ INSN(BPF_LDX | BPF_MEM | BPF_DW, BPF_REG_8, BPF_REG_7, 0, 0),
		/*  6 */ JUMP64(BPF_JEQ, BPF_REG_8, -1, 21), /* all are taken */
		/*  7 */ JUMP64(BPF_JEQ, BPF_REG_8, 0, 7),   /* none is */
		/*  8 */ COPY(BPF_REG_9, BPF_REG_8),
		/*  9 */ INSN(BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_9, 0, 0, 32),
		/* 10 */ CALL(BPF_FUNC_get_prandom_u32),
		/* 11 */ JUMP_BY(BPF_JLT, BPF_REG_0, BPF_REG_9, 16), /* taken */
		/* 12 */ JUMP_BY(BPF_JGT, BPF_REG_0, BPF_REG_9, 2),
		/* 13 */ CALL(BPF_FUNC_get_prandom_u32),
		/* 14 */ JUMP_BY(BPF_JLT, BPF_REG_0, BPF_REG_8, 13), /* taken */
		/* 15 */ CALL(BPF_FUNC_get_smp_processor_id),
		/* 16 */ JUMP64(BPF_JGE, BPF_REG_0, (int32_t)s->n_counters, 9), /* there is none */
		/* 17 */ INSN(BPF_ALU64 | BPF_LSH | BPF_K, BPF_REG_0, 0, 0, COUNTER_SHIFT),
		/* 18 */ ADD(BPF_REG_7, BPF_REG_0),
		/* 19 */ MOVE(BPF_REG_2, 1),
		/* 20 */ COUNT(BPF_REG_7, BPF_REG_2, packets),
		/* 21 */ LOAD(BPF_REG_2, len),
		/* 22 */ LOAD(BPF_REG_3, vlan_present),
		/* 23 */ JUMP(BPF_JEQ, BPF_REG_3, 0, 1),
		/* 24 */ INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, 4),
		/* 25 */ COUNT(BPF_REG_7, BPF_REG_2, octets),
		/* 26 */ MOVE(BPF_REG_0, 0),
		/* 27 */ EXIT,
		/* 28 */ MOVE(BPF_REG_0, config->snap_len),
		/* 29 */ EXIT,
	};

	s->program_fd = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "pitot_sampling", "BSD-2-Clause", program,
				      sizeof(program) / sizeof(*program), &opts);
	return s->program_fd < 0 ? -errno : 0;
}

static int sampling_map(struct capture_sampling *s)
{
	static const struct bpf_map_create_opts mapped = {.sz = sizeof(mapped), .map_flags = BPF_F_MMAPABLE};
	size_t size = sizeof(*s->memory) + s->n_counters * sizeof(*s->memory->counters),
	       page = (size_t)sysconf(_SC_PAGESIZE);
	void *at;

	s->map_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "pitot_left_out", 4, (uint32_t)size, 1, &mapped);
	if (s->map_fd < 0)
		return -errno;
	s->mapped = (size + page - 1) / page * page;
	at = mmap(NULL, s->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, s->map_fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	s->memory = at;
	return 0;
}

int capture_sampling_new(struct capture_sampling **sp, const struct capture_sampling_config *config)
{
	struct capture_sampling *s;
	int n = libbpf_num_possible_cpus(), r;

	if (n <= 0)
		return n < 0 ? n : -ENOENT;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct capture_sampling){.map_fd = -1, .program_fd = -1, .n_counters = (unsigned)n};
	r = sampling_map(s);
	if (r == 0) {
		capture_sampling_set(s, config->interval);
		r = sampling_load(s, config);
	}
	if (r < 0) {
		capture_sampling_free(s);
		return r;
	}
	*sp = s;
	return 0;
}

void capture_sampling_free(struct capture_sampling *s)
{
	if (!s)
		return;
	if (s->memory)
		munmap(s->memory, s->mapped);
	if (s->program_fd >= 0)
		close(s->program_fd);
	if (s->map_fd >= 0)
		close(s->map_fd);
	free(s);
}

int capture_sampling_attach(const struct capture_sampling *s, int fd)
{
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &s->program_fd, sizeof(s->program_fd)) < 0 ? -errno
												    : 0;
}

void capture_sampling_set(struct capture_sampling *s, uint32_t interval)
{
	uint64_t limit = interval > 1 ? UINT64_MAX / interval : interval ? EVERY : 0;

	__atomic_store_n(&s->memory->limit, limit, __ATOMIC_SEQ_CST);
}

struct capture_sampling_count capture_sampling_left_out(const struct capture_sampling *s)
{
	struct capture_sampling_count sum = {0};

	for (unsigned i = 0; i < s->n_counters; i++) {
		sum.packets += __atomic_load_n(&s->memory->counters[i].packets, __ATOMIC_RELAXED);
		sum.octets += __atomic_load_n(&s->memory->counters[i].octets, __ATOMIC_RELAXED);
	}
	return sum;
}
