/*
 * socket: the sockets to a collector: where from, and whether another one would be made now.
 *
 * A datagram is never fragmented; a stream notices a peer that is dead.  Nothing here waits.
 */
#ifndef PITOT_TRANSPORT_SOCKET_H
#define PITOT_TRANSPORT_SOCKET_H

#include <net/if.h>
#include <sys/socket.h>

#include "pitot/transport.h"

/* Where sockets send from: --source, --bind-device, --ttl. */
struct socket_origin {
	char host[64]; /* "" any */
	uint16_t port;
	char device[IF_NAMESIZE]; /* "" none */
	int ttl;		  /* 0: the system's */
};

/* Whether --source and --bind-device can be meant at all: 0, or -EINVAL and a sentence. */
int socket_check_origin(const struct transport_config *config, struct diag *diag);
void socket_init_origin(struct socket_origin *from, const struct transport_config *config);
/* The sentence when a socket cannot be had because what --source or --bind-device names is not there. */
bool socket_is_missing(const struct socket_origin *from, int error, char *text, size_t size);

/* A socket that is connected to this address, or connecting: it, or negative errno. */
int socket_open(const struct socket_origin *from, int type, int protocol, const struct sockaddr_storage *peer,
		socklen_t size);
/* For a socket that another process had opened, and connected: what can still be set is as here. */
int socket_adopt(const struct socket_origin *from, int fd, int type, int family);
/* 1 connected, 0 not yet, negative errno. */
int socket_is_connected(int fd);

/* The socket's addresses and ports, of which IPv4 sets the first 4 octets only; ports in host byte order. */
void socket_note_self(int fd, int protocol, struct transport_local *self);
/* AF_INET or AF_INET6; 0: nobody knows. */
int socket_family(int fd);
/* The index of the interface that the socket is bound to; 0 none. */
unsigned socket_device_of(int fd);
/*
 * Looks which way there is now: would a socket to the same peer be another one than *self on that device,
 * from another address, or on another device of that name?  0: it would not; SOCKET_E_MOVED: it would, and is
 * *fd; negative errno: there is none.
 */
enum { SOCKET_E_MOVED = 1 };
int socket_look(const struct socket_origin *from, int type, int protocol, const struct sockaddr_storage *peer,
		socklen_t size, const struct transport_local *self, unsigned device, int *fd);
/* What the path takes in one packet, as far as the system knows; 0: it does not. */
unsigned socket_path_mtu(int fd);

/* Octets that it took, or negative errno; -EAGAIN: none now. */
ssize_t socket_send(int fd, const uint8_t *data, size_t size);
/* What came is dropped: 0 nothing more now, SOCKET_E_CLOSED: nothing more will (FIN), or negative errno. */
enum { SOCKET_E_CLOSED = 1 };
int socket_drop(int fd);
/* Nothing more comes from us: FIN. */
void socket_shut(int fd);
/* Has the connection been reset?  open: our side was not shut, so an end of both says it as well, which stays
 * when the error has gone to the call before. */
bool socket_is_reset(int fd, bool open);
/* TCP: octets that the peer's kernel did not acknowledge; UINT64_MAX: nobody knows. */
uint64_t socket_unacked(int fd);

#endif
