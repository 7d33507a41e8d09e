/* doctor_checks: what the facts mean: a function for each row of checks.def. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pitot/doctor.h"

enum { EXPIRY_DAYS = 14, ENOUGH_PACKETS = 10 };

/* A check looks at one interface or collector, or at neither; true: something is wrong, and f says what. */
struct doctor_view {
	const struct doctor_facts *facts;
	const struct doctor_path *path;
	const struct doctor_interface *interface;
	const struct doctor_collector *collector;
};

__attribute__((format(printf, 3, 4))) static bool doctor_say(struct doctor_finding *f, const char *advice,
							     const char *verdict, ...)
{
	va_list args;

	va_start(args, verdict);
	vsnprintf(f->verdict, sizeof(f->verdict), verdict, args);
	va_end(args);
	snprintf(f->advice, sizeof(f->advice), "%s", advice);
	return true;
}

static bool doctor_doubt(struct doctor_finding *f)
{
	f->severity = DOCTOR_DOUBT;
	return true;
}

static bool check_path_usable(const struct doctor_view *v, struct doctor_finding *f)
{
	const struct doctor_path *p = v->path;

	return p->error[0] && doctor_say(f, p->advice ? p->advice : "correct the path, or its owner and mode",
					 "--%s: %s", p->option, p->error);
}

/* ---- interfaces */

static bool check_interface_exists(const struct doctor_view *v, struct doctor_finding *f)
{
	return !v->interface->any && !v->interface->exists &&
	       doctor_say(f,
			  v->interface->name[strcspn(v->interface->name, ", ")]
				  ? "give each interface a -i of its own"
				  : "ip link shows what there is; give its name to -i",
			  "there is no such interface");
}

static bool check_interface_up(const struct doctor_view *v, struct doctor_finding *f)
{
	char advice[160];

	snprintf(advice, sizeof(advice), "ip link set %s up", v->interface->name);
	return !v->interface->any && !v->interface->up && doctor_say(f, advice, "the interface is down");
}

static bool check_interface_carrier(const struct doctor_view *v, struct doctor_finding *f)
{
	return !v->interface->any && !v->interface->carrier &&
	       doctor_say(f, "look at the cable, and at the port on the other side",
			  "the interface is up and has no carrier: nothing is connected");
}

static bool check_interface_promiscuous(const struct doctor_view *v, struct doctor_finding *f)
{
	const struct doctor_capture *c = &v->facts->capture;

	return c->running && c->promiscuous && !v->interface->any && !v->interface->promiscuous &&
	       strcmp(v->interface->name, "lo") != 0 &&
	       doctor_say(f, "somebody else has switched it off; start pitot again",
			  "the interface is not promiscuous: packets for other hosts are not seen");
}

static bool check_interface_traffic(const struct doctor_view *v, struct doctor_finding *f)
{
	const struct doctor_capture *c = &v->facts->capture;

	if (!c->running)
		return false;
	if (c->paused)
		return doctor_say(f, "pitotctl start-gather",
				  "packets are only counted: stop-gather is in force");
	if (v->interface->any || v->interface->counted < ENOUGH_PACKETS || c->seen)
		return false;
	if (c->filter)
		return doctor_say(f, "try the filter with tcpdump, or without one",
				  "the interface counted %llu packets, and the filter '%.100s' let none of "
				  "them through",
				  (unsigned long long)v->interface->counted, c->filter);
	return doctor_say(
		f,
		"an offload or fast path of the driver (ethtool -k, hardware flow tables, DPDK, XDP) keeps "
		"packets from the kernel: switch it off, or measure elsewhere",
		"the interface counted %llu packets, and pitot was given none of them",
		(unsigned long long)v->interface->counted);
}

static bool check_interface_vlan(const struct doctor_view *v, struct doctor_finding *f)
{
	const struct doctor_capture *c = &v->facts->capture;
	char advice[160];

	snprintf(advice, sizeof(advice), "ethtool -K %s rxvlan off, or --capture afpacket",
		 v->interface->name);
	return v->interface->ethtool && v->interface->strips_vlan && c->xdp && c->wants_vlan &&
	       doctor_say(f, advice,
			  "the interface takes VLAN tags out before packets are captured: all VLANs look "
			  "like none");
}

