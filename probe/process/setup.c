/* setup: see setup.h. */
#include "setup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <sys/random.h>
#include <unistd.h>

#include "pitot/netif.h"
#include "contacts.h"
#include "daemon.h"
#include "role.h"
#include "roles.h"
#include "stepping.h"
#include "pitot/link_type.h"
#include "pitot/log.h"

enum {
	SAMPLES = 4096,	      /* packet samples that may wait for the exporting process */
	QUEUE_OFFLINE = 4096, /* records: stays in the cache; the metering process waits for room */
	BUFFER_AUTO = 64 << 20,
	BUFFERS_AUTO = 1 << 30, /* of all interfaces */
	FILES_OF_OURS = 256,	/* descriptors besides those of savefiles and collectors */
};

static int setup_interfaces(struct control *r, struct diag *diag)
{
	const struct config *c = r->config;

	if (names_init(&r->names, c->n_interfaces, EXPORTING_INTERFACES_MAX) < 0)
		return diag_set(diag, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < c->n_interfaces; i++) {
		const char *name = c->interfaces[i].name;
		struct netif n;
		int ret = strcmp(name, "any") ? netif_get(&n, name, diag) : 0;

		if (ret < 0 && ret != -ENODEV) /* opening it says so, or it is waited for */
			return diag_prefix(diag, ret, "--interface %s: ", name);
		names_add(&r->names, name, c->interfaces[i].ifindex);
	}
	(void)names_look(&r->names);
	return 0;
}

static unsigned setup_count_workers(const struct config *c)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	return c->workers ? c->workers : online > 0 ? (unsigned)online : 1;
}

/* Of each interface. */
static uint64_t setup_buffer_octets(const struct config *c)
{
	if (c->buffer_octets)
		return c->buffer_octets;
	return (uint64_t)BUFFER_AUTO * c->n_interfaces <= BUFFERS_AUTO ? BUFFER_AUTO
								       : BUFFERS_AUTO / c->n_interfaces;
}

static bool setup_has_sflow(const struct config *c)
{
	for (unsigned i = 0; i < c->n_collectors; i++)
		if (c->collectors[i].format == FORMAT_SFLOW)
			return true;
	return false;
}

/* Packet samples are drawn of all packets, so with them the kernel may leave none out. */
static uint32_t setup_select_interval(const struct control *r)
{
	const struct config *c = r->config;

	return r->live && c->sample.kind == CONFIG_SAMPLE_RANDOM && !setup_has_sflow(c) ? c->sample.interval
											: 0;
}

static int setup_captures(struct control *r, struct diag *diag)
{
	const struct config *c = r->config;
	unsigned n = r->live ? c->n_interfaces : c->n_files;
	uint32_t seed;

	r->captures = calloc(n, sizeof(*r->captures));
	if (!r->captures)
		return diag_set(diag, -ENOMEM, "out of memory");
	r->n_captures = n;
	r->n_workers = setup_count_workers(c);
	if (take_over_workers(r->taking) && take_over_workers(r->taking) != r->n_workers) {
		log_warning("--takeover: --workers %u is not in force: the captures of the other process are "
			    "those of %u "
			    "metering thread%s",
			    r->n_workers, take_over_workers(r->taking),
			    log_plural(take_over_workers(r->taking)));
		r->n_workers = take_over_workers(r->taking);
	}
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return diag_set(diag, -errno, "no random numbers: %s", strerror(errno));
	for (unsigned i = 0; i < n; i++)
		r->captures[i] = (struct capture_config){
			.interface = r->live ? c->interfaces[i].name : NULL,
			.ifindex = r->live ? c->interfaces[i].ifindex : 0,
			.path = r->live ? NULL : c->files[i],
			.point = r->live && n > 1 ? (uint16_t)(i + 1) : 0,
			.method = (enum capture_method)c->capture,
			.direction = (enum capture_direction)c->direction,
			.filter = c->filter,
			.buffer_octets = r->live ? setup_buffer_octets(c) : 0,
			.snap_len = c->snap_len,
			.promiscuous = !c->no_promiscuous,
			.workers = r->n_workers,
			.fanout_seed = seed,
			.fanout_mode = (enum capture_fanout)c->fanout,
			.busy_poll_us = c->busy_poll_us,
			.select_interval = setup_select_interval(r),
			.select_varies = control_is_polite(r) && !setup_has_sflow(c),
		};
	return 0;
}

