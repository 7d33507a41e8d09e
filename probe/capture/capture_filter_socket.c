/*
 * capture_filter_socket: programs for packet sockets, where the outermost VLAN tag may be beside the frame.
 *
 * The kernel takes it out of every frame that it receives.  Of those that it sends some have it beside the
 * frame (the card puts it in), some in the frame (a program wrote it, or the card cannot).  A second tag is
 * always in the frame.
 *
 * A socket for all interfaces gets frames from the network header on.  Of received ones that is what follows
 * the Ethernet header and the tag that was taken out, so a second tag is in front of the packet, and
 * skb->protocol says what kind of tag.  Of sent ones it is mostly the packet itself, whatever tags are before
 * it, and sometimes not: so the tags are looked up in the link layer's header, which can be read as well, and
 * where the packet begins is told by comparing the two.
 */
#include <linux/if_packet.h>

#include "capture/capture_filter_internal.h"
#include "capture/capture_filter_view.h"
#include "pitot/tag.h"

#define BESIDE(what)   (uint32_t)(SKF_AD_OFF + SKF_AD_##what)
#define LINK_LAYER(at) (uint32_t)(SKF_LL_OFF + (at))
#define BACK(octets)   (uint32_t)(-(octets))
#define COPY(...)                                                                                            \
	((const struct filter_piece[]){__VA_ARGS__}),                                                        \
		sizeof((const struct filter_piece[]){__VA_ARGS__}) / sizeof(struct filter_piece)

enum { ETHERNET_HEADER = 14, SLL2_HEADER = 20, ETHERNET_TYPE = 12, TAG = 4 };

static int filter_put_copy(struct filter_code *c, const struct bpf_program *program,
			   const struct filter_piece *pieces, unsigned n, bool has_length)
{
	return filter_view_put(c, program,
			       &(struct filter_view){.pieces = pieces, .n = n, .has_length = has_length});
}

/* A is an EtherType: where to go on when it is a tag's, and when not. */
static void filter_put_if_tag(struct filter_code *c, unsigned tag, unsigned other)
{
	for (unsigned i = 0; i + 1 < TAG_TYPES; i++) {
		unsigned next = filter_code_label(c);

		filter_code_jump(c, BPF_JMP | BPF_JEQ | BPF_K, tag_types[i], tag, next);
		filter_code_here(c, next);
	}
	filter_code_jump(c, BPF_JMP | BPF_JEQ | BPF_K, tag_types[TAG_TYPES - 1], tag, other);
}

/* The first tag's value is at `at`: TYPE becomes the EtherType behind the last tag, SHIFT 4 for each one. */
static void filter_put_find_packet(struct filter_code *c, uint32_t at)
{
	unsigned found = filter_code_label(c);

	for (uint32_t i = 0; i < FILTER_TAGS_MAX; i++) {
		unsigned deeper = filter_code_label(c), last = filter_code_label(c);

		filter_code_put(c, BPF_LD | BPF_H | BPF_ABS, at + TAG * i + 2);
		if (i + 1 < FILTER_TAGS_MAX)
			filter_put_if_tag(c, deeper, last);
		filter_code_here(c, last);
		filter_code_put(c, BPF_ST, FILTER_WORD_TYPE);
		filter_code_put(c, BPF_LD | BPF_IMM, TAG * (i + 1));
		filter_code_put(c, BPF_ST, FILTER_WORD_SHIFT);
		filter_code_goto(c, found);
		filter_code_here(c, deeper);
	}
	filter_code_here(c, found);
}

enum filter_tag_length { TAGS_AS_THEY_ARE, TAGS_OFF, TAGS_ADDED };

/* LENGTH is what the socket sees, and `more`, without the tags that SHIFT counts, or with them. */
static void filter_put_length(struct filter_code *c, uint32_t more, enum filter_tag_length tags)
{
	filter_code_put(c, BPF_LD | BPF_W | BPF_LEN, 0);
	if (tags != TAGS_AS_THEY_ARE) {
		filter_code_put(c, BPF_LDX | BPF_MEM, FILTER_WORD_SHIFT);
		filter_code_put(c, BPF_ALU | (tags == TAGS_OFF ? BPF_SUB : BPF_ADD) | BPF_X, 0);
	}
	if (more)
		filter_code_put(c, BPF_ALU | BPF_ADD | BPF_K, more);
	filter_code_put(c, BPF_ST, FILTER_WORD_LENGTH);
}

