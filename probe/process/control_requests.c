/* control_requests: see control_requests.h; the rows are in control_requests.def. */
#include "control_requests.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control_internal.h"
#include "control_streams.h"
#include "ending.h"
#include "orders.h"
#include "pitot/control_protocol.h"
#include "pitot/log.h"
#include "pitot/timeouts.h"
#include "reporting.h"
#include "statistics.h"

/* The result, or NULL and a sentence in diag. */
typedef json_t *control_request(struct control *r, const json_t *request, struct diag *diag);

/* ---- what rows are made of */

static json_t *control_refuse(struct diag *diag, const char *sentence)
{
	diag_set(diag, -1, "%s", sentence);
	return NULL;
}

/* A member that is a number from least to most; false and a sentence when it is something else. */
static bool control_number(const json_t *request, const char *name, double least, double most, double *value,
			   struct diag *diag)
{
	const json_t *v = json_object_get(request, name);

	if (v && json_is_number(v) && json_number_value(v) >= least && json_number_value(v) <= most) {
		*value = json_number_value(v);
		return true;
	}
	diag_set(diag, -1, "%s: a number from %g to %.0f is wanted", name, least, most);
	return false;
}

static char *control_report_text(struct control *r, void (*print)(FILE *out, const struct ledger *l))
{
	struct report report;
	struct ledger ledger;

	reporting_take(r, &report, &ledger, false);
	return statistics_text(print, &ledger);
}

/* ---- the rows */

static json_t *control_request_version(struct control *r, const json_t *request, struct diag *diag)
{
	(void)r;
	(void)request;
	(void)diag;
	return json_pack("{s:s, s:s}", "program", "pitot", "version", PITOT_VERSION);
}

static json_t *control_request_statistics(struct control *r, const json_t *request, struct diag *diag)
{
	char *text = control_report_text(r, report_json);
	json_t *result = text ? json_loads(text, 0, NULL) : NULL;

	(void)request;
	free(text);
	return result ? result : control_refuse(diag, "out of memory");
}

static json_t *control_request_metrics(struct control *r, const json_t *request, struct diag *diag)
{
	const char *format = json_string_value(json_object_get(request, "format"));
	bool open = format && !strcmp(format, "openmetrics");
	char *text = control_report_text(r, open ? report_openmetrics : report_prometheus);
	json_t *result = text ? json_string(text) : NULL;

	free(text);
	return result ? result : control_refuse(diag, "out of memory");
}

static json_t *control_request_collectors(struct control *r, const json_t *request, struct diag *diag)
{
	json_t *all = control_request_statistics(r, request, diag);
	json_t *result = all ? json_incref(json_object_get(all, "collectors")) : NULL;

	json_decref(all);
	return result;
}

static json_t *control_request_interfaces(struct control *r, const json_t *request, struct diag *diag)
{
	json_t *list = json_array();

	(void)request;
	(void)diag;
	for (unsigned i = 0; i < r->names.n_list; i++) {
		const struct export_interface *e = &r->names.list[i];
		char name[256], description[512];

		if (e->gone)
			continue;

		log_escape(name, sizeof(name), e->name);
		log_escape(description, sizeof(description), e->description);
		json_array_append_new(list, json_pack("{s:s, s:I, s:s}", "name", name, "index",
						      (json_int_t)e->ifindex, "description", description));
	}
	return list;
}

static json_t *control_request_processes(struct control *r, const json_t *request, struct diag *diag)
{
	const struct child *const children[] = {&r->metering, &r->exporting};
	json_t *all = json_pack("{s:I}", "pitot", (json_int_t)getpid());

	(void)request;
	(void)diag;
	for (unsigned i = 0; i < sizeof(children) / sizeof(children[0]); i++)
		if (children[i]->name)
			json_object_set_new(all, children[i]->name, json_integer(children[i]->pid));
	return all;
}

/* Null for one that never comes. */
static json_t *control_seconds(uint64_t ns)
{
	return ns == UINT64_MAX ? json_null() : json_real((double)ns / 1e9);
}

/* The same limits as --timeout has. */
static bool control_put_timeout(const json_t *request, const char *name, bool may_be_off, uint64_t *ns,
				struct diag *diag)
{
	double s;

