/*
 * bench_encode: ns per flow record, from the template walk alone to a UDP collector on loopback that nobody
 * reads.
 *
 *   walk     template_encode() into memory
 *   file     the whole exporter into /dev/null
 *   udp      the whole exporter to a bound loopback socket: the kernel's part is the larger one
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "export/flow_templates.h"
#include "export/format.h"
#include "pitot/clock.h"

#define FLOWS	1024u
#define RECORDS 1000000u

static struct flow_record flows[FLOWS];
static const struct export_interface interfaces[] = {{1, "eth0", "uplink"}};

static void make_flows(unsigned six_of_ten, uint64_t now_ns)
{
	for (unsigned i = 0; i < FLOWS; i++) {
		struct flow_record *r = &flows[i];

		*r = (struct flow_record){.packets = 1 + i,
					  .octets = 1000u * (1 + i),
					  .first_ns = now_ns - NS_PER_SEC,
					  .last_ns = now_ns,
					  .id = i,
					  .ingress = 1,
					  .tcp_flags = 0x1b,
					  .min_ttl = 60,
					  .max_ttl = 64,
					  .end_reason = FLOW_END_IDLE};
		r->key.ip_version = i % 10 < six_of_ten ? 6 : 4;
		r->key.protocol = 6;
		r->key.src_port = (uint16_t)(1024 + i);
		r->key.dst_port = 443;
		memcpy(r->key.src, &i, sizeof(i));
		memcpy(r->key.dst + 2, &i, sizeof(i));
	}
}

static struct exporter_config exporter_config(struct collector_config *c, struct clock_time now)
{
	return (struct exporter_config){
		.collectors = c,
		.n_collectors = 1,
		.template_ns = 60 * NS_PER_SEC,
		.template_messages = 20,
		.flush_ns = NS_PER_SEC,
		.active_ns = 60 * NS_PER_SEC,
		.inactive_ns = 15 * NS_PER_SEC,
		.has_ethernet = true,
		.offline = true,
		.interfaces = interfaces,
		.n_interfaces = 1,
		.start_ns = now.realtime_ns,
		.start_monotonic_ns = now.monotonic_ns,
	};
}

static void bench_walk(enum ie_protocol protocol, const char *name)
{
	struct clock_time now = clock_now();
	struct exporter_config config = exporter_config(NULL, now);
	struct template_context ctx = {.boot_ms = (int64_t)(now.realtime_ns / NS_PER_MSEC) - 3600000,
				       .latest_ms = (int64_t)(now.realtime_ns / NS_PER_MSEC)};
	struct template v4, v6;
	struct diag diag;
	uint8_t out[512];
	uint64_t begin;

	if (fields_template(&v4, 0, protocol, false, &config, &diag) ||
	    fields_template(&v6, FLOW_MASK_IP6, protocol, false, &config, &diag))
		exit(1);
	begin = clock_monotonic_ns();
	for (unsigned i = 0; i < 4 * RECORDS; i++) {
		const struct flow_record *r = &flows[i % FLOWS];

		template_encode(r->key.ip_version == 6 ? &v6 : &v4, r, &ctx, out);
		__asm__ volatile("" : : "r"(out) : "memory");
	}
	printf("walk %-9s %6.1f ns a record, %u fields\n", name,
	       (double)(clock_monotonic_ns() - begin) / (4.0 * RECORDS), v4.n_fields);
}

static void bench_exporter(struct collector_config *c, const char *name)
{
	struct clock_time now = clock_now();
	struct exporter_config config = exporter_config(c, now);
	struct exporter_stats stats;
	struct exporter *e;
	struct diag diag;
	uint64_t begin = clock_monotonic_ns();

	if (exporter_new(&e, &config, &diag)) {
		fprintf(stderr, "%s\n", diag.text);
		exit(1);
	}
	for (unsigned i = 0; i < RECORDS; i++)
		exporter_record(e, &flows[i % FLOWS], &now);
	exporter_finish(e, &now);
	exporter_get_stats(e, &stats);
	printf("%-14s %6.1f ns a record, %llu not sent\n", name,
	       (double)(clock_monotonic_ns() - begin) / RECORDS, (unsigned long long)stats.not_sent.records);
	exporter_free(e);
}

static void bench_format(enum export_format format, const char *name, uint16_t port)
{
	struct collector_config c = {.format = format, .transport = TRANSPORT_FILE, .path = "/dev/null"};
	char label[32];

	snprintf(label, sizeof(label), "file %s", name);
	bench_exporter(&c, label);
	if (format == FORMAT_JSON || format == FORMAT_TEXT)
		return;
	c = (struct collector_config){
		.format = format, .transport = TRANSPORT_UDP, .host = "127.0.0.1", .port = port};
	snprintf(label, sizeof(label), "udp %s", name);
	bench_exporter(&c, label);
}

int main(void)
{
	struct sockaddr_in sink = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(sink);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sink, size) ||
	    getsockname(fd, (struct sockaddr *)&sink, &size))
		return 1;
	for (unsigned six = 0; six <= 5; six += 5) {
		printf("-- %u of 10 flows IPv6\n", six);
		make_flows(six, clock_realtime_ns());
		bench_walk(PX, "ipfix");
		bench_walk(P9, "netflow9");
		bench_format(FORMAT_IPFIX, "ipfix", ntohs(sink.sin_port));
		bench_format(FORMAT_NETFLOW9, "netflow9", ntohs(sink.sin_port));
		bench_format(FORMAT_NETFLOW5, "netflow5", ntohs(sink.sin_port));
		bench_format(FORMAT_JSON, "json", 0);
		bench_format(FORMAT_TEXT, "text", 0);
	}
	close(fd);
	return 0;
}
