/*
 * capture: which back end opens what, and which one takes over where another cannot go on.
 */
#include "pitot/capture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture/capture_plan.h"
#include "capture/capture_source.h"

static int capture_open_auto(struct capture **captures, const struct capture_plan *plan, struct diag *diag)
{
	/* what a ring of our own cannot have ("any", odd link types) libpcap may know */
	int r = strcmp(plan->config.interface, "any") == 0 ? -EPROTONOSUPPORT
							   : capture_afpacket_ops.open(captures, plan, diag);

	return r == -EPROTONOSUPPORT ? capture_pcap_ops.open(captures, plan, diag) : r;
}

/* What XDP cannot have is captured all the same; an interface that is not there is so for all of them. */
static int capture_open_xdp(struct capture **captures, const struct capture_plan *plan, struct diag *diag)
{
	const struct capture_config *config = &plan->config;
	int r = capture_xdp_ops.open(captures, plan, diag);
	struct capture_config own = *config;
	struct capture_plan *other;
	struct diag why = *diag;

	if (r == 0 || r == -ENETDOWN || (r == -ENODEV && strcmp(config->interface, "any") != 0))
		return r;
	own.method = CAPTURE_AUTO; /* which sees both directions */
	r = capture_plan_new(&other, &own, diag);
	if (r < 0)
		return r;
	r = capture_open_auto(captures, other, diag);
	capture_plan_free(other);
	if (r < 0)
		return r;
	return diag_set(diag, CAPTURE_E_OTHER, "%.400s: --capture %s is used instead", why.text,
			captures[0]->ops->name);
}

static int capture_open_by_method(struct capture **captures, const struct capture_plan *plan,
				  struct diag *diag)
{
	switch (plan->config.method) {
	case CAPTURE_AFPACKET:
		return capture_afpacket_ops.open(captures, plan, diag);
	case CAPTURE_PCAP:
		return capture_pcap_ops.open(captures, plan, diag);
	case CAPTURE_XDP:
		return capture_open_xdp(captures, plan, diag);
	default:
		return capture_open_auto(captures, plan, diag);
	}
}

/* Back ends begin their sentences with the interface; the user is told which option it came from. */
static int capture_name_option(const struct capture_config *config, int r, struct diag *diag)
{
	size_t n = strlen(config->interface);
	char *text = diag->text;

	if (!strncmp(text, "--", 2))
		return r;
	if (!strncmp(text, config->interface, n) && !strncmp(text + n, ": ", 2))
		memmove(text, text + n + 2, strlen(text + n + 2) + 1);
	return diag_prefix(diag, r, "--interface %s: ", config->interface);
}

int capture_open_interface(struct capture **captures, const struct capture_plan *plan, struct diag *diag)
{
	int r = capture_open_by_method(captures, plan, diag);

	return r < 0 ? capture_name_option(&plan->config, r, diag) : r;
}

static int capture_open_live(struct capture **cp, const struct capture_config *config, struct diag *diag)
{
	struct capture_plan *plan;
	int r = capture_plan_new(&plan, config, diag);

	if (r < 0)
		return r;
	r = capture_open_interface(cp, plan, diag);
	capture_plan_free(plan);
	return r;
}

int capture_open(struct capture **cp, const struct capture_config *config, struct diag *diag)
{
	struct capture_source source;
	int r;

	if (!config->path)
		return capture_open_live(cp, config, diag);
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
	if (c)
		c->ops->close(c);
}
