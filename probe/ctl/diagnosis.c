/* diagnosis: see diagnosis.h. */
#include "diagnosis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pitot/control_protocol.h"
#include "pitot/doctor.h"
#include "show.h"

enum { LOOK_S = 2 }; /* how long the interfaces' own counters are compared with pitot's */

struct doctor {
	struct client *client;
	struct doctor_facts facts;
	json_t *setup, *before, *after;
	json_t *findings; /* as JSON; NULL: for people */
	unsigned doubts;
	FILE *out;
};

static uint64_t diagnosis_seen(const json_t *s)
{
	return show_count(s, "packets", "received") + show_count(s, "packets", "unselected");
}

static void diagnosis_capture(struct doctor *d)
{
	const json_t *ignored = json_object_get(json_object_get(d->after, "packets"), "ignored");
	struct doctor_capture *c = &d->facts.capture;
	const char *filter = json_string_value(json_object_get(d->setup, "filter"));

	*c = (struct doctor_capture){
		.running = json_is_true(json_object_get(d->setup, "live")),
		.filter = filter && *filter ? filter : NULL,
		.snap_len = (uint32_t)json_integer_value(json_object_get(d->setup, "snaplen")),
		.promiscuous = json_is_true(json_object_get(d->setup, "promiscuous")),
		.xdp = json_is_true(json_object_get(d->setup, "xdp")),
		.wants_vlan = json_is_true(json_object_get(d->setup, "vlan")),
		.paused = json_is_false(json_object_get(d->setup, "gathering")),
		.received = show_count(d->after, "packets", "received"),
		.dropped_by_kernel = show_count(d->after, "packets", "dropped_by_kernel"),
		.oversized = show_count(d->after, "packets", "oversized"),
		.seen = diagnosis_seen(d->after) - diagnosis_seen(d->before),
		.cut = show_count(d->after, "notes", "transport_header_cut") +
		       show_count(d->after, "notes", "extension_headers_cut") +
		       show_count(d->after, "notes", "tunnel_cut") +
		       (uint64_t)json_integer_value(json_object_get(ignored, "cut_ip")) +
		       (uint64_t)json_integer_value(json_object_get(ignored, "cut_link")),
	};
}

static void diagnosis_collector(struct doctor_collector *to, const json_t *c)
{
	const json_t *state = json_object_get(c, "state"), *error = json_object_get(c, "last_error");

	to->running = true;
	to->up = json_is_string(state) && !strcmp(json_string_value(state), "up");
	to->records = (uint64_t)json_integer_value(json_object_get(c, "records"));
	to->templates = (uint64_t)json_integer_value(json_object_get(c, "templates"));
	to->pending = (uint64_t)json_integer_value(json_object_get(c, "pending"));
	to->not_sent = show_count(c, "not_sent", "records");
	if (json_is_string(error))
		snprintf(to->last_error, sizeof(to->last_error), "%s", json_string_value(error));
}

static void diagnosis_collectors(struct doctor *d)
{
	const char *ca = json_string_value(json_object_get(d->setup, "tls_ca"));
	const char *name = json_string_value(json_object_get(d->setup, "tls_name"));
	size_t i;
	json_t *c;

	json_array_foreach(json_object_get(d->after, "collectors"), i, c)
	{
		struct doctor_collector *to = &d->facts.collectors[d->facts.n_collectors];
		const char *url = json_string_value(json_object_get(c, "url"));
		struct diag diag;

		if (d->facts.n_collectors == DOCTOR_COLLECTORS || !url ||
		    collector_parse(&to->config, url, FORMAT_IPFIX, &diag) < 0)
			continue;
		d->facts.n_collectors++;
		to->mtu = (uint32_t)json_integer_value(json_object_get(d->setup, "mtu"));
		to->source = json_string_value(json_object_get(d->setup, "source"));
		to->device = json_string_value(json_object_get(d->setup, "bind_device"));
		diagnosis_collector(to, c);
		doctor_look_collector(to);
		doctor_probe_collector(to, ca, name);
	}
}

static int diagnosis_interfaces(struct doctor *d, struct diag *diag)
{
	json_t *list = NULL, *n;
	int r = client_ask(d->client, "interfaces", &list, diag);
	size_t i;

	if (r < 0 || !json_is_true(json_object_get(d->setup, "live"))) {
		json_decref(list);
		return r;
	}
	json_array_foreach(list, i, n)
	{
		struct doctor_interface *to = &d->facts.interfaces[d->facts.n_interfaces];
		const char *name = json_string_value(json_object_get(n, "name"));

		if (d->facts.n_interfaces == DOCTOR_INTERFACES || !name)
			break;
		snprintf(to->name, sizeof(to->name), "%s", name);
		doctor_look_interface(to);
		to->counted = doctor_count_interface(name); /* the beginning of its count */
		d->facts.n_interfaces++;
	}
	json_decref(list);
	return 0;
}

static int diagnosis_gather(struct doctor *d, struct diag *diag)
{
	int r = client_ask(d->client, "setup", &d->setup, diag);

	if (r == 0)
		r = diagnosis_interfaces(d, diag);
	if (r == 0)
		r = client_ask(d->client, "statistics", &d->before, diag);
	if (r < 0)
		return r;
	if (d->facts.n_interfaces)
		nanosleep(&(struct timespec){.tv_sec = LOOK_S}, NULL);
	for (unsigned i = 0; i < d->facts.n_interfaces; i++)
		d->facts.interfaces[i].counted =
			doctor_count_interface(d->facts.interfaces[i].name) - d->facts.interfaces[i].counted;
	if (d->facts.n_interfaces) /* what the last block of the ring holds comes a little later */
		nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
	r = client_ask(d->client, "statistics", &d->after, diag);
	if (r < 0)
		return r;
	diagnosis_capture(d);
	doctor_look_clock(&d->facts.clock);
	diagnosis_collectors(d);
	return 0;
}

static void diagnosis_line(void *ctx, const char *line)
{
	fprintf(((struct doctor *)ctx)->out, "%s\n", line);
}

static void diagnosis_finding(void *ctx, const struct doctor_finding *f)
{
	struct doctor *d = ctx;

	d->doubts += f->severity == DOCTOR_DOUBT;
	if (d->findings)
		json_array_append_new(d->findings,
				      json_pack("{s:s, s:b, s:s, s:s, s:s}", "check", f->check, "wrong",
						f->severity == DOCTOR_FAULT, "about", f->about, "verdict",
						f->verdict, "advice", f->advice));
	else
		doctor_print(f, diagnosis_line, d);
}

int diagnosis_run(struct client *c, FILE *out, bool as_json, struct diag *diag)
{
	struct doctor *d = calloc(1, sizeof(*d));
	unsigned faults = 0;
	int r = d ? 0 : diag_set(diag, -ENOMEM, "out of memory");

	if (r == 0) {
		d->client = c;
		d->out = out;
		d->findings = as_json ? json_array() : NULL;
		r = diagnosis_gather(d, diag);
	}
	if (r == 0) {
		faults = doctor_check(&d->facts, diagnosis_finding, d);
		if (d->findings) {
			json_dumpf(d->findings, out, JSON_INDENT(1) | CONTROL_REALS);
			diagnosis_line(d, "");
		} else {
			doctor_sum(faults, d->doubts, diagnosis_line, d);
		}
	}
	if (d) {
		json_decref(d->setup);
		json_decref(d->before);
		json_decref(d->after);
		json_decref(d->findings);
	}
	free(d);
	return r < 0 ? r : (int)faults;
}
