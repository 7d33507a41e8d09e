/*
 * capture_interface: facts about an interface by the ioctls that every socket offers.
 *
 * Captures ask by themselves (and not through netif) because they ask again by index when frames stop coming,
 * without a netlink socket at hand.
 */
#include "capture/capture_interface.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int interface_ask(int fd, unsigned long request, struct ifreq *ifr, const char *name,
			 struct diag *diag)
{
	int err;

	if (ioctl(fd, request, ifr) == 0)
		return 0;
	err = errno;
	if (err == ENODEV)
		return diag_set(diag, -ENODEV, "interface \"%s\" does not exist", name);
	return diag_set(diag, -err, "%s: cannot ask for the interface's properties: %s", name, strerror(err));
}

static int interface_read(struct capture_interface *itf, int fd, struct diag *diag)
{
	struct ifreq ifr = {0};
	int r;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", itf->name);
	r = interface_ask(fd, SIOCGIFINDEX, &ifr, itf->name, diag);
	if (r < 0)
		return r;
	itf->index = (unsigned)ifr.ifr_ifindex;
	r = interface_ask(fd, SIOCGIFHWADDR, &ifr, itf->name, diag);
	if (r < 0)
		return r;
	itf->arphrd = ifr.ifr_hwaddr.sa_family;
	r = interface_ask(fd, SIOCGIFMTU, &ifr, itf->name, diag);
	if (r < 0)
		return r;
	itf->mtu = ifr.ifr_mtu > 0 ? (uint32_t)ifr.ifr_mtu : 0;
	r = interface_ask(fd, SIOCGIFFLAGS, &ifr, itf->name, diag);
	if (r < 0)
		return r;
	itf->up = ifr.ifr_flags & IFF_UP;
	itf->loopback = ifr.ifr_flags & IFF_LOOPBACK;
	return 0;
}

int capture_interface_get(struct capture_interface *itf, const char *name, struct diag *diag)
{
	int fd, r;

	*itf = (struct capture_interface){0};
	if (!*name || strlen(name) >= sizeof(itf->name))
		return diag_set(diag, -ENODEV, "interface \"%s\" does not exist", name);
	snprintf(itf->name, sizeof(itf->name), "%s", name);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return diag_set(diag, -errno, "%s: socket: %s", name, strerror(errno));
	r = interface_read(itf, fd, diag);
	close(fd);
	if (r < 0)
		return r;
	if (!itf->up)
		return diag_set(diag, -ENETDOWN,
				"interface \"%s\" is down: bring it up first (ip link set %s up)", name,
				name);
	return 0;
}

bool capture_interface_is_up(int fd, unsigned index)
{
	struct ifreq ifr = {.ifr_ifindex = (int)index};

	if (ioctl(fd, SIOCGIFNAME, &ifr) < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return false;
	return ifr.ifr_flags & IFF_UP;
}

int capture_interface_refused(const char *name, int err, struct diag *diag)
{
	return diag_set(diag, err,
			"%s: capturing needs a privilege that is missing: run as root or give the program "
			"CAP_NET_RAW "
			"(setcap cap_net_raw+ep)",
			name);
}