static int setup_dealing(struct control *r, const struct metering_config *w, struct diag *diag)
{
	const struct config *c = r->config;
	struct dealing_config d = {.files = r->files,
				   .n_lanes = r->n_workers,
				   .layout = r->layout,
				   .seed = w->table.seed,
				   .shared = r->shared.files};
	int ret = c->no_fragment_tracking ? 0
					  : fragment_table_new(&d.fragments, c->max_fragments,
							       c->fragment_timeout_ns, &d.seed, diag);

	if (ret == 0)
		ret = dealing_new(&r->dealing, &d, diag);
	if (ret < 0)
		fragment_table_free(d.fragments);
	return ret;
}

static int setup_files(struct control *r, struct metering_config *w, struct diag *diag)
{
	struct savefiles_config s = {.files = r->captures,
				     .n_files = r->n_captures,
				     .decode = w->decode,
				     .selection = w->selection,
				     .shared = &r->shared};
	int ret = savefiles_new(&r->files, &s, diag);

	if (ret == 0)
		progress_open(&r->progress, r->config, r->files, clock_monotonic_ns());
	if (ret == 0 && r->n_workers > 1)
		ret = setup_dealing(r, w, diag);
	w->files = r->files;
	w->dealing = r->dealing;
	return ret;
}

/* What records hold: what is to be exported, and what is part of the key. */
static void setup_layouts(struct control *r)
{
	const struct config *c = r->config;
	struct exporter_config e = {.collectors = c->collectors,
				    .n_collectors = c->n_collectors,
				    .fields = c->fields,
				    .offline = !r->live};
	uint32_t blocks = exporter_blocks(&e) |
			  (control_is_polite(r) && c->polite.slice ? UINT32_C(1) << BLOCK_SLICE : 0);
	uint32_t key = (c->flow_key & FLOW_KEY_MAC ? UINT32_C(1) << BLOCK_LINK : 0) |
		       (c->flow_key & FLOW_KEY_TUNNEL ? UINT32_C(1) << BLOCK_TUNNEL : 0);

	record_layout_init(&r->layout, blocks & BLOCKS_OF_PACKETS, key);
	record_layout_init(&r->export_layout, blocks, key);
}

static int setup_shared(struct control *r, struct diag *diag)
{
	const struct config *c = r->config;
	struct shared_config config = {
		.n_metering = r->n_workers,
		.n_places = r->live ? r->n_captures : 0,
		.ring_records = r->live ? c->queue_records : QUEUE_OFFLINE,
	};

	int ret;

	r->max_rate = c->max_export_rate;
	r->timeouts = (struct metering_timeouts){c->active_ns, c->inactive_ns, c->tcp_end_ns};
	setup_layouts(r);
	config.record_size = r->layout.record_size;
	config.ring_samples = setup_has_sflow(c) ? SAMPLES : 0;
	ret = shared_new(&r->shared, &config, diag);
	if (ret == 0 && r->live) {
		r->send_fds = calloc(r->n_workers, sizeof(*r->send_fds));
		ret = r->send_fds ? 0 : diag_set(diag, -ENOMEM, "out of memory");
	}
	for (unsigned i = 0; ret == 0 && r->live && i < r->n_workers; i++)
		r->send_fds[i] = r->shared.to_metering[i].receive_fd;
	r->confine.send_fds = r->send_fds;
	r->confine.n_send_fds = r->send_fds ? r->n_workers : 0;
	for (unsigned i = 0; ret == 0 && i < r->n_captures; i++)
		r->captures[i].stopped = &r->shared.control->stop;
	return ret;
}

static bool setup_has_ethernet(const struct control *r)
{
	for (unsigned i = 0; i < r->n_captures; i++) {
		const struct capture *c =
			r->live ? metering_capture(r->workers[0], i) : savefiles_file(r->files, i);

		/* of one that is waited for it is not known */
		if (!c || c->link_type == LINKTYPE_ETHERNET || c->also_ethernet)
			return true;
	}
	return false;
}

/* Where it is not known flowDirection is left out: it has no value for that. */
static bool setup_tells_direction(const struct control *r)
{
	for (unsigned i = 0; r->live && i < r->n_captures; i++) {
		const struct capture *c = metering_capture(r->workers[0], i);

		if (c && !c->tells_direction)
			return false;
	}
	return r->live;
}

/*
 * Where the ids of records begin, of 56 bits.  Where a record may be sent twice they tell which one it is,
 * also from what an earlier run left and from what another one sends meanwhile: drawn, as two runs can begin
 * at the same instant.  With room behind it for more records than a run has.  Elsewhere results stay the
 * same.
 */
static int setup_first_id(const struct config *c, uint64_t *id)
{
	struct hash_seed drawn = {0};
	bool replays = false;
	int r;

	for (unsigned i = 0; i < c->n_collectors; i++)
		replays |= transport_replays(c->collectors[i].transport);
	r = replays ? hash_seed_random(&drawn) : 0;
	*id = drawn.k[0] & ((UINT64_C(1) << 55) - 1);
	return r;
}

