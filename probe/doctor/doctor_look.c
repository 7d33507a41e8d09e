/* doctor_look: facts of this host: interfaces, files and clock. */
#include <arpa/inet.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "pitot/doctor.h"
#include "pitot/netif.h"

/* ---- interfaces */

static bool doctor_ethtool(int fd, struct ifreq *request, uint32_t command, uint32_t *value)
{
	struct ethtool_value v = {.cmd = command};

	request->ifr_data = (char *)&v;
	if (ioctl(fd, SIOCETHTOOL, request) < 0)
		return false;
	*value = v.data;
	return true;
}

static void doctor_look_offloads(struct doctor_interface *i)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};
	uint32_t gro = 0, flags = 0;

	if (fd < 0)
		return;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%.15s", i->name);
	i->ethtool = doctor_ethtool(fd, &request, ETHTOOL_GGRO, &gro) &&
		     doctor_ethtool(fd, &request, ETHTOOL_GFLAGS, &flags);
	i->gro = gro;
	i->lro = flags & ETH_FLAG_LRO;
	i->strips_vlan = flags & ETH_FLAG_RXVLAN;
	close(fd);
}

void doctor_look_interface(struct doctor_interface *i)
{
	struct netif n;
	struct diag diag;

	i->any = !strcmp(i->name, "any");
	if (i->any || netif_get(&n, i->name, &diag) < 0)
		return;
	i->exists = true;
	i->up = n.up;
	i->carrier = n.running || n.loopback;
	i->dropped = n.dropped;
	i->promiscuous = n.promiscuity > 0;
	doctor_look_offloads(i);
}

uint64_t doctor_count_interface(const char *name)
{
	struct netif n;
	struct diag diag;

	return netif_get(&n, name, &diag) == 0 ? n.packets : 0;
}

/* ---- files */

static struct doctor_path *doctor_add(struct doctor_facts *facts, const char *option, const char *text)
{
	struct doctor_path *p = &facts->paths[facts->n_paths];

	if (!text || facts->n_paths == DOCTOR_PATHS)
		return NULL;
	*p = (struct doctor_path){.error = ""};
	snprintf(p->option, sizeof(p->option), "%s", option);
	snprintf(p->path, sizeof(p->path), "%s", text);
	facts->n_paths++;
	return p;
}

void doctor_look_path(struct doctor_facts *facts, const char *option, const char *path, int mode)
{
	struct doctor_path *p = path && strcmp(path, "-") != 0 ? doctor_add(facts, option, path) : NULL;

	if (p && access(path, mode) < 0)
		snprintf(p->error, sizeof(p->error), "%s", strerror(errno));
}

void doctor_look_file(struct doctor_facts *facts, const char *option, const char *path)
{
	struct doctor_path *p = &facts->paths[facts->n_paths];
	struct stat st;

	doctor_look_path(facts, option, path, R_OK);
	if (p < &facts->paths[facts->n_paths] && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		snprintf(p->error, sizeof(p->error), "%s", strerror(EISDIR));
}

void doctor_look_directory(struct doctor_facts *facts, const char *option, const char *path)
{
	char above[PATH_MAX];

	if (path && access(path, F_OK) < 0 && errno == ENOENT && strlen(path) < sizeof(above)) {
		snprintf(above, sizeof(above), "%s", path);
		path = dirname(above);
	}
	doctor_look_path(facts, option, path, W_OK | X_OK);
}

void doctor_look_output(char *error, size_t size, const char *path)
{
	char copy[PATH_MAX];
	const char *folder;
	struct stat st;
	bool there;

	if (!strcmp(path, "-"))
		return;
	there = stat(path, &st) == 0;
	snprintf(copy, sizeof(copy), "%s", path);
	folder = dirname(copy);
	if (there && S_ISDIR(st.st_mode))
		snprintf(error, size, "%.120s: %s", path, strerror(EISDIR));
	else if ((!there || S_ISREG(st.st_mode)) && access(folder, W_OK | X_OK) < 0)
		snprintf(error, size, "%.120s: %s", folder, strerror(errno));
	else if (there && access(path, W_OK) < 0)
		snprintf(error, size, "%.120s: %s", path, strerror(errno));
}

void doctor_look_written(struct doctor_facts *facts, const char *option, const char *path)
{
	struct doctor_path *p = doctor_add(facts, option, path);

	if (!p)
		return;
	doctor_look_output(p->error, sizeof(p->error), path);
	p->advice = "make the folder, or name another file";
}

/* ---- what is no file */

void doctor_tell(struct doctor_facts *facts, const char *option, const char *text, const char *error,
		 const char *advice)
{
	struct doctor_path *p = doctor_add(facts, option, text);

	if (!p)
		return;
	snprintf(p->error, sizeof(p->error), "%s", error);
	p->advice = advice;
}

void doctor_look_source(struct doctor_facts *facts, const char *option, const char *address)
{
	struct doctor_path *p = doctor_add(facts, option, address);
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	struct sockaddr_in four = {.sin_family = AF_INET};
	bool is_six;
	int fd;

	if (!p)
		return;
	is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
	/* one with a scope is tried when it is used */
	if (!is_six && inet_pton(AF_INET, address, &four.sin_addr) != 1)
		return;
	if (is_six && IN6_IS_ADDR_LINKLOCAL(&six.sin6_addr))
		return;
	fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (bind(fd, is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four,
		 is_six ? sizeof(six) : sizeof(four)) < 0 &&
	    errno == EADDRNOTAVAIL) {
		snprintf(p->error, sizeof(p->error), "this host does not have the address");
		p->advice = "ip address shows those that it has";
	}
	close(fd);
}

void doctor_look_device(struct doctor_facts *facts, const char *option, const char *name)
{
	struct doctor_path *p = doctor_add(facts, option, name);

	if (!p || if_nametoindex(name))
		return;
	snprintf(p->error, sizeof(p->error), "there is no such interface");
	p->advice = "ip link shows what there is";
}

/* ---- the clock */

void doctor_look_clock(struct doctor_clock *c)
{
	struct timex t = {.modes = 0};
	int state = adjtimex(&t);

	*c = (struct doctor_clock){.known = state >= 0,
				   .synchronised =
					   state >= 0 && state != TIME_ERROR && !(t.status & STA_UNSYNC),
				   .max_error_us = t.maxerror > 0 ? (uint64_t)t.maxerror : 0};
}
