/*
 * tunnel: the kinds of tunnels over IP, as tunnels.def has them.
 */
#ifndef PITOT_TUNNEL_H
#define PITOT_TUNNEL_H

enum tunnel {
#define TUNNEL(name, ...) TUNNEL_##name,
#define IP_EDGE(...)
#include "pitot/tunnels.def"
	TUNNEL_COUNT
};

#endif
