/*
 * pitot: a flow exporter.  argv -> config -> run -> exit status.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pitot/capture.h"
#include "pitot/clock.h"
#include "pitot/config.h"
#include "pitot/descriptors.h"
#include "pitot/exporter.h"
#include "pitot/log.h"
#include "process/control.h"
#include "process/daemon.h"
#include "process/diagnose.h"
#include "process/metrics.h"

static void main_print(void *ctx, const char *line)
{
	fprintf(ctx, "%s\n", line);
}

static void main_mistake(const char *sentence)
{
	log_error("%s", sentence);
}

/* What can be said of the options without opening anything. */
static unsigned main_check(const struct config *c, void (*mistake)(const char *sentence))
{
	char address[METRICS_ADDRESS];
	struct diag diag;
	unsigned n = 0;

	if (c->fields && exporter_check_fields(c->fields, c->decapsulate != 0, &diag) < 0) {
		mistake(diag.text);
		n++;
	}
	if (c->filter && capture_check_filter(c->filter, &diag) < 0) {
		mistake(diag.text);
		n++;
	}
	if (c->metrics && metrics_check(c->metrics, address, &diag) < 0) {
		mistake(diag.text);
		n++;
	}
	return n;
}

static int main_print_template(const struct config *c, struct diag *diag)
{
	struct exporter_config e = {.collectors = c->collectors,
				    .n_collectors = c->n_collectors,
				    .domain = c->domain,
				    .opens_tunnels = c->decapsulate != 0,
				    .fields = c->fields,
				    .flow_key = c->flow_key,
				    .has_ethernet = true,
				    .has_direction = c->n_interfaces > 0,
				    .offline = c->n_interfaces == 0};

	return exporter_print_templates(&e, main_print, stdout, diag) < 0 ? 1 : 0;
}

static int main_act(const struct config *c, int argc, char **argv, struct diag *diag)
{
	switch (c->action) {
	case CONFIG_HELP:
		config_help(main_print, stdout);
		return 0;
	case CONFIG_VERSION:
		printf("pitot %s\n", PITOT_VERSION);
		return 0;
	case CONFIG_LIST_FIELDS:
		exporter_list_fields(main_print, stdout);
		return 0;
	default:
		break;
	}
	switch (c->action) {
	case CONFIG_PRINT_TEMPLATE:
		if (main_print_template(c, diag) == 0)
			return 0;
		log_error("%s", diag->text);
		return 2;
	case CONFIG_DRY_RUN:
	case CONFIG_DOCTOR:
		return diagnose_run(c, c->action == CONFIG_DOCTOR, main_print, stdout);
	default:
		return control_run(c, argc, argv);
	}
}

int main(int argc, char **argv)
{
	static const struct config_listener listener = {.mistake = main_mistake, .check = main_check};
	struct config config;
	struct diag diag = {""};
	int status, r = descriptors_open_standard();

	if (r < 0)
		exit(1); /* and nowhere to say it */
	r = config_parse_all(&config, argc, argv, &listener, &diag);
	if (r) {
		if (r < 0)
			log_error("%s", diag.text);
		exit(r == CONFIG_E_USAGE ? 2 : 1);
	}
	if (PITOT_TEST_HOOKS && getenv("PITOT_TEST_CLOCK") && clock_plan(getenv("PITOT_TEST_CLOCK")) < 0) {
		log_error("PITOT_TEST_CLOCK: %s: no plan", getenv("PITOT_TEST_CLOCK"));
		exit(2);
	}
	if (config.debug)
		log_set_level(LOG_LEVEL_DEBUG);
	status = main_act(&config, argc, argv, &diag);
	config_deinit(&config);
	if (fflush(stdout) != 0 && status == 0) {
		log_error("standard output: %s", strerror(errno));
		status = 1;
	}
	exit(status);
}