/* The address that collectors on sFlow know this host by: of all that it has, the first that is of a network.
 */
static struct export_agent setup_agent(const struct config *c)
{
	struct export_agent a = {.family = 4};
	struct ifaddrs *list = NULL;

	if (c->agent) {
		if (inet_pton(AF_INET, c->agent, a.address) != 1 &&
		    inet_pton(AF_INET6, c->agent, a.address) == 1)
			a.family = 6;
		return a;
	}
	if (!setup_has_sflow(c) || getifaddrs(&list) < 0)
		return a;
	for (unsigned turn = 0; turn < 2; turn++) { /* IPv4 before IPv6 */
		int family = turn ? AF_INET6 : AF_INET;

		for (const struct ifaddrs *i = list; i && !a.address[0]; i = i->ifa_next) {
			if (!i->ifa_addr || i->ifa_addr->sa_family != family || i->ifa_flags & IFF_LOOPBACK)
				continue;
			if (family == AF_INET)
				memcpy(a.address, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, 4);
			else if (!IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr))
				memcpy(a.address, &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, 16);
			if (a.address[0])
				a.family = family == AF_INET6 ? 6 : 4;
		}
	}
	freeifaddrs(list);
	return a;
}

/*
 * What is metered and what is sampled.  A savefile is drawn of in the same way each time that it is read;
 * nobody who sends packets may foresee which ones are drawn live.
 */
static int setup_selection(struct control *r, const struct config *c, struct selection_config *s)
{
	const struct take_over_facts *other = take_over_get_facts(r->taking);
	struct hash_seed drawn = {.k = {1, 2}};
	int ret = r->live ? hash_seed_random(&drawn) : 0;

	if (other) /* a flow that is drawn stays drawn */
		drawn = (struct hash_seed){.k = {other->selection_seed[0], other->selection_seed[1]}};
	r->selection_seed = drawn;
	r->agent = setup_agent(c);
	static_assert((int)CONFIG_SAMPLE_HASH == (int)SAMPLER_HASH,
		      "config_sampling counts as sampler_kind does");
	r->sampling =
		(struct export_sampling){.algorithm = sampler_algorithm((enum sampler_kind)c->sample.kind),
					 .interval = c->sample.interval,
					 .n_selectors = control_is_polite(r) ? EXPORT_SELECTORS : 0,
					 .hash_initial = (uint32_t)drawn.k[0],
					 .hash_limit = sampler_hash_limit(c->sample.interval)};
	*s = (struct selection_config){
		.flows = {(enum sampler_kind)c->sample.kind, c->sample.interval, drawn.k[0]},
		.samples = {setup_has_sflow(c) ? SAMPLER_RANDOM : SAMPLER_NONE, c->sflow_rate, drawn.k[1]},
		.header_max = c->sflow_header,
	};
	return ret;
}

static int setup_workers(struct control *r, struct diag *diag)
{
	const struct config *c = r->config;
	unsigned n = r->n_workers;
	struct metering_config w = {
		.shared = &r->shared,
		.live = r->live,
		.plans = r->interfaces.plans,
		.n_places = r->live ? r->n_captures : 0,
		.decode = {.key_tos = c->flow_key & FLOW_KEY_TOS,
			   .key_vlan = c->flow_key & FLOW_KEY_VLAN,
			   .max_layers = c->max_layers,
			   .tunnels = c->decapsulate},
		.table = {.max_flows = c->max_flows / n + (c->max_flows % n > 0),
			  .active_ns = c->active_ns,
			  .inactive_ns = c->inactive_ns,
			  .tcp_end_ns = c->tcp_end_ns},
		.track_fragments = (r->live || n == 1) && !c->no_fragment_tracking,
		.max_fragments = c->max_fragments,
		.fragment_timeout_ns = c->fragment_timeout_ns,
		.polite = control_is_polite(r),
		.speaks = true,
		.go = &r->shared.control->go,
	};
	int ret = hash_seed_random(&w.table.seed);

	w.table.layout = w.decode.layout = r->layout;
	if (ret == 0)
		ret = setup_first_id(c, &w.first_id);
	if (take_over_latest_id(r->taking))
		w.first_id = take_over_latest_id(r->taking);
	if (ret == 0)
		ret = setup_selection(r, c, &w.selection);
	static_assert(sizeof(w.decode.tunnel_ports) == sizeof(c->tunnel_ports), "of the same tunnels");
	memcpy(w.decode.tunnel_ports, c->tunnel_ports, sizeof(w.decode.tunnel_ports));

	if (ret < 0)
		return diag_set(diag, ret, "no random numbers: %s", strerror(-ret));
	if (!r->live) {
		ret = setup_files(r, &w, diag);
		if (ret < 0)
			return ret;
	}
	r->workers = calloc(n, sizeof(*r->workers));
	if (!r->workers)
		return diag_set(diag, -ENOMEM, "out of memory");
	r->metering_config = w;
	ret = role_new_workers(r, diag);
	if (ret == 0 && r->live)
		ret = interfaces_open(&r->interfaces, r->workers, c->wait, diag);
	if (ret < 0)
		return ret;
	r->has_ethernet = setup_has_ethernet(r);
	r->tells_direction = setup_tells_direction(r);
	return 0;
}

