/*
 * capture: which back end opens what, and which one takes over where another cannot go on.
 */
#include "pitot/capture.h"

#include <errno.h>
#include <string.h>

#include "capture/capture_socket.h"
#include "capture/capture_source.h"

static int capture_open_auto(struct capture **cp, const struct capture_config *config, struct diag *diag)
{
	/* what a ring of our own cannot have ("any", odd link types) libpcap may know */
	int r = strcmp(config->interface, "any") == 0 ? -EPROTONOSUPPORT
						      : capture_afpacket_ops.open(cp, config, diag);

	return r == -EPROTONOSUPPORT ? capture_pcap_ops.open(cp, config, diag) : r;
}

/* What XDP cannot have is captured all the same; an interface that is not there is so for all of them. */
static int capture_open_xdp(struct capture **cp, const struct capture_config *config, struct diag *diag)
{
	int r = capture_xdp_ops.open(cp, config, diag);
	struct diag why = *diag;

	if (r == 0 || r == -ENETDOWN || (r == -ENODEV && strcmp(config->interface, "any") != 0))
		return r;
	r = capture_open_auto(cp, config, diag);
	if (r < 0)
		return r;
	return diag_set(diag, CAPTURE_E_OTHER, "%.400s: --capture %s is used instead", why.text,
			(*cp)->ops->name);
}

static int capture_open_live(struct capture **cp, const struct capture_config *config, struct diag *diag)
{
	switch (config->method) {
	case CAPTURE_AFPACKET:
		return capture_afpacket_ops.open(cp, config, diag);
	case CAPTURE_PCAP:
		return capture_pcap_ops.open(cp, config, diag);
	case CAPTURE_XDP:
		return capture_open_xdp(cp, config, diag);
	default:
		return capture_open_auto(cp, config, diag);
	}
}

/* XDP does not see what goes out, and so its heir does not. */
static void capture_provide_heir(struct capture *c, const struct capture_config *config)
{
	struct capture_config own = *config;
	struct diag none;

	if (c->ops->adopt || !c->system_ifindex)
		return;
	if (c->ops == &capture_xdp_ops && own.direction == CAPTURE_BOTH)
		own.direction = CAPTURE_IN;
	(void)capture_afpacket_prepare(&c->heir, &own, c->link_type, &none);
}

/* Back ends begin their sentences with the interface; the user is told which option it came from. */
static int capture_name_option(const struct capture_config *config, int r, struct diag *diag)
{
	size_t n = strlen(config->interface);
	struct diag why = *diag;
	const char *text = why.text;

	if (!strncmp(text, "--", 2))
		return r;
	if (!strncmp(text, config->interface, n) && !strncmp(text + n, ": ", 2))
		text += n + 2;
	return diag_set(diag, r, "--interface %.80s: %.400s", config->interface, text);
}

int capture_open(struct capture **cp, const struct capture_config *config, struct diag *diag)
{
	struct capture_source source;
	int r;

	if (!config->path) {
		r = capture_open_live(cp, config, diag);
		if (r < 0)
			return capture_name_option(config, r, diag);
		capture_provide_heir(*cp, config);
		return r;
	}
	r = capture_source_open(&source, config->path, diag);
	if (r < 0)
		return r;
	switch (source.kind) {
	case CAPTURE_SOURCE_PCAP:
		return capture_file_open(cp, &source, config, diag);
	case CAPTURE_SOURCE_PCAPNG:
		return capture_pcapng_open(cp, &source, config, diag);
	default:
		return capture_savefile_open(cp, &source, config, diag);
	}
}

void capture_close(struct capture *c)
{
	if (!c)
		return;
	capture_close(c->heir);
	capture_close(c->forebear);
	c->ops->close(c);
}

int capture_get_stats(struct capture *c, struct capture_stats *stats)
{
	int r = c->ops->get_stats(c, stats);

	if (r < 0)
		return r;
	stats->kernel_dropped += c->before.kernel_dropped;
	stats->interface_dropped += c->before.interface_dropped;
	stats->filtered += c->before.filtered;
	stats->filtered_octets += c->before.filtered_octets;
	stats->filtered_unknown |= c->before.filtered_unknown;
	return 0;
}

int capture_adopt(struct capture **cp, struct capture_descriptor *socket, struct diag *diag)
{
	struct capture *c = *cp, *next = c->ops->adopt ? c : c->heir;
	struct capture_stats totals = c->before; /* what is known when the old socket tells nothing */
	int r;

	if (!next) {
		capture_descriptor_close(socket);
		return diag_set(diag, -EPROTONOSUPPORT,
				"%s: a capture by %s cannot be opened again: start pitot again", c->name,
				c->ops->name);
	}
	(void)capture_get_stats(c, &totals);
	r = next->ops->adopt(next, socket, diag);
	if (r < 0)
		return r;
	next->before = totals;
	if (next == c)
		return 0;
	/* the old one is closed later, by whoever may: the metering process has a sandbox around it */
	next->forebear = c;
	c->heir = NULL;
	*cp = next;
	return 0;
}