	if (may_be_off && json_is_null(json_object_get(request, name))) {
		*ns = TIMEOUT_OFF;
		return true;
	}
	if (!control_number(request, name, (double)TIMEOUT_LEAST_NS / NS_PER_SEC,
			    TIMEOUT_MOST_NS / NS_PER_SEC, &s, diag))
		return false;
	*ns = (uint64_t)(s * 1e9 + 0.5);
	return true;
}

static json_t *control_request_timeouts(struct control *r, const json_t *request, struct diag *diag)
{
	struct metering_timeouts t = r->timeouts;
	struct {
		const char *name;
		uint64_t *ns;
	} rows[] = {{"active", &t.active_ns}, {"inactive", &t.inactive_ns}, {"tcp-end", &t.tcp_end_ns}};
	bool changed = false;

	for (unsigned i = 0; i < 3; i++) {
		if (!json_object_get(request, rows[i].name))
			continue;
		if (!control_put_timeout(request, rows[i].name, rows[i].ns == &t.tcp_end_ns, rows[i].ns,
					 diag))
			return NULL;
		changed = true;
	}
	if (changed)
		orders_set_timeouts(r, &t);
	return json_pack("{s:o, s:o, s:o}", "active", control_seconds(t.active_ns), "inactive",
			 control_seconds(t.inactive_ns), "tcp-end", control_seconds(t.tcp_end_ns));
}

static json_t *control_request_send_template(struct control *r, const json_t *request, struct diag *diag)
{
	(void)request;
	(void)diag;
	orders_refresh(r);
	return json_null();
}

static json_t *control_request_rate(struct control *r, const json_t *request, struct diag *diag)
{
	double records;

	if (!control_number(request, "records", 0, UINT32_MAX, &records, diag))
		return NULL;
	if (records != (uint32_t)records)
		return control_refuse(diag, "records: a whole number is wanted");
	orders_set_rate(r, (uint32_t)records);
	return json_null();
}

static json_t *control_request_log(struct control *r, const json_t *request, struct diag *diag)
{
	static const struct {
		const char *name;
		enum log_level level;
	} levels[] = {{"error", LOG_LEVEL_ERROR},
		      {"warning", LOG_LEVEL_WARNING},
		      {"info", LOG_LEVEL_INFO},
		      {"debug", LOG_LEVEL_DEBUG}};
	const char *name = json_string_value(json_object_get(request, "level"));

	(void)r;
	for (unsigned i = 0; name && i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(levels[i].name, name) != 0)
			continue;
		log_set_level(levels[i].level);
		return json_null();
	}
	return control_refuse(diag, "level: there are error, warning, info and debug");
}

static json_t *control_request_gather(struct control *r, const json_t *request, struct diag *diag)
{
	const json_t *on = json_object_get(request, "on");

	if (on && !json_is_boolean(on))
		return control_refuse(diag, "on: true or false is wanted");
	if (on && !r->live)
		return control_refuse(diag, "files are read to their end; only interfaces can be paused");
	if (on)
		orders_set_gather(r, json_is_true(on));
	return json_boolean(!r->paused);
}

static json_t *control_request_setup(struct control *r, const json_t *request, struct diag *diag)
{
	const struct config *c = r->config;
	char filter[1024];

	(void)request;
	(void)diag;
	log_escape(filter, sizeof(filter), c->filter ? c->filter : "");
	return json_pack("{s:b, s:b, s:s, s:i, s:b, s:b, s:b, s:i, s:s, s:s, s:s, s:s}", "live", r->live,
			 "gathering", !r->paused, "filter", filter, "snaplen", (int)c->snap_len,
			 "promiscuous", !c->no_promiscuous, "xdp", c->capture == CONFIG_CAPTURE_XDP, "vlan",
			 (c->flow_key & CONFIG_KEY_VLAN) != 0, "mtu", (int)c->mtu, "tls_ca",
			 c->tls_ca ? c->tls_ca : "", "tls_name", c->tls_name ? c->tls_name : "", "source",
			 c->source_host ? c->source_host : "", "bind_device",
			 c->bind_device ? c->bind_device : "");
}

static json_t *control_request_exit(struct control *r, const json_t *request, struct diag *diag)
{
	(void)request;
	(void)diag;
	r->drop_flows = true;
	if (!r->stopping)
		ending_stop(r, 0);
	return json_null();
}

