/* confine: see confine.h. */
#include "confine.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pitot/log.h"
#include "interfaces.h"

enum { PORTS_MAX = 64 };

/* Where a file is, or would be. */
static const char *confine_directory(char directory[PATH_MAX], const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	size_t n = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;

	if (!path || n >= PATH_MAX)
		return path;
	memcpy(directory, path, n);
	directory[n] = '\0';
	return n ? directory : ".";
}

static void confine_list_file(struct confine *c, const char *path, const char *option, unsigned rights)
{
	c->files[c->n_files++] = (struct opener_file){.path = path, .option = option, .rights = rights};
}

/* A pipe is opened once it is read; otherwise see transport/file_place.h. */
static unsigned confine_rights(const struct config *config, const struct collector_config *to)
{
	struct stat st;

	if (path_has_time(to->path))
		return OPENER_ROTATES;
	if (stat(to->path, &st) == 0 && !S_ISREG(st.st_mode))
		return OPENER_REWRITES;
	return config->n_interfaces ? OPENER_CONTINUES : OPENER_FINISHES;
}

/* What is read while it is written, and has no place in it to go back to. */
static bool confine_is_once(const struct collector_config *to)
{
	struct stat st;

	return collector_is_stdout(to) ||
	       (stat(to->path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode));
}

/* What is done with files after the start: each is listed for that, and for nothing else. */
static int confine_list_files(struct confine *c, const struct config *config, struct diag *diag)
{
	unsigned n;

	c->files = calloc(config->n_collectors + 4, sizeof(*c->files));
	if (!c->files)
		return diag_set(diag, -ENOMEM, "out of memory");
	if (config->stats_path && strcmp(config->stats_path, "-"))
		confine_list_file(c, config->stats_path, "--stats", OPENER_REWRITES | OPENER_FINISHES);
	if (config->metrics_path)
		confine_list_file(c, config->metrics_path, "--metrics-file",
				  OPENER_REWRITES | OPENER_FINISHES);
	if (config->pidfile)
		confine_list_file(c, config->pidfile, "--pidfile", OPENER_REMOVES);
	if (c->control_path[0])
		confine_list_file(c, c->control_path, "--control", OPENER_REMOVES);
	n = c->n_files;
	for (unsigned i = 0; i < config->n_collectors; i++) {
		const struct collector_config *to = &config->collectors[i];

		if (to->transport == TRANSPORT_FILE && confine_is_once(to))
			c->once = to->url;
		if (to->transport == TRANSPORT_FILE && !collector_is_stdout(to))
			confine_list_file(c, to->path, "--collector", confine_rights(config, to));
	}
	c->n_outputs = c->n_files - n;
	c->n_files = n;
	return 0;
}

/* The exporting process reads them as root, and the one that follows it is no root. */
static void confine_list_keys(struct confine *c, const struct config *config)
{
	const char *const all[] = {config->tls_ca, config->tls_cert, config->tls_key};

	static_assert(sizeof(all) / sizeof(*all) <= sizeof(c->keys) / sizeof(*c->keys), "room for each");
	for (unsigned i = 0; config->n_interfaces && i < sizeof(all) / sizeof(*all); i++)
		if (all[i])
			c->keys[c->n_keys++] = all[i];
}

/* The spool is opened by root and written by the user. */
static int confine_prepare_spool(const struct config *config, const struct sandbox_user *user,
				 struct diag *diag)
{
	int r;

	if (!config->spool_dir)
		return 0;
	r = sandbox_make_directory(config->spool_dir, user, diag);
	if (r < 0)
		return diag_prefix(diag, r, "--spool ");
	if (r == SANDBOX_E_OWNER)
		log_warning("--spool %s, and user %s may not write there: give it to that user (chown)",
			    diag->text, user->name);
	return 0;
}

int confine_start_opener(struct confine *c, const struct config *config, struct capture_config *captures,
			 struct diag *diag)
{
	struct opener_config opener = {
		.open_capture = interfaces_open_capture,
		.ctx = captures,
		.sandbox = config->sandbox != CONFIG_SANDBOX_OFF,
		.detach = config->daemon,
	};
	struct sandbox_user user;
	int r = sandbox_find_user(&user, config->user, config->stay_root, diag);

