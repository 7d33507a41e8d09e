/*
 * capture_filter: see capture_filter.h.
 *
 * The value that a socket filter returns is how many octets of the frame are kept: the snap length costs
 * nothing when it is compiled into the program.  The direction is a prefix to the program because libpcap's
 * pcap_setdirection() filters in user space, after the copy into the ring.
 */
#include "capture/capture_filter.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "capture/capture_filter_internal.h"
#include "capture/capture_filter_view.h"
#include "pitot/link_type.h"

#define SNAP_MAX      262144
#define NOTHING_ERROR "expression rejects all packets"

enum { ETHERNET_HEADER = 14, LOOPBACK_HEADER = 4 };
enum { LOOPBACK_INDEX = 1 }; /* in every network namespace */

/* What an expression is compiled for, and how. */
struct filter_plan {
	const struct capture_filter_config *config;
	const char *expression;
	int dlt;
	enum filter_layout layout; /* of the frames */
	bool names_vlan;
	bool as_ethernet; /* a cooked frame, and the program is for Ethernet */
	bool one_copy;	  /* a program that would be too long else */
};

static void filter_close_pcap(pcap_t **p)
{
	if (*p)
		pcap_close(*p);
}

static void filter_free_program(struct bpf_program *program)
{
	pcap_freecode(program);
}

/* Raw IP has two numbers in files; libpcap's compiler knows the one of the system. */
static int filter_dlt(int link_type)
{
	return link_type == LINKTYPE_RAW || link_type == LINKTYPE_RAW_OF_OPENBSD ? DLT_RAW : link_type;
}

static enum filter_layout filter_layout(int link_type)
{
	switch (link_type) {
	case DLT_EN10MB:
		return FILTER_ETHERNET;
	case DLT_LINUX_SLL:
		return FILTER_SLL;
	case DLT_LINUX_SLL2:
		return FILTER_SLL2;
	case DLT_NULL:
	case DLT_LOOP:
		return FILTER_LOOPBACK;
	default:
		return FILTER_OTHER;
	}
}

/*
 * libpcap has no vlan, mpls or MAC addresses for cooked captures: it gets a frame that looks like Ethernet,
 * but where the expression asks for what only a cooked one has.  And it takes the address family of BSD's
 * loopback for the one of this system; the packet itself knows better.
 */
static struct filter_plan filter_make_plan(const struct capture_filter_config *config, const char *expression)
{
	int link_type = config->place == FILTER_COOKED ? DLT_LINUX_SLL2 : config->link_type;
	struct filter_plan plan = {.config = config,
				   .expression = expression,
				   .dlt = filter_dlt(link_type),
				   .layout = filter_layout(link_type),
				   .names_vlan = filter_names(expression, "vlan")};

	plan.as_ethernet = (plan.layout == FILTER_SLL || plan.layout == FILTER_SLL2) &&
			   !filter_names(expression, "inbound") && !filter_names(expression, "outbound") &&
			   !filter_names(expression, "ifindex");
	if (plan.as_ethernet)
		plan.dlt = DLT_EN10MB;
	if (plan.layout == FILTER_LOOPBACK) {
		if (filter_names(expression, "link") || filter_names(expression, "ether"))
			plan.layout = FILTER_OTHER;
		else
			plan.dlt = DLT_RAW;
	}
	return plan;
}

/* An expression that nothing of this link type can fulfil ("arp" on raw IP) selects nothing. */
static int filter_compile_nothing(struct bpf_program *program)
{
	program->bf_insns = calloc(1, sizeof(*program->bf_insns));
	if (!program->bf_insns)
		return -ENOMEM;
	program->bf_insns[0] = (struct bpf_insn)BPF_STMT(BPF_RET | BPF_K, 0);
	program->bf_len = 1;
	return 0;
}

static int filter_compile_program(const struct filter_plan *plan, struct bpf_program *program,
				  struct diag *diag)
{
	__attribute__((cleanup(filter_close_pcap))) pcap_t *p = NULL;
	int snap_len = plan->config->place == FILTER_FRAMES ? SNAP_MAX : (int)plan->config->snap_len;

