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

#define FILTER_PREFIX_MAX 3

static void filter_close_pcap(pcap_t **p)
{
	if (*p)
		pcap_close(*p);
}

static void filter_free_program(struct bpf_program *program)
{
	pcap_freecode(program);
}

/* LINKTYPE_RAW is the one of ours with another number here. */
static int filter_dlt(int link_type)
{
	return link_type == 101 ? DLT_RAW : link_type;
}

/*
 * The kernel takes the outermost VLAN tag out of a frame before a filter sees it.  libpcap knows, and tests
 * the tag where the kernel keeps it, but only in programs for an activated handle: a short-lived one it is.
 */
static pcap_t *filter_open_live(const struct capture_filter_config *config)
{
	char errbuf[PCAP_ERRBUF_SIZE];
	pcap_t *p = pcap_create(config->interface, errbuf);

	if (!p)
		return NULL;
	if (pcap_set_snaplen(p, (int)config->snap_len) == 0 && pcap_set_buffer_size(p, 65536) == 0 &&
	    pcap_set_timeout(p, 1000) == 0 && pcap_activate(p) >= 0 &&
	    pcap_datalink(p) == filter_dlt(config->link_type))
		return p;
	pcap_close(p);
	return NULL;
}

static int filter_set_error(struct diag *diag, const char *expression, pcap_t *p)
{
	return diag_set(diag, -EINVAL, "--filter \"%s\": %s", expression, pcap_geterr(p));
}

static unsigned filter_put_direction(struct sock_filter *f, enum capture_direction direction)
{
	bool out = direction == CAPTURE_OUT;

	if (direction == CAPTURE_BOTH)
		return 0;
	f[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_B | BPF_ABS,
					    (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE));
	f[1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, out ? 1 : 0,
					    out ? 0 : 1);
	f[2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	return 3;
}

static int filter_assemble(struct capture_filter *f, const struct bpf_program *program,
			   enum capture_direction direction, struct diag *diag)
{
	struct sock_filter *insns = calloc(program->bf_len + FILTER_PREFIX_MAX, sizeof(*insns));
	unsigned n;

	if (!insns)
		return diag_set(diag, -ENOMEM, "filter: out of memory");
	n = filter_put_direction(insns, direction);
	for (unsigned i = 0; i < program->bf_len; i++) {
		const struct bpf_insn *in = &program->bf_insns[i];

		insns[n++] = (struct sock_filter){.code = in->code, .jt = in->jt, .jf = in->jf, .k = in->k};
	}
	if (n > BPF_MAXINSNS) {
		free(insns);
		return diag_set(diag, -E2BIG,
				"filter: %u instructions, and the kernel takes %u: make it shorter", n,
				BPF_MAXINSNS);
	}
	*f = (struct capture_filter){.insns = insns, .n = n};
	return 0;
}

int capture_filter_compile(struct capture_filter *f, const struct capture_filter_config *config,
			   struct diag *diag)
{
	const char *expression = config->expression ? config->expression : "";
	__attribute__((cleanup(filter_close_pcap))) pcap_t *p = NULL;
	__attribute__((cleanup(filter_free_program))) struct bpf_program program = {0};

	*f = (struct capture_filter){0};
	if (strstr(expression, "vlan") && config->interface) {
		p = filter_open_live(config);
		if (!p)
			return diag_set(diag, -EIO, "--filter \"%s\": libpcap cannot open %s to compile it",
					expression, config->interface);
	} else {
		p = pcap_open_dead(filter_dlt(config->link_type), (int)config->snap_len);
		if (!p)
			return diag_set(diag, -ENOMEM, "filter: out of memory");
	}
	if (pcap_compile(p, &program, expression, 1, PCAP_NETMASK_UNKNOWN) < 0)
		return filter_set_error(diag, expression, p);
	return filter_assemble(f, &program, config->direction, diag);
}

void capture_filter_deinit(struct capture_filter *f)
{
	free(f->insns);
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
	return filter_set_error(diag, filter, p);
}
