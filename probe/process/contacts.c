/* contacts: see contacts.h. */
#include "contacts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control_requests.h"
#include "pidfile.h"
#include "pitot/control_protocol.h"
#include "pitot/log.h"

static const uint64_t last_breath_ns = 3 * NS_PER_SEC; /* of a process that ends, beside --stop-timeout */

void contacts_choose_control(struct control *r)
{
	const struct config *c = r->config;
	const char *directory = getenv("RUNTIME_DIRECTORY"); /* of a service: systemd.exec(5) */

	if (!directory || directory[0] != '/' || strchr(directory, ':'))
		directory = CONTROL_DIRECTORY;
	if (c->control_path && strcmp(c->control_path, "none") != 0)
		snprintf(r->confine.control_path, sizeof(r->confine.control_path), "%s", c->control_path);
	else if (!c->control_path && r->live && control_requests_exist() && access(directory, W_OK) == 0)
		snprintf(r->confine.control_path, sizeof(r->confine.control_path),
			 "%.400s/%.64s" CONTROL_SUFFIX, directory, c->interfaces[0].name);
}

int contacts_open_control(struct control *r, struct diag *diag)
{
	const struct config *c = r->config;
	struct control_socket_config s = {.path = r->confine.control_path,
					  .listener = take_over_listener(r->taking),
					  .group = c->control_group,
					  .user = r->confine.user,
					  .answer = control_requests_answer,
					  .ctx = r};
	int ret;

	if (!s.path[0])
		s.path = NULL;
	if (!s.path && r->metrics_client < 0 && !c->live)
		return 0;
	if (!control_requests_exist())
		return diag_set(diag, -ENOTSUP, "--control: this build has no JSON library");
	ret = control_socket_open(&r->socket, &s, diag);
	if (ret < 0 && r->socket) { /* it was taken over, and serves all but its group */
		log_warning("%s", diag->text);
		ret = 0;
	}
	if (ret < 0)
		r->confine.control_path[0] = '\0'; /* it is another's */
	if (ret < 0 && c->control_path)
		return ret;
	if (ret < 0) {
		/* another pitot may measure the same interface: this one then has none unless it is told a
		 * name */
		log_warning("%s", diag->text);
		s.path = NULL;
		s.listener = 0;
		ret = control_socket_open(&r->socket, &s, diag);
	}
	if (ret == 0 && r->metrics_client >= 0)
		control_socket_add(r->socket, r->metrics_client);
	r->metrics_client = -1;
	return ret;
}

int contacts_open_metrics(struct control *r, struct diag *diag)
{
	const struct config *c = r->config;
	struct metrics_config m = {.listen = c->metrics,
				   .user = c->user,
				   .stay_root = c->stay_root,
				   .sandbox = c->sandbox != CONFIG_SANDBOX_OFF};

	return c->metrics ? metrics_start(&r->metrics, &m, &r->metrics_client, diag) : 0;
}

int contacts_open_view(struct control *r, struct diag *diag)
{
	struct live_view_config v = {.user = r->config->user, .stay_root = r->config->stay_root};
	int client, ret = r->config->live ? live_view_start(&r->live_view, &v, &client, diag) : 0;

	if (ret == 0 && r->config->live)
		control_socket_add(r->socket, client);
	return ret;
}

int contacts_take_pidfile(struct control *r, struct diag *diag)
{
	const struct config *c = r->config;
	struct sandbox_user user;
	int ret = c->pidfile ? sandbox_find_user(&user, c->user, c->stay_root, diag) : 0;

	if (ret < 0 || !c->pidfile)
		return ret;
	r->pid_fd = pidfile_take(c->pidfile, user.uid, c->stop_ns + last_breath_ns, diag);
	return r->pid_fd < 0 ? r->pid_fd : 0;
}

int contacts_write_pidfile(struct control *r, struct diag *diag)
{
	struct diag ignored;
	int ret = r->pid_fd >= 0 ? pidfile_write(r->pid_fd, r->config->pidfile, diag) : 0;

	if (ret < 0) { /* then it is nobody's */
		(void)opener_remove(r->confine.files_opener, r->config->pidfile, &ignored);
		close(r->pid_fd);
		r->pid_fd = -1;
	}
	return ret;
}