/* ---- one interface */

/* The tag beside the frame is out of the way already. */
static int filter_put_ethernet_behind(struct filter_code *c, const struct filter_socket *s)
{
	unsigned tagged = filter_code_label(c), plain = filter_code_label(c), go = filter_code_label(c);
	int r;

	filter_code_put(c, BPF_LD | BPF_H | BPF_ABS, ETHERNET_TYPE);
	filter_put_if_tag(c, tagged, plain);
	filter_code_here(c, plain);
	if (s->one_copy) {
		filter_code_put(c, BPF_LD | BPF_IMM, 0);
		filter_code_put(c, BPF_ST, FILTER_WORD_SHIFT);
		filter_code_goto(c, go);
	} else {
		r = filter_put_copy(c, s->program, COPY({0, FILTER_MOVED, 0}), false);
		if (r)
			return r;
	}
	filter_code_here(c, tagged);
	filter_put_find_packet(c, ETHERNET_HEADER);
	filter_code_here(c, go);
	filter_put_length(c, 0, TAGS_OFF);
	return filter_put_copy(c, s->program, COPY({0, FILTER_MOVED, 0}, {ETHERNET_TYPE, FILTER_SHIFTED, 0}),
			       true);
}

/* As if the tag beside the frame were in it. */
static int filter_put_ethernet_vlan(struct filter_code *c, const struct bpf_program *program)
{
	unsigned beside = filter_code_label(c), plain = filter_code_label(c);
	int r;

	filter_code_put(c, BPF_LD | BPF_B | BPF_ABS, BESIDE(VLAN_TAG_PRESENT));
	filter_code_jump(c, BPF_JMP | BPF_JEQ | BPF_K, 0, plain, beside);
	filter_code_here(c, plain);
	r = filter_put_copy(c, program, COPY({0, FILTER_MOVED, 0}), false);
	if (r)
		return r;
	filter_code_here(c, beside);
	filter_put_length(c, TAG, TAGS_AS_THEY_ARE);
	return filter_put_copy(c, program,
			       COPY({0, FILTER_MOVED, 0}, {12, FILTER_BESIDE, BESIDE(VLAN_TPID)},
				    {14, FILTER_BESIDE, BESIDE(VLAN_TAG)}, {16, FILTER_MOVED, BACK(TAG)}),
			       true);
}

int filter_put_ethernet_socket(struct filter_code *c, const struct filter_socket *s)
{
	return s->names_vlan ? filter_put_ethernet_vlan(c, s->program) : filter_put_ethernet_behind(c, s);
}

/* ---- all interfaces */

/*
 * Of a sent frame with tags: SHIFT says how many there are.  `bare` is where to go when what the socket sees
 * begins with the packet behind all of them.
 */
static void filter_put_if_bare(struct filter_code *c, unsigned bare, unsigned other)
{
	filter_put_find_packet(c, LINK_LAYER(ETHERNET_HEADER));
	filter_code_put(c, BPF_LDX | BPF_MEM, FILTER_WORD_SHIFT);
	filter_code_put(c, BPF_LD | BPF_W | BPF_IND, LINK_LAYER(ETHERNET_HEADER));
	filter_code_put(c, BPF_MISC | BPF_TAX, 0);
	filter_code_put(c, BPF_LD | BPF_W | BPF_ABS, 0);
	filter_code_jump(c, BPF_JMP | BPF_JEQ | BPF_X, 0, bare, other);
}

static void filter_put_if_sent(struct filter_code *c, unsigned sent, unsigned received)
{
	filter_code_put(c, BPF_LD | BPF_B | BPF_ABS, BESIDE(PKTTYPE));
	filter_code_jump(c, BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, sent, received);
}