static bool check_interface_merged(const struct doctor_view *v, struct doctor_finding *f)
{
	const struct doctor_capture *c = &v->facts->capture;
	const char *what = v->interface->lro ? v->interface->gro ? "gro off lro off" : "lro off" : "gro off";
	char advice[160];

	if (!v->interface->ethtool || !(v->interface->gro || v->interface->lro) || !c->running ||
	    !c->oversized)
		return false;
	snprintf(advice, sizeof(advice), "ethtool -K %s %s", v->interface->name, what);
	return doctor_say(
		f, advice,
		"receive offload merged packets before they were measured (%llu were longer than the MTU): "
		"packets are counted too few and too long",
		(unsigned long long)c->oversized);
}

static bool check_interface_drops(const struct doctor_view *v, struct doctor_finding *f)
{
	return v->facts->capture.running && v->interface->dropped &&
	       doctor_say(f, "ethtool -G makes its own ring longer; ip -s -s link shows the cause",
			  "the interface itself had no room for %llu packets since it is there",
			  (unsigned long long)v->interface->dropped) &&
	       doctor_doubt(f);
}

/* ---- capture and clock */

static bool check_capture_ring(const struct doctor_view *v, struct doctor_finding *f)
{
	const struct doctor_capture *c = &v->facts->capture;

	return c->running && c->dropped_by_kernel &&
	       doctor_say(f, "a larger --buffer, more --workers, or a --filter",
			  "the capture buffer was full: %llu packets were lost, %llu received",
			  (unsigned long long)c->dropped_by_kernel, (unsigned long long)c->received);
}

static bool check_capture_snaplen(const struct doctor_view *v, struct doctor_finding *f)
{
	const struct doctor_capture *c = &v->facts->capture;

	return c->running && c->cut &&
	       doctor_say(f, "a larger --snaplen: 256 holds the headers of most packets, tunnels take more",
			  "%llu of %llu packets have headers beyond the %u octets that are captured",
			  (unsigned long long)c->cut, (unsigned long long)c->received, c->snap_len);
}

static bool check_clock_synchronised(const struct doctor_view *v, struct doctor_finding *f)
{
	const struct doctor_clock *c = &v->facts->clock;

	return c->known && !c->synchronised &&
	       doctor_say(f,
			  "start an NTP client (chronyc tracking, timedatectl); collectors drop or misplace "
			  "flows "
			  "whose times are wrong",
			  "the clock of this host is not synchronised (it may be wrong by %.1f s and more)",
			  (double)c->max_error_us / 1e6);
}

/* ---- collectors */

static bool doctor_is_file(const struct doctor_collector *c)
{
	return c->config.transport == TRANSPORT_FILE;
}

static bool check_collector_file(const struct doctor_view *v, struct doctor_finding *f)
{
	return v->collector->path_error[0] &&
	       doctor_say(f, "make the folder, or name another file", "%.300s", v->collector->path_error);
}

static bool check_collector_name(const struct doctor_view *v, struct doctor_finding *f)
{
	return v->collector->name_error[0] &&
	       doctor_say(f, "look at its spelling, /etc/resolv.conf and /etc/hosts; or give an address",
			  "the name %.120s has no address: %s", v->collector->config.host,
			  v->collector->name_error);
}

static bool check_collector_route(const struct doctor_view *v, struct doctor_finding *f)
{
	const struct doctor_collector *c = v->collector;
	const char *source = c->source && c->source[0] ? c->source : NULL;
	const char *device = c->device && c->device[0] ? c->device : NULL;

	if (c->no_sctp)
		return doctor_say(f, "modprobe sctp may help; or use ipfix+tcp://",
				  "this kernel has no SCTP");
	if (c->route_error == EAFNOSUPPORT && source)
		return doctor_say(f, "give an address of the collector's family, or leave --source out",
				  "nothing can be sent to %s from --source %s: that is an address of another "
				  "family",
				  c->address, source);
	return c->route_error && doctor_say(f, "ip route get shows the way that this host would take",
					    "no way to %s%s%s%s%s: %s", c->address, source ? " from " : "",
					    source ? source : "", device ? " through " : "",
					    device ? device : "", strerror(c->route_error));
}