	p = pcap_open_dead(plan->dlt, snap_len);
	if (!p)
		return diag_set(diag, -ENOMEM, "filter: out of memory");
	if (pcap_compile(p, program, plan->expression, 1, PCAP_NETMASK_UNKNOWN) == 0)
		return 0;
	if (plan->dlt == DLT_EN10MB || strcmp(pcap_geterr(p), NOTHING_ERROR) != 0)
		return filter_explain(diag, plan->expression, p);
	return filter_compile_nothing(program) < 0 ? diag_set(diag, -ENOMEM, "filter: out of memory") : 0;
}

/* ---- the program */

/* Frames that are nobody's here have no direction but the one that all of them have. */
static bool filter_settle_direction(const struct filter_plan *plan, struct bpf_program *program)
{
	if (plan->config->place != FILTER_FRAMES)
		return true;
	for (unsigned i = 0; i < program->bf_len; i++) {
		struct bpf_insn *in = &program->bf_insns[i];

		if (BPF_CLASS(in->code) != BPF_LD || BPF_MODE(in->code) != BPF_ABS ||
		    in->k < (uint32_t)SKF_LL_OFF)
			continue;
		if (in->k != (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE) || plan->config->direction != CAPTURE_IN)
			return false;
		*in = (struct bpf_insn)BPF_STMT(BPF_LD | BPF_IMM, PACKET_HOST);
	}
	return true;
}

/* Of all interfaces: what loopback sends it receives, too, and once is enough. */
static void filter_put_direction(struct filter_code *c, const struct capture_filter_config *config)
{
	bool out = config->direction == CAPTURE_OUT, both = config->direction == CAPTURE_BOTH;
	unsigned on, off, sent;

	if (config->place == FILTER_FRAMES || (both && config->place != FILTER_COOKED))
		return;
	on = filter_code_label(c);
	off = filter_code_label(c);
	sent = filter_code_label(c);
	filter_code_put(c, BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE));
	filter_code_jump(c, BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING,
			 both  ? sent
			 : out ? on
			       : off,
			 out ? off : on);
	filter_code_here(c, sent);
	if (both) {
		filter_code_put(c, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_IFINDEX));
		filter_code_jump(c, BPF_JMP | BPF_JEQ | BPF_K, LOOPBACK_INDEX, off, on);
	}
	filter_code_here(c, off);
	filter_code_put(c, BPF_RET | BPF_K, 0);
	filter_code_here(c, on);
}

/* The jumps are short, so these are as many as they will be. */
static unsigned filter_count_direction(const struct capture_filter_config *config)
{
	__attribute__((cleanup(filter_code_deinit))) struct filter_code c = {0};

	filter_put_direction(&c, config);
	return c.n;
}

static int filter_put_pieces(struct filter_code *c, const struct bpf_program *program,
			     const struct filter_piece *pieces, unsigned n)
{
	return filter_view_put(c, program, &(struct filter_view){.pieces = pieces, .n = n});
}

static int filter_put_frames(struct filter_code *c, const struct filter_plan *plan,
			     const struct bpf_program *program)
{
	static const struct filter_piece as_it_is[] = {{0, FILTER_MOVED, 0}};
	static const struct filter_piece loopback[] = {{0, FILTER_MOVED, LOOPBACK_HEADER}};
	static const struct filter_piece sll_as_ethernet[] = {
		{0, FILTER_NOWHERE, 0}, {6, FILTER_MOVED, 0}, {12, FILTER_MOVED, 2}};
	static const struct filter_piece sll2_as_ethernet[] = {{0, FILTER_NOWHERE, 0},
							       {6, FILTER_MOVED, 6},
							       {12, FILTER_MOVED, (uint32_t)-12},
							       {14, FILTER_MOVED, 6}};

	if (plan->layout == FILTER_LOOPBACK)
		return filter_put_pieces(c, program, loopback, 1);
	if (plan->as_ethernet && plan->layout == FILTER_SLL)
		return filter_put_pieces(c, program, sll_as_ethernet, 3);
	if (plan->as_ethernet && plan->layout == FILTER_SLL2)
		return filter_put_pieces(c, program, sll2_as_ethernet, 4);
	return filter_put_pieces(c, program, as_it_is, 1);
}