#define SLL2_FIELDS                                                                                          \
	{2, FILTER_NOWHERE, 0}, {4, FILTER_BESIDE, BESIDE(IFINDEX)}, {8, FILTER_BESIDE, BESIDE(HATYPE)},     \
		{10, FILTER_BESIDE, BESIDE(PKTTYPE)}, {11, FILTER_NOWHERE, 0},                               \
	{                                                                                                    \
		12, FILTER_MOVED, LINK_LAYER(6) - 12                                                         \
	}

/* What the socket sees begins with the packet. */
static int filter_put_cooked_plain(struct filter_code *c, const struct bpf_program *program, bool as_ethernet)
{
	if (as_ethernet)
		return filter_put_copy(c, program,
				       COPY({0, FILTER_MOVED, LINK_LAYER(0)},
					    {ETHERNET_TYPE, FILTER_BESIDE, BESIDE(PROTOCOL)},
					    {ETHERNET_HEADER, FILTER_MOVED, BACK(ETHERNET_HEADER)}),
				       true);
	return filter_put_copy(c, program,
			       COPY({0, FILTER_BESIDE, BESIDE(PROTOCOL)}, SLL2_FIELDS,
				    {SLL2_HEADER, FILTER_MOVED, BACK(SLL2_HEADER)}),
			       true);
}

/* The packet is where SHIFT says, and TYPE says what it is. */
static int filter_put_cooked_shifted(struct filter_code *c, const struct bpf_program *program,
				     bool as_ethernet)
{
	if (as_ethernet)
		return filter_put_copy(c, program,
				       COPY({0, FILTER_MOVED, LINK_LAYER(0)},
					    {ETHERNET_TYPE, FILTER_WORD, FILTER_WORD_TYPE},
					    {ETHERNET_HEADER, FILTER_SHIFTED, 0}),
				       true);
	return filter_put_copy(
		c, program,
		COPY({0, FILTER_WORD, FILTER_WORD_TYPE}, SLL2_FIELDS, {SLL2_HEADER, FILTER_SHIFTED, 0}),
		true);
}

static int filter_put_cooked_behind(struct filter_code *c, const struct filter_socket *s)
{
	unsigned tagged = filter_code_label(c), plain = filter_code_label(c), sent = filter_code_label(c),
		 received = filter_code_label(c), bare = filter_code_label(c),
		 at_front = filter_code_label(c), go = filter_code_label(c);
	int r;

	filter_put_length(c, ETHERNET_HEADER, TAGS_AS_THEY_ARE);
	filter_code_put(c, BPF_LD | BPF_H | BPF_ABS, BESIDE(PROTOCOL));
	filter_put_if_tag(c, tagged, plain);
	filter_code_here(c, plain);
	if (s->one_copy) {
		filter_code_put(c, BPF_ST, FILTER_WORD_TYPE);
		filter_code_goto(c, at_front);
	} else {
		r = filter_put_cooked_plain(c, s->program, s->as_ethernet);
		if (r)
			return r;
	}
	filter_code_here(c, tagged);
	filter_put_if_sent(c, sent, received);
	filter_code_here(c, sent);
	filter_put_if_bare(c, bare, received);
	filter_code_here(c, received);
	filter_put_find_packet(c, 0);
	filter_put_length(c, ETHERNET_HEADER, TAGS_OFF);
	filter_code_put(c, BPF_LD | BPF_MEM, FILTER_WORD_SHIFT);
	filter_code_goto(c, go);
	filter_code_here(c, bare);
	filter_code_here(c, at_front);
	filter_code_put(c, BPF_LD | BPF_IMM, 0);
	filter_code_here(c, go);
	filter_code_put(c, BPF_ALU | BPF_SUB | BPF_K, s->as_ethernet ? ETHERNET_HEADER : SLL2_HEADER);
	filter_code_put(c, BPF_ST, FILTER_WORD_SHIFT);
	return filter_put_cooked_shifted(c, s->program, s->as_ethernet);
}

/* The program is for Ethernet, and the socket sees what follows its header, or (sent) more than its header.
 */