/* The process that is taken over from stops reading here; what it has is ours once everything is ready. */
static int setup_take_over(struct control *r, struct diag *diag)
{
	const struct take_over_facts *other;
	int ret = take_over_receive(r->taking, diag);

	other = ret == 0 ? take_over_get_facts(r->taking) : NULL;
	if (other)
		ret = take_over_check_sampling(r->taking, r, diag);
	if (ret < 0 || !other)
		return ret;
	r->boot = (struct clock_time){other->start_realtime_ns, other->start_monotonic_ns};
	for (unsigned i = 0; i < r->n_captures; i++)
		r->captures[i].fanout_seed = other->fanout_seed;
	r->interfaces.taking = r->taking;
	if (!r->service.interval_ns) /* whoever reloads a service is not told of its watchdog */
		r->service.interval_ns = other->watchdog_ns;
	return 0;
}

static int setup_commit(struct control *r, struct diag *diag)
{
	int ret;

	if (!r->taking)
		return 0;
	ret = take_over_commit(r->taking, atomic_load(&r->shared.exporting->taken), diag);
	r->took_over = ret == 0;
	return ret;
}

/* What is not to be had is said, and is no reason to end: packets wait. */
static void setup_after_take_over(struct control *r)
{
	struct diag diag = {""};

	if (contacts_take_pidfile(r, &diag) < 0)
		log_error("%s", diag.text);
	if (contacts_write_pidfile(r, &diag) < 0)
		log_error("%s", diag.text);
	if (contacts_open_metrics(r, &diag) < 0)
		log_error("%s", diag.text);
}

int setup_open(struct control *r, struct diag *diag)
{
	const struct config *c = r->config;
	int ret;

	tzset(); /* where the zone's file cannot be read any more it is known */
	/* nothing was measured, and paths and names may hang; the resolver's threads hear no signals */
	daemon_may_end(true);
	r->metrics_client = -1;
	ret = c->takeover ? 0 : contacts_take_pidfile(r, diag);
	contacts_choose_control(r);
	if (ret == 0)
		ret = take_over_begin(&r->taking, r, diag);
	if (ret == 0 && r->live)
		ret = setup_interfaces(r, diag);
	daemon_allow_files(c->n_files + c->n_collectors + FILES_OF_OURS);
	if (ret == 0)
		ret = setup_captures(r, diag);
	if (ret == 0)
		ret = confine_start_opener(&r->confine, c, r->captures, diag);
	if (ret == 0 && !r->taking)
		ret = contacts_open_metrics(r, diag);
	if (ret == 0)
		ret = setup_shared(r, diag);
	if (ret == 0 && r->live)
		ret = interfaces_init(&r->interfaces, r->captures, r->n_captures, &r->shared,
				      r->confine.opener, diag);
	r->interfaces.names = &r->names;
	if (ret == 0)
		ret = setup_take_over(r, diag);
	if (ret == 0)
		ret = setup_workers(r, diag);
	if (ret == 0)
		ret = roles_start(r, diag);
	daemon_may_end(false);
	if (ret == 0)
		ret = setup_commit(r, diag);
	if (r->took_over) {
		roles_go(r); /* what follows takes no packet's time */
		setup_after_take_over(r);
	}
	if (ret == 0 && !r->took_over)
		ret = contacts_write_pidfile(r, diag);
	if (ret == 0)
		ret = contacts_open_control(r, diag);
	if (ret == 0)
		ret = stepping_open(r, diag);
	if (ret == 0 && r->live && setup_has_sflow(c))
		ret = poller_init(&r->poller, c->sflow_polling_ns, diag);
	take_over_free(r->taking);
	r->taking = r->interfaces.taking = NULL;
	if (ret == 0)
		ret = contacts_open_view(r, diag);
	if (ret == 0)
		ret = confine_enter(&r->confine, c, SANDBOX_CONTROL, diag);
	return ret;
}
