/* role: see role.h. */
#include "role.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon.h"
#include "pitot/log.h"
#include "pitot/netif.h"
#include "stepping.h"

void role_let_captures_go(struct control *r)
{
	for (unsigned i = 0; r->workers && i < r->n_workers; i++) {
		metering_free(r->workers[i]);
		r->workers[i] = NULL;
	}
	dealing_free(r->dealing);
	savefiles_free(r->files);
	r->dealing = NULL;
	r->files = NULL;
}

void role_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void role_leave_control(struct control *r)
{
	daemon_forget();
	progress_close(&r->progress);
	role_close(&r->signal_fd);
	role_close(&r->stop_fd);
	role_close(&r->pid_fd);
	role_close(&r->stepping.pressure_fd);
	role_close(&r->metrics_client);
	role_close(&r->metrics.listener);
	netif_watch_close(r->interfaces.watch);
	r->interfaces.watch = NULL;
	opener_forget(r->confine.opener);
	opener_forget(r->confine.files_opener);
	r->confine.opener = r->confine.files_opener = NULL;
	opener_leave_alone(r->confine.output_opener);
	service_close(&r->service);
	control_socket_close(r->socket);
	r->socket = NULL;
	log_close();
	role_close(&r->heir.fd);
	role_close(&r->shared.to_exporting.send_fd);
	for (unsigned i = 0; i < r->n_workers; i++)
		role_close(&r->shared.to_metering[i].send_fd);
}

void role_give_way(const struct control *r)
{
	if (r->config->polite.on && setpriority(PRIO_PROCESS, 0, POLITE_NICE) < 0)
		log_warning("--polite: the priority cannot be lowered: %s", strerror(errno));
}
