/* socket: the sockets to a collector. */
#ifndef PITOT_TRANSPORT_SOCKET_H
#define PITOT_TRANSPORT_SOCKET_H

#include <sys/socket.h>

#include "pitot/transport.h"

/* Address, of which IPv4 sets the first 4 octets only, and port in host byte order. */
void socket_split(const struct sockaddr_storage *ss, uint8_t address[16], uint16_t *port);
/* Whether --source and --bind-device can be meant at all: 0, or -EINVAL and a sentence. */
int socket_check_source(const struct transport_config *config, struct diag *diag);
/* The sentence when a socket cannot be had because what --source or --bind-device names is not there. */
bool socket_missing(const char *source_host, const char *bind_device, int error, char *text, size_t size);
/* The index of the interface that the socket is bound to; 0 none. */
unsigned socket_device_of(int fd);
/* The socket's own address and port; nothing where it has none. */
void socket_local(int fd, struct transport_local *self);
/* Does a socket that was made just now send from this address, and on this device? */
bool socket_is_like(int fd, const struct transport_local *self, unsigned device);

#endif