static bool check_collector_mtu(const struct doctor_view *v, struct doctor_finding *f)
{
	const struct doctor_collector *c = v->collector;

	return !doctor_is_file(c) && c->mtu && c->route_mtu && c->mtu > c->route_mtu &&
	       doctor_say(f, "--mtu auto takes what the route has",
			  "--mtu %u is more than the route to it takes (%u octets): datagrams do not arrive "
			  "whole",
			  c->mtu, c->route_mtu);
}

static bool check_collector_port(const struct doctor_view *v, struct doctor_finding *f)
{
	const struct doctor_collector *c = v->collector;
	unsigned port = c->config.port;

	if (c->probe_error == ECONNREFUSED)
		return doctor_say(f, "start the collector, or give its port",
				  "nobody listens on port %u of %s: it refused what was sent", port,
				  c->address);
	if (c->probe_error == EPERM || c->probe_error == EACCES)
		return doctor_say(f, "nft list ruleset, iptables -S: let it out",
				  "a firewall of this host drops what goes to %s port %u", c->address, port);
	if (c->probe_error == ETIMEDOUT)
		return doctor_say(f, "a firewall on the way, or on that host, drops it; or the host is off",
				  "no answer from port %u of %s", port, c->address);
	if (c->probe_error)
		return doctor_say(f, "ip route get shows the way; ask the router that refused",
				  "%s port %u cannot be reached: %s", c->address, port,
				  strerror(c->probe_error));
	return c->host_silent &&
	       doctor_say(
		       f,
		       "if flows do not arrive, look for a firewall on the way, and whether the host is on",
		       "nothing comes back from %s, not even about a closed port: datagrams may be dropped",
		       c->address) &&
	       doctor_doubt(f);
}

static bool check_collector_protocol(const struct doctor_view *v, struct doctor_finding *f)
{
	return v->collector->said[0] &&
	       doctor_say(f, "another port, or another transport in the URL",
			  "what listens on port %u is no collector of this kind: it says '%s'",
			  v->collector->config.port, v->collector->said);
}

/* What its certificate is refused for. */
static bool check_refused_certificate(const struct doctor_collector *c, struct doctor_finding *f)
{
	switch (c->tls_certificate) {
	case DOCTOR_CERTIFICATE_EXPIRED:
		return doctor_say(f, "give the collector a new certificate",
				  "the collector's certificate has expired");
	case DOCTOR_CERTIFICATE_EARLY:
		return doctor_say(f,
				  "is this host's clock right?  Else give the collector another certificate",
				  "the collector's certificate is not valid yet");
	case DOCTOR_CERTIFICATE_AUTHORITY:
		return doctor_say(f, "--tls-ca must have the authority that signed it",
				  "no authority of --tls-ca vouches for the collector's certificate: %s",
				  c->tls_error);
	case DOCTOR_CERTIFICATE_NAME:
		return doctor_say(f, "--tls-name must be a name that stands in it",
				  "the collector's certificate is for another name than %s: %s",
				  c->tls_name ? c->tls_name : c->config.host, c->tls_error);
	case DOCTOR_CERTIFICATE_OTHER:
		break;
	}
	return c->tls_error[0] && doctor_say(f, "look at the collector's certificate and its log",
					     "the collector's certificate is not accepted: %s", c->tls_error);
}

static bool check_collector_certificate(const struct doctor_view *v, struct doctor_finding *f)
{
	const struct doctor_collector *c = v->collector;

	if (check_refused_certificate(c, f))
		return true;
	return c->tls_days >= 0 && c->tls_days < EXPIRY_DAYS &&
	       doctor_say(f, "give the collector a new certificate in time",
			  "the collector's certificate expires in %d days", c->tls_days) &&
	       doctor_doubt(f);
}

static bool check_collector_handshake(const struct doctor_view *v, struct doctor_finding *f)
{
	return v->collector->handshake_silent &&
	       doctor_say(f, "is it a collector on TLS?  ipfix+tcp:// is one without",
			  "port %u takes connections and never answers the first message of a session",
			  v->collector->config.port);
}