static int filter_put_tagged_frames(struct filter_code *c, const struct filter_plan *plan,
				    const struct bpf_program *program)
{
	static const struct filter_piece ethernet[] = {{0, FILTER_MOVED, 0}, {12, FILTER_SHIFTED, 0}};
	static const struct filter_piece sll[] = {
		{0, FILTER_MOVED, 0}, {14, FILTER_WORD, FILTER_WORD_TYPE}, {16, FILTER_SHIFTED, 0}};
	static const struct filter_piece sll2[] = {
		{0, FILTER_WORD, FILTER_WORD_TYPE}, {2, FILTER_MOVED, 0}, {20, FILTER_SHIFTED, 0}};

	static const struct filter_piece sll_as_ethernet[] = {{0, FILTER_NOWHERE, 0},
							      {6, FILTER_MOVED, 0},
							      {12, FILTER_WORD, FILTER_WORD_TYPE},
							      {14, FILTER_SHIFTED, 0}};
	static const struct filter_piece sll2_as_ethernet[] = {{0, FILTER_NOWHERE, 0},
							       {6, FILTER_MOVED, 6},
							       {12, FILTER_WORD, FILTER_WORD_TYPE},
							       {14, FILTER_SHIFTED, 0}};

	filter_code_put(c, BPF_LD | BPF_IMM, 0); /* FILTER_CONSTANT_SHIFT */
	filter_code_put(c, BPF_ST, FILTER_WORD_SHIFT);
	filter_code_put(c, BPF_LD | BPF_IMM, 0); /* FILTER_CONSTANT_TYPE */
	filter_code_put(c, BPF_ST, FILTER_WORD_TYPE);
	switch (plan->layout) {
	case FILTER_ETHERNET:
		return filter_put_pieces(c, program, ethernet, 2);
	case FILTER_SLL:
		return plan->as_ethernet ? filter_put_pieces(c, program, sll_as_ethernet, 4)
					 : filter_put_pieces(c, program, sll, 3);
	default:
		return plan->as_ethernet ? filter_put_pieces(c, program, sll2_as_ethernet, 4)
					 : filter_put_pieces(c, program, sll2, 3);
	}
}

static int filter_put_program(struct filter_code *c, const struct filter_plan *plan,
			      const struct bpf_program *program)
{
	const struct filter_socket s = {.program = program,
					.names_vlan = plan->names_vlan,
					.as_ethernet = plan->as_ethernet,
					.one_copy = plan->one_copy};
	/* what does not look at the frame needs no copies */
	bool all = !*plan->expression;

	if (plan->config->place == FILTER_FRAMES)
		return filter_put_frames(c, plan, program);
	filter_put_direction(c, plan->config);
	if (plan->config->place == FILTER_COOKED && !all)
		return filter_put_cooked_socket(c, &s);
	if (plan->layout == FILTER_ETHERNET && !all)
		return filter_put_ethernet_socket(c, &s);
	return filter_put_pieces(c, program, &(struct filter_piece){0, FILTER_MOVED, 0}, 1);
}

static bool filter_has_loop(const struct sock_filter *insns, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (insns[i].code == (BPF_JMP | BPF_JA) && (int32_t)insns[i].k < 0)
			return true;
	return false;
}

/* What the kernel would refuse without a word. */
static int filter_check_socket(const struct capture_filter *f, const struct filter_plan *plan,
			       struct diag *diag)
{
	if (plan->config->place == FILTER_FRAMES)
		return 0;
	if (f->n > BPF_MAXINSNS)
		return diag_set(diag, CAPTURE_FILTER_E_KERNEL,
				"--filter: %u instructions, and the kernel takes %u: make it shorter, or use "
				"--capture pcap",
				f->n, BPF_MAXINSNS);
	if (filter_has_loop(f->insns, f->n))
		return diag_set(
			diag, CAPTURE_FILTER_E_KERNEL,
			"--filter \"%.200s\": protochain is a loop, which the kernel does not run: use "
			"--capture pcap",
			plan->expression);
	return 0;
}

static int filter_refuse(const struct filter_plan *plan, int r, struct diag *diag)
{
	if (r == FILTER_VIEW_E_NOWHERE)
		return diag_set(diag, -EOPNOTSUPP,
				"--filter \"%.200s\": it asks for the destination MAC address, which a Linux "
				"cooked capture does not have",
				plan->expression);
	return diag_set(diag, -EOPNOTSUPP, "--filter \"%.200s\": its arithmetic is nested too deep",
			plan->expression);
}

static int filter_assemble(const struct filter_plan *plan, const struct bpf_program *program,
			   int (*put)(struct filter_code *c, const struct filter_plan *plan,
				      const struct bpf_program *program),
			   struct sock_filter **insns, unsigned *n, struct diag *diag)
{
	__attribute__((cleanup(filter_code_deinit))) struct filter_code c = {0};
	int r = put(&c, plan, program);

