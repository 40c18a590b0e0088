/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation of the switch. A port is a descriptor of whole frames (one end of a machine's
 * SOCK_SEQPACKET pair, or a TAP device) and a binding: the switch learns nothing, a frame goes
 * where the bindings say. All that a machine sends is parsed once, passes the source guard, and
 * then goes to one port, to all (few and far between: ARP and neighbour solicitations are answered
 * by the gateway), or to the gateway, which is all of netd that has an address.
 *
 * Frames are read in batches, a bounded number of a port at a turn, so that nobody starves; runs
 * of consecutive frames to one port are sent with one call. What a port does not take at once waits
 * in a ring of fixed size of its own; what does not fit is dropped and counted. Nothing is
 * allocated once a port is there.
 */
#ifndef NET_SWITCH_H
#define NET_SWITCH_H

#include <sys/socket.h>

#include "base/loop.h"
#include "net/config.h"
#include "net/packet.h"

#define SWITCH_PORTS_MAX 1024

struct port;
struct net_switch;

/* A frame that is for the network itself: to the gateway's MAC, or ARP and ND. It passed the guard.
 */
typedef void (*switch_gateway_fn)(void *ctx, struct port *from, const struct packet *packet);
/* Whether a frame may pass between a TAP and a member, which is from or to it. */
typedef bool (*switch_tap_fn)(void *ctx, bool from_tap, const struct packet *packet);

/* A port that was full and is not any more. */
typedef void (*switch_ready_fn)(void *ctx, struct port *port);

/* What a member has of what all share (net/tcp.h). */
struct tcp_share {
	size_t connections, large_buffers;
};

struct port_counters {
	uint64_t received_bytes, received_frames; /* by the machine */
	uint64_t sent_bytes, sent_frames;
	uint64_t dropped, refused;
};

struct net_switch *switch_new(struct loop *loop, const struct net_config *config,
			      switch_gateway_fn to_gateway, switch_tap_fn tap_passes,
			      switch_ready_fn ready, void *ctx);
struct net_switch *switch_free(struct net_switch *sw);
static inline void switch_freep(struct net_switch **sw)
{
	switch_free(*sw);
}

/* A port of fd (taken over on success). -EADDRINUSE when a port has the MAC or an address. */
int switch_add(struct net_switch *sw, int fd, bool tap, const struct binding *binding,
	       struct port **ret_port, struct err *err);
struct port *switch_remove(struct port *port);

/* The port that an address of the network belongs to, or NULL. */
struct port *switch_find_mac(const struct net_switch *sw, const uint8_t mac[ETH_ALEN]);
struct port *switch_find4(const struct net_switch *sw, struct in_addr address);
struct port *switch_find6(const struct net_switch *sw, const struct in6_addr *address);

const struct binding *port_binding(const struct port *port);
const struct port_counters *port_counters(const struct port *port);
/* Whether it is the host's. */
bool port_is_tap(const struct port *port);
/* Whether a packet of a member to the outside is within its quota (net/quota.h). */
bool port_may_open(struct port *port, const struct packet *packet, size_t sockets, size_t most);
struct tcp_share *port_share(struct port *port);
/* Counts a frame that a member sent in vain. */
void port_refuse(struct port *port);
/* Sends a frame that netd made, or that came from the uplink. */
void port_send(struct port *port, const uint8_t *frame, size_t size);
/* Sends frames of a member (not of a TAP) as far as its port takes them now, and never queues any:
 * how many. When it was not all, the switch's ready function is called later. */
size_t port_send_many(struct port *port, struct mmsghdr *frames, size_t count);

#endif
