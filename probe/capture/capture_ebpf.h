/*
 * capture_ebpf: instructions of eBPF, for the programs that are assembled here: so that no compiler for BPF
 * is needed to build, and no object file to run.
 */
#ifndef CAPTURE_EBPF_H
#define CAPTURE_EBPF_H

#include <linux/bpf.h>
#include <stdint.h>

#define EBPF_INSN(c, d, s, o, i)                                                                             \
	((struct bpf_insn){.code = (uint8_t)(c),                                                             \
			   .dst_reg = (d),                                                                   \
			   .src_reg = (s),                                                                   \
			   .off = (int16_t)(o),                                                              \
			   .imm = (int32_t)(i)})
#define EBPF_LOAD(size, d, s, o) EBPF_INSN(BPF_LDX | BPF_MEM | (size), d, s, o, 0)
#define EBPF_MOVE(d, i)		 EBPF_INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define EBPF_COPY(d, s)		 EBPF_INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define EBPF_ADD(d, s)		 EBPF_INSN(BPF_ALU64 | BPF_ADD | BPF_X, d, s, 0, 0)
#define EBPF_ATOMIC_ADD(d, s, o) EBPF_INSN(BPF_STX | BPF_ATOMIC | BPF_DW, d, s, o, BPF_ADD)
#define EBPF_CALL(f)		 EBPF_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, f)
#define EBPF_EXIT		 EBPF_INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
/* Of two: the address of a map, or of what is in it. */
#define EBPF_LOAD_MAP(d, kind, fd) EBPF_INSN(BPF_LD | BPF_DW | BPF_IMM, d, kind, 0, fd)
#define EBPF_LOAD_MAP_REST	   EBPF_INSN(0, 0, 0, 0, 0)

#endif
