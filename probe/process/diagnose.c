/* diagnose: see diagnose.h. */
#include "diagnose.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control_socket.h"
#include "metrics.h"
#include "pitot/doctor.h"
#include "pitot/sandbox.h"

struct diagnosis {
	unsigned doubts;
	void (*print)(void *ctx, const char *line);
	void *ctx;
};

static void diagnose_say(void *ctx, const struct doctor_finding *f)
{
	struct diagnosis *d = ctx;

	d->doubts += f->severity == DOCTOR_DOUBT;
	doctor_print(f, d->print, d->ctx);
}

static void diagnose_paths(struct doctor_facts *facts, const struct config *c)
{
	for (unsigned i = 0; i < c->n_files; i++)
		doctor_look_file(facts, "read", c->files[i]);
	doctor_look_path(facts, "tls-ca", c->tls_ca, R_OK);
	doctor_look_path(facts, "tls-cert", c->tls_cert, R_OK);
	doctor_look_path(facts, "tls-key", c->tls_key, R_OK);
	doctor_look_directory(facts, "spool", c->spool_dir);
	doctor_look_written(facts, "stats", c->stats_path);
	doctor_look_written(facts, "metrics-file", c->metrics_path);
	doctor_look_written(facts, "pidfile", c->pidfile);
	if (c->control_path && strcmp(c->control_path, "none") != 0)
		doctor_look_written(facts, "control", c->control_path);
	doctor_look_source(facts, "source", c->source_host);
	doctor_look_device(facts, "bind-device", c->bind_device);
}

/* Names and addresses that the start looks up. */
static void diagnose_names(struct doctor_facts *facts, const struct config *c)
{
	char address[METRICS_ADDRESS];
	struct sandbox_user user;
	struct diag diag;
	gid_t group;
	int r = sandbox_find_user(&user, c->user, c->stay_root, &diag);

	if (r < 0 && c->user)
		doctor_tell(facts, "user", c->user,
			    r == -ENOENT ? "there is no such user or group" : "this is root",
			    r == -ENOENT ? "getent passwd and getent group show what there is"
					 : "name another user, or say --stay-root");
	if (c->control_group && control_socket_find_group(c->control_group, &group, &diag) < 0)
		doctor_tell(facts, "control-group", c->control_group, "there is no such group",
			    "getent group shows what there is");
	if (c->metrics && metrics_check(c->metrics, address, &diag) == 0)
		doctor_look_source(facts, "metrics", address);
}

static void diagnose_interfaces(struct doctor_facts *facts, const struct config *c)
{
	for (unsigned i = 0; i < c->n_interfaces && i < DOCTOR_INTERFACES; i++) {
		struct doctor_interface *to = &facts->interfaces[facts->n_interfaces];

		snprintf(to->name, sizeof(to->name), "%s", c->interfaces[i].name);
		doctor_look_interface(to);
		/* those that are waited for may be missing now */
		facts->n_interfaces += !c->wait || (to->exists && to->up && to->carrier);
	}
}

int diagnose_run(const struct config *c, bool probe, void (*print)(void *ctx, const char *line), void *ctx)
{
	struct doctor_facts *facts = calloc(1, sizeof(*facts));
	struct diagnosis d = {.print = print, .ctx = ctx};
	unsigned faults;

	if (!facts) {
		print(ctx, "out of memory");
		return 1;
	}
	facts->capture = (struct doctor_capture){.filter = c->filter,
						 .snap_len = c->snap_len,
						 .promiscuous = !c->no_promiscuous,
						 .xdp = c->capture == CONFIG_CAPTURE_XDP,
						 .wants_vlan = c->flow_key & CONFIG_KEY_VLAN};
	diagnose_paths(facts, c);
	diagnose_names(facts, c);
	diagnose_interfaces(facts, c);
	if (probe)
		doctor_look_clock(&facts->clock);
	for (unsigned i = 0; i < c->n_collectors && i < DOCTOR_COLLECTORS; i++) {
		struct doctor_collector *to = &facts->collectors[facts->n_collectors++];

		to->config = c->collectors[i];
		to->mtu = c->mtu;
		to->source = c->source_host;
		to->device = c->bind_device;
		doctor_look_collector(to);
		if (probe)
			doctor_probe_collector(to, c->tls_ca, c->tls_name);
	}
	faults = doctor_check(facts, diagnose_say, &d);
	if (probe)
		doctor_sum(faults, d.doubts, print, ctx);
	free(facts);
	return faults ? 1 : 0;
}