static bool check_collector_templates(const struct doctor_view *v, struct doctor_finding *f)
{
	const struct doctor_collector *c = v->collector;

	return c->running && c->records && !c->templates &&
	       (c->config.format == FORMAT_IPFIX || c->config.format == FORMAT_NETFLOW9) &&
	       doctor_say(f, "pitotctl send-template",
			  "%llu records were sent and no template: the collector cannot read them",
			  (unsigned long long)c->records);
}

static bool check_collector_delivery(const struct doctor_view *v, struct doctor_finding *f)
{
	const struct doctor_collector *c = v->collector;

	if (!c->running || (!c->not_sent && (c->up || !c->pending)))
		return false;
	if (!c->up)
		return doctor_say(f, "look at the collector's log",
				  "there is no session with it, and %llu records wait%s%s",
				  (unsigned long long)c->pending, c->last_error[0] ? ": " : "",
				  c->last_error);
	return doctor_say(f, "what pitotctl collectors shows as the last error is why",
			  "%llu records were not sent%s%s", (unsigned long long)c->not_sent,
			  c->last_error[0] ? ": " : "", c->last_error) &&
	       doctor_doubt(f);
}

/* ---- the table */

enum doctor_scope { DOCTOR_path, DOCTOR_interface, DOCTOR_capture, DOCTOR_clock, DOCTOR_collector };

static const struct doctor_row {
	enum doctor_scope scope;
	const char *name;
	bool (*find)(const struct doctor_view *v, struct doctor_finding *f);
} rows[] = {
#define CHECK(scope, name, help) {DOCTOR_##scope, #name, check_##scope##_##name},
#include "checks.def"
};

static unsigned doctor_check_one(const struct doctor_view *v, enum doctor_scope scope, const char *about,
				 void (*say)(void *ctx, const struct doctor_finding *f), void *ctx)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct doctor_finding f = {.severity = DOCTOR_FAULT, .check = rows[i].name};

		if (rows[i].scope != scope || !rows[i].find(v, &f))
			continue;
		snprintf(f.about, sizeof(f.about), "%s", about);
		say(ctx, &f);
		if (f.severity == DOCTOR_FAULT)
			return 1;
	}
	return 0;
}

unsigned doctor_check(const struct doctor_facts *facts,
		      void (*say)(void *ctx, const struct doctor_finding *f), void *ctx)
{
	struct doctor_view v = {.facts = facts};
	unsigned faults = 0;

	for (unsigned i = 0; i < facts->n_paths; i++) {
		v.path = &facts->paths[i];
		faults += doctor_check_one(&v, DOCTOR_path, v.path->path, say, ctx);
	}
	for (unsigned i = 0; i < facts->n_interfaces; i++) {
		v.interface = &facts->interfaces[i];
		faults += doctor_check_one(&v, DOCTOR_interface, v.interface->name, say, ctx);
	}
	faults += doctor_check_one(&v, DOCTOR_capture, "capture", say, ctx);
	faults += doctor_check_one(&v, DOCTOR_clock, "clock", say, ctx);
	for (unsigned i = 0; i < facts->n_collectors; i++) {
		v.collector = &facts->collectors[i];
		faults += doctor_check_one(&v, DOCTOR_collector, v.collector->config.url, say, ctx);
	}
	return faults;
}

void doctor_print(const struct doctor_finding *f, void (*print)(void *ctx, const char *line), void *ctx)
{
	char line[1200];

	snprintf(line, sizeof(line), "%s  %s: %s (%s)", f->severity == DOCTOR_FAULT ? "WRONG" : "maybe",
		 f->about, f->verdict, f->check);
	print(ctx, line);
	snprintf(line, sizeof(line), "       %s", f->advice);
	print(ctx, line);
}

void doctor_sum(unsigned faults, unsigned doubts, void (*print)(void *ctx, const char *line), void *ctx)
{
	char line[120];

	if (faults || doubts)
		snprintf(line, sizeof(line), "%u wrong, %u that may be", faults, doubts);
	else
		snprintf(line, sizeof(line), "Nothing is wrong, as far as can be seen from here.");
	print(ctx, line);
}
