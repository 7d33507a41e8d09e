/* socket: see socket.h. */
#include "transport/socket.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "resolve.h"

#ifndef SO_BINDTOIFINDEX /* Linux 5.0 */
#define SO_BINDTOIFINDEX 62
#endif

void socket_split(const struct sockaddr_storage *ss, uint8_t address[16], uint16_t *port)
{
	if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)ss;

		memcpy(address, &a->sin6_addr, 16);
		*port = ntohs(a->sin6_port);
	} else {
		const struct sockaddr_in *a = (const struct sockaddr_in *)ss;

		memcpy(address, &a->sin_addr, 4);
		*port = ntohs(a->sin_port);
	}
}

int socket_check_source(const struct transport_config *config, struct diag *diag)
{
	struct resolve_result source;

	if (config->source_host && config->source_host[0] &&
	    !resolve_numeric(&source, config->source_host, config->source_port, SOCK_STREAM))
		return diag_set(diag, -EINVAL, "--source %s: not an IPv4 or IPv6 address",
				config->source_host);
	if (config->bind_device && strlen(config->bind_device) >= IF_NAMESIZE)
		return diag_set(diag, -EINVAL, "--bind-device %s: no interface has such a long name",
				config->bind_device);
	return 0;
}

bool socket_missing(const char *source_host, const char *bind_device, int error, char *text, size_t size)
{
	if (error == ENODEV && bind_device[0])
		snprintf(text, size, "--bind-device %s: no such interface", bind_device);
	else if (error == EADDRNOTAVAIL && source_host[0])
		snprintf(text, size, "--source %s: not an address of this host", source_host);
	else
		return false;
	return true;
}

unsigned socket_device_of(int fd)
{
	char name[IF_NAMESIZE] = "";
	socklen_t size = sizeof(name);
	int index = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index, &(socklen_t){sizeof(index)}) == 0)
		return (unsigned)index;
	if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &size) == 0 && name[0])
		return if_nametoindex(name);
	return 0;
}

void socket_local(int fd, struct transport_local *self)
{
	struct sockaddr_storage local = {0};
	socklen_t size = sizeof(local);

	if (getsockname(fd, (struct sockaddr *)&local, &size) == 0)
		socket_split(&local, self->local, &self->local_port);
}

bool socket_is_like(int fd, const struct transport_local *self, unsigned device)
{
	struct transport_local now = {0};

	socket_local(fd, &now);
	return memcmp(now.local, self->local, sizeof(now.local)) == 0 && socket_device_of(fd) == device;
}
