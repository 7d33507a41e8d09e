/*
 * capture_filter_user: programs of capture_filter.h run on frames that we have.
 *
 * Which tags a frame has is found here, and told to the program by constants at its front.
 *
 * Cooked captures have two ways to show tags: as in a frame, with the first one's EtherType in the header,
 * and as pitot/cooked.h says.
 */
#include <assert.h>
#include <pcap/pcap.h>
#include <stddef.h>

#include "capture/capture_filter_internal.h"
#include "pitot/cooked.h"

static_assert(sizeof(struct sock_filter) == sizeof(struct bpf_insn) &&
		      offsetof(struct sock_filter, jt) == offsetof(struct bpf_insn, jt) &&
		      offsetof(struct sock_filter, k) == offsetof(struct bpf_insn, k),
	      "the kernel's instructions are libpcap's");

struct filter_tags {
	uint32_t octets; /* between the header and the packet */
	uint16_t type;
};

static struct filter_tags filter_find_tags(enum filter_layout layout, const uint8_t *data, uint32_t cap_len,
					   uint32_t wire_len)
{
	static const uint8_t types[] = {[FILTER_ETHERNET] = 12, [FILTER_SLL] = 14, [FILTER_SLL2] = 0};
	static const uint8_t headers[] = {[FILTER_ETHERNET] = 14, [FILTER_SLL] = 16, [FILTER_SLL2] = 20};
	uint32_t header = headers[layout];
	struct filter_tags t = {0};

	if (cap_len < header)
		return t;
	t.type = cooked_u16(data + types[layout]);
	while (tag_is_type(t.type) && t.octets < 4 * FILTER_TAGS_MAX && cap_len >= header + t.octets + 4) {
		t.type = cooked_u16(data + header + t.octets + 2);
		t.octets += 4;
	}
	if (layout != FILTER_ETHERNET && wire_len >= cap_len)
		t.octets += cooked_rest_of_tags(t.type, data + header + t.octets, cap_len - header - t.octets,
						wire_len - header - t.octets);
	return t;
}

static bool filter_run(const struct sock_filter *insns, const uint8_t *data, uint32_t wire_len,
		       uint32_t cap_len)
{
	return bpf_filter((const struct bpf_insn *)insns, data, wire_len, cap_len) != 0;
}

bool capture_filter_passes(struct capture_filter *f, const uint8_t *data, uint32_t wire_len, uint32_t cap_len)
{
	struct filter_tags tags = {0};
	uint32_t less = f->header_extra;

	if (f->tagged)
		tags = filter_find_tags(f->layout, data, cap_len, wire_len);
	less += tags.octets;
	less = less < wire_len ? wire_len - less : 0;
	if (tags.octets == 0)
		return filter_run(f->insns, data, less, cap_len);
	f->tagged[FILTER_CONSTANT_SHIFT].k = tags.octets + f->shift_extra;
	f->tagged[FILTER_CONSTANT_TYPE].k = tags.type;
	return filter_run(f->tagged, data, less, cap_len);
}