	if (r == 0)
		r = confine_prepare_spool(config, &user, diag);
	if (r == 0)
		r = confine_list_files(c, config, diag);
	if (r < 0)
		return r;
	c->user = user.uid;
	opener.user = user.uid;
	opener.group = user.gid;
	opener.n_captures = config->n_interfaces;
	if (opener.n_captures)
		r = opener_start(&c->opener, &opener, diag);
	opener.n_captures = 0;
	opener.name = "pitot-files";
	opener.files = c->files;
	opener.n_files = c->n_files;
	if (r == 0 && opener.n_files)
		r = opener_start(&c->files_opener, &opener, diag);
	opener.name = "pitot-outputs";
	opener.files = c->files + c->n_files;
	opener.n_files = c->n_outputs;
	confine_list_keys(c, config);
	opener.reads = c->keys;
	opener.n_reads = c->n_keys;
	if (r == 0 && (opener.n_files || opener.n_reads))
		r = opener_start(&c->output_opener, &opener, diag);
	return r;
}

static void confine_tell(const struct confine *c)
{
	const struct opener *const openers[] = {c->opener, c->files_opener, c->output_opener};

	log_debug("sandbox: %s", sandbox_report(c->sandbox));
	if (sandbox_missing(c->sandbox)[0])
		log_warning("sandbox: without %s", sandbox_missing(c->sandbox));
	for (unsigned i = 0; i < sizeof(openers) / sizeof(*openers); i++)
		if (openers[i] && opener_missing(openers[i])[0])
			log_warning("sandbox of the process %s: without %s", opener_whose(openers[i]),
				    opener_missing(openers[i]));
}

/* Who exports connects, reads keys and writes its spool; control starts that process again. */
static bool confine_exports(const struct config *config, enum sandbox_role role)
{
	return role == SANDBOX_EXPORTING || (role == SANDBOX_CONTROL && config->n_interfaces > 0);
}

int confine_enter(struct confine *c, const struct config *config, enum sandbox_role role, struct diag *diag)
{
	const char *read_paths[8] = {NULL}, *write_paths[] = {NULL, NULL};
	char config_directory[PATH_MAX];
	/* an editor puts a new file in the old one's place, and SIGHUP reads that */
	const char *const of_control = confine_directory(config_directory, config->config_path);
	const char *const keys[] = {config->tls_ca, config->tls_cert, config->tls_key};
	uint16_t ports[PORTS_MAX];
	struct sandbox_config sandbox = {
		.mode = (enum sandbox_mode)config->sandbox,
		.role = role,
		.send_fds = c->send_fds,
		.n_send_fds = c->n_send_fds,
		.calls_later = role == SANDBOX_METERING || role == SANDBOX_METERING_LIBPCAP,
		.for_all = role == SANDBOX_CONTROL && config->n_interfaces > 0,
		.user = config->user,
		.stay_root = config->stay_root,
		.read_paths = read_paths,
		.write_paths = write_paths,
		.tcp_ports = ports,
		.tcp_source_port = config->source_port,
	};
	bool exports = confine_exports(config, role);
	unsigned n = 0;
	int r;

	if (role == SANDBOX_CONTROL && of_control)
		read_paths[n++] = of_control;
	for (unsigned i = 0; exports && i < sizeof(keys) / sizeof(*keys); i++)
		if (keys[i])
			read_paths[n++] = keys[i];
	if (exports)
		write_paths[0] = config->spool_dir;
	for (unsigned i = 0; exports && i < config->n_collectors && sandbox.n_tcp_ports < PORTS_MAX; i++)
		if (transport_is(config->collectors[i].transport, TRANSPORT_OVER_TCP))
			ports[sandbox.n_tcp_ports++] = config->collectors[i].port;
	r = sandbox_enter(&c->sandbox, &sandbox, diag);
	if (r == 0 && role == SANDBOX_CONTROL)
		confine_tell(c);
	return r;
}

void confine_deinit(struct confine *c)
{
	opener_stop(c->opener);
	opener_stop(c->files_opener);
	opener_stop(c->output_opener);
	sandbox_free(c->sandbox);
	free(c->files);
	*c = (struct confine){0};
}
