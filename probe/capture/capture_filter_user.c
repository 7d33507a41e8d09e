/*
 * capture_filter_user: see capture_filter_user.h.
 *
 * libpcap's interpreter does not know the loads from "ancillary data" that a program for a packet socket has
 * in place of reading the tag out of the frame.  They become loads from the two highest words of the scratch
 * memory, and four instructions in front fill these from constants, which are set before each run.
 */
#include "capture/capture_filter_user.h"

#include <assert.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
	PREFIX = 4, /* load present, store it, load tci, store it */
	WORD_PRESENT = BPF_MEMWORDS - 2,
	WORD_TCI = BPF_MEMWORDS - 1,
};

static_assert(sizeof(struct sock_filter) == sizeof(struct bpf_insn) &&
		      offsetof(struct sock_filter, jt) == offsetof(struct bpf_insn, jt) &&
		      offsetof(struct sock_filter, k) == offsetof(struct bpf_insn, k),
	      "the kernel's instructions are libpcap's");

static bool filter_is_absolute_load(const struct sock_filter *f)
{
	return BPF_CLASS(f->code) == BPF_LD && BPF_MODE(f->code) == BPF_ABS;
}

static bool filter_uses_our_words(const struct sock_filter *f)
{
	switch (BPF_CLASS(f->code)) {
	case BPF_ST:
	case BPF_STX:
		return f->k >= WORD_PRESENT;
	case BPF_LD:
	case BPF_LDX:
		return BPF_MODE(f->code) == BPF_MEM && f->k >= WORD_PRESENT;
	default:
		return false;
	}
}

/* false: only the kernel knows. */
static bool filter_localize_one(struct sock_filter *f)
{
	if (filter_uses_our_words(f))
		return false;
	if (!filter_is_absolute_load(f) || f->k < (uint32_t)SKF_LL_OFF)
		return true;
	switch (f->k) {
	case (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT):
		*f = (struct sock_filter)BPF_STMT(BPF_LD | BPF_MEM, WORD_PRESENT);
		return true;
	case (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG):
		*f = (struct sock_filter)BPF_STMT(BPF_LD | BPF_MEM, WORD_TCI);
		return true;
	case (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE): /* "inbound": every frame came in */
		*f = (struct sock_filter)BPF_STMT(BPF_LD | BPF_IMM, 0);
		return true;
	default:
		return false;
	}
}

int capture_filter_localize(struct capture_filter *f, const char *expression, struct diag *diag)
{
	struct sock_filter *insns = calloc(f->n + PREFIX, sizeof(*insns));

	if (!insns)
		return diag_set(diag, -ENOMEM, "filter: out of memory");
	insns[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_IMM, 0);
	insns[1] = (struct sock_filter)BPF_STMT(BPF_ST, WORD_PRESENT);
	insns[2] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_IMM, 0);
	insns[3] = (struct sock_filter)BPF_STMT(BPF_ST, WORD_TCI);
	for (unsigned i = 0; i < f->n; i++) {
		insns[PREFIX + i] = f->insns[i];
		if (filter_localize_one(&insns[PREFIX + i]))
			continue;
		free(insns);
		return diag_set(diag, -EOPNOTSUPP, "--filter \"%s\": only a packet socket can do this",
				expression);
	}
	free(f->insns);
	*f = (struct capture_filter){.insns = insns, .n = f->n + PREFIX};
	return 0;
}

bool capture_filter_passes(struct capture_filter *f, const uint8_t *data, uint32_t wire_len, uint32_t cap_len,
			   bool has_tag, uint16_t tci)
{
	f->insns[0].k = has_tag;
	f->insns[2].k = tci;
	return bpf_filter((const struct bpf_insn *)f->insns, data, wire_len, cap_len) != 0;
}