	if (r)
		return filter_refuse(plan, r, diag);
	r = filter_code_assemble(&c, insns, n);
	return r < 0 ? diag_set(diag, r, "filter: out of memory") : 0;
}

static uint32_t filter_header_extra(const struct filter_plan *plan)
{
	if (plan->config->place != FILTER_FRAMES)
		return 0;
	return plan->layout == FILTER_SLL    ? 16 - ETHERNET_HEADER
	       : plan->layout == FILTER_SLL2 ? 20 - ETHERNET_HEADER
					     : 0;
}

int capture_filter_compile(struct capture_filter *f, const struct capture_filter_config *config,
			   struct diag *diag)
{
	struct filter_plan plan = filter_make_plan(config, config->expression ? config->expression : "");
	__attribute__((cleanup(filter_free_program))) struct bpf_program program = {0};
	bool has_tags =
		plan.layout == FILTER_ETHERNET || plan.layout == FILTER_SLL || plan.layout == FILTER_SLL2;
	int r = filter_compile_program(&plan, &program, diag);

	*f = (struct capture_filter){.n_direction = filter_count_direction(config),
				     .layout = plan.layout,
				     .header_extra = filter_header_extra(&plan),
				     .shift_extra = plan.as_ethernet ? filter_header_extra(&plan) : 0};
	if (r < 0)
		return r;
	if (!filter_settle_direction(&plan, &program))
		return diag_set(diag, -EOPNOTSUPP,
				"--filter \"%.200s\": which way a packet went is known of interfaces only",
				plan.expression);
	r = filter_assemble(&plan, &program, filter_put_program, &f->insns, &f->n, diag);
	if (r == 0 && f->n > BPF_MAXINSNS && config->place != FILTER_FRAMES) {
		free(f->insns);
		f->insns = NULL;
		plan.one_copy = true;
		r = filter_assemble(&plan, &program, filter_put_program, &f->insns, &f->n, diag);
	}
	if (r == 0)
		r = filter_check_socket(f, &plan, diag);
	if (r == 0 && config->place == FILTER_FRAMES && has_tags && !plan.names_vlan)
		r = filter_assemble(&plan, &program, filter_put_tagged_frames, &f->tagged, &f->n_tagged,
				    diag);
	if (r)
		capture_filter_deinit(f);
	return r;
}

int capture_filter_compile_frames(struct capture_filter *f, const char *expression, int link_type,
				  struct diag *diag)
{
	return capture_filter_compile(f,
				      &(struct capture_filter_config){.expression = expression,
								      .place = FILTER_FRAMES,
								      .link_type = link_type,
								      .direction = CAPTURE_BOTH},
				      diag);
}

void capture_filter_deinit(struct capture_filter *f)
{
	free(f->insns);
	free(f->tagged);
	*f = (struct capture_filter){0};
}

int capture_filter_attach(int fd, const struct capture_filter *f)
{
	struct sock_fprog prog = {.len = (unsigned short)f->n, .filter = f->insns};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0 ? -errno : 0;
}

int capture_filter_attach_closed(int fd)
{
	struct sock_filter insn = BPF_STMT(BPF_RET | BPF_K, 0);

	return capture_filter_attach(fd, &(struct capture_filter){.insns = &insn, .n = 1});
}

/*
 * A typo is told at start, before anything is opened.  What an expression means on another link type than
 * Ethernet ("type mgt") is judged when the capture is open and its link type known.
 */
int capture_check_filter(const char *filter, struct diag *diag)
{
	__attribute__((cleanup(filter_close_pcap))) pcap_t *p = NULL;
	__attribute__((cleanup(filter_free_program))) struct bpf_program program = {0};

	if (!filter || !*filter)
		return 0;
	p = pcap_open_dead(DLT_EN10MB, 65535);
	if (!p)
		return diag_set(diag, -ENOMEM, "filter: out of memory");
	if (pcap_compile(p, &program, filter, 1, PCAP_NETMASK_UNKNOWN) == 0)
		return 0;
	if (strstr(pcap_geterr(p), "supported only on") || strstr(pcap_geterr(p), "not supported on"))
		return 0;
	return filter_explain(diag, filter, p);
}