static json_t *control_request_reload(struct control *r, const json_t *request, struct diag *diag)
{
	(void)request;
	return orders_reload(r, diag) < 0 ? NULL : json_null();
}

static json_t *control_request_stop(struct control *r, const json_t *request, struct diag *diag)
{
	(void)request;
	(void)diag;
	if (!r->stopping) /* twice is no more than once: only a signal ends it at once */
		ending_stop(r, 0);
	return json_null();
}

static json_t *control_request_takeover(struct control *r, const json_t *request, struct diag *diag)
{
	const char *version = json_string_value(json_object_get(request, "version"));
	char escaped[64];
	int fd = control_socket_detach(r->socket);

	log_escape(escaped, sizeof(escaped), version ? version : "unknown");
	if (fd < 0)
		return control_refuse(diag, "the connection cannot be kept");
	if (hand_over_offer(r, fd, escaped, diag) < 0) {
		close(fd);
		return NULL;
	}
	return json_pack("{s:s, s:i}", "version", PITOT_VERSION, "workers", (int)r->n_workers);
}

static control_request control_request_help;

/* ---- the table */

static const struct control_row {
	const char *name;
	control_request *run;
	control_open *open; /* instead: an answer of several steps */
	const char *argument, *result, *help;
} control_rows[] = {
#define REQUEST(name, function, argument, result, help)                                                      \
	{name, control_request_##function, NULL, argument, result, help},
#define REQUEST_MANY(name, function, argument, result, help)                                                 \
	{name, NULL, control_open_##function, argument, result, help},
#include "control_requests.def"
};

static json_t *control_request_help(struct control *r, const json_t *request, struct diag *diag)
{
	json_t *list = json_array();

	(void)r;
	(void)request;
	(void)diag;
	for (size_t i = 0; i < sizeof(control_rows) / sizeof(control_rows[0]); i++) {
		const struct control_row *row = &control_rows[i];

		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s, s:s}", "command", row->name, "arguments",
						row->argument, "result", row->result, "help", row->help));
	}
	return list;
}

static json_t *control_request_run(struct control *r, const json_t *request, struct control_stream **stream,
				   struct diag *diag)
{
	const char *name = json_string_value(json_object_get(request, "command"));

	if (!name)
		return control_refuse(diag, "an object with a \"command\" is wanted");
	for (size_t i = 0; i < sizeof(control_rows) / sizeof(control_rows[0]); i++)
		if (!strcmp(control_rows[i].name, name))
			return control_rows[i].run ? control_rows[i].run(r, request, diag)
						   : control_rows[i].open(r, request, stream, diag);
	diag_set(diag, -1, "'%.40s' is no command; \"help\" lists them", name);
	return NULL;
}

bool control_requests_exist(void)
{
	return true;
}

char *control_requests_print(const json_t *id, json_t *result, bool more, const char *error)
{
	json_t *answer = json_object();
	char sentence[1024], *text;

	if (id && (json_is_string(id) || json_is_number(id)))
		json_object_set(answer, "id", (json_t *)id);
	json_object_set_new(answer, "ok", json_boolean(result));
	if (more)
		json_object_set_new(answer, "more", json_true());
	log_escape(sentence, sizeof(sentence), error);
	if (result)
		json_object_set_new(answer, "result", result);
	else
		json_object_set_new(answer, "error", json_string(sentence));
	text = json_dumps(answer, JSON_COMPACT | CONTROL_REALS);
	json_decref(answer);
	return text;
}

char *control_requests_answer(void *ctx, const char *line, size_t size, struct control_stream **stream)
{
	json_error_t why;
	json_t *request = json_loadb(line, size, JSON_REJECT_DUPLICATES, &why), *result = NULL;
	struct diag diag = {"out of memory"};
	char *text = NULL;

	*stream = NULL;
	if (json_is_object(request))
		result = control_request_run(ctx, request, stream, &diag);
	else if (request)
		diag_set(&diag, -1, "an object is wanted");
	else
		diag_set(&diag, -1, "this is no JSON: %.100s (column %d)", why.text, why.column);
	if (!*stream)
		text = control_requests_print(json_object_get(request, "id"), result, false, diag.text);
	json_decref(request);
	return text;
}