static int filter_put_cooked_copies(struct filter_code *c, const struct bpf_program *program, bool sent)
{
	unsigned beside = filter_code_label(c), plain = filter_code_label(c);
	int r;

	filter_code_put(c, BPF_LD | BPF_B | BPF_ABS, BESIDE(VLAN_TAG_PRESENT));
	filter_code_jump(c, BPF_JMP | BPF_JEQ | BPF_K, 0, plain, beside);
	filter_code_here(c, plain);
	r = sent ? filter_put_copy(c, program, COPY({0, FILTER_MOVED, LINK_LAYER(0)}), true)
		 : filter_put_copy(c, program,
				   COPY({0, FILTER_MOVED, LINK_LAYER(0)},
					{12, FILTER_BESIDE, BESIDE(PROTOCOL)},
					{14, FILTER_MOVED, BACK(ETHERNET_HEADER)}),
				   true);
	if (r)
		return r;
	filter_code_here(c, beside);
	filter_code_put(c, BPF_LD | BPF_MEM, FILTER_WORD_LENGTH);
	filter_code_put(c, BPF_ALU | BPF_ADD | BPF_K, TAG);
	filter_code_put(c, BPF_ST, FILTER_WORD_LENGTH);
	return sent ? filter_put_copy(c, program,
				      COPY({0, FILTER_MOVED, LINK_LAYER(0)},
					   {12, FILTER_BESIDE, BESIDE(VLAN_TPID)},
					   {14, FILTER_BESIDE, BESIDE(VLAN_TAG)},
					   {16, FILTER_MOVED, LINK_LAYER(-TAG)}),
				      true)
		    : filter_put_copy(c, program,
				      COPY({0, FILTER_MOVED, LINK_LAYER(0)},
					   {12, FILTER_BESIDE, BESIDE(VLAN_TPID)},
					   {14, FILTER_BESIDE, BESIDE(VLAN_TAG)},
					   {16, FILTER_BESIDE, BESIDE(PROTOCOL)},
					   {18, FILTER_MOVED, BACK(ETHERNET_HEADER + TAG)}),
				      true);
}

static int filter_put_cooked_vlan(struct filter_code *c, const struct bpf_program *program)
{
	unsigned tagged = filter_code_label(c), usual = filter_code_label(c), sent = filter_code_label(c),
		 bare = filter_code_label(c), some = filter_code_label(c), go = filter_code_label(c);
	int r;

	filter_put_length(c, ETHERNET_HEADER, TAGS_AS_THEY_ARE);
	filter_code_put(c, BPF_LD | BPF_H | BPF_ABS, BESIDE(PROTOCOL));
	filter_put_if_tag(c, tagged, usual);
	filter_code_here(c, tagged);
	filter_put_if_sent(c, sent, usual);
	filter_code_here(c, usual);
	r = filter_put_cooked_copies(c, program, false);
	if (r)
		return r;
	filter_code_here(c, sent);
	filter_put_if_bare(c, bare, some);
	filter_code_here(c, bare);
	filter_put_length(c, ETHERNET_HEADER, TAGS_ADDED);
	filter_code_goto(c, go);
	filter_code_here(c, some);
	filter_code_put(c, BPF_LD | BPF_MEM, FILTER_WORD_SHIFT);
	filter_code_put(c, BPF_ST, FILTER_WORD_SKIPPED);
	filter_put_find_packet(c, 0);
	filter_code_put(c, BPF_LDX | BPF_MEM, FILTER_WORD_SHIFT);
	filter_code_put(c, BPF_LD | BPF_MEM, FILTER_WORD_SKIPPED);
	filter_code_put(c, BPF_ALU | BPF_SUB | BPF_X, 0);
	filter_code_put(c, BPF_ST, FILTER_WORD_SHIFT);
	filter_put_length(c, ETHERNET_HEADER, TAGS_ADDED);
	filter_code_here(c, go);
	return filter_put_cooked_copies(c, program, true);
}

int filter_put_cooked_socket(struct filter_code *c, const struct filter_socket *s)
{
	return s->names_vlan && s->as_ethernet ? filter_put_cooked_vlan(c, s->program)
					       : filter_put_cooked_behind(c, s);
}
