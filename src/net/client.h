/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining a machine to a virtual network: the client's side of hull-netd (docs/PROTOCOL.md).
 *
 * A network is a process. It is there while it has members: whoever joins first starts it, and it
 * ends a moment after the last member left. A member is a live connection: closing it (or dying)
 * takes the member's address, names and published ports out of the network.
 *
 * hull-netd may die at any moment. The holder of a connection then finds it readable (its end),
 * frees it, joins anew with the same member and descriptor, and publishes again what it had:
 * machines keep their links, and connections between them go on.
 *
 * All calls block, but never longer than NET_TIMEOUT_MS for an answer. An answer takes well under a
 * millisecond once the process is up, a first join a few.
 */
#ifndef NET_CLIENT_H
#define NET_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define NET_TIMEOUT_MS 10000
#define NET_LINGER_MS 2000
#define NET_MTU_DEFAULT 65520
#define NET_MTU_MIN 1280
#define NET_MTU_MAX 65520
#define NET_PUBLISH_MAX 4096 /* ports a member may publish */

/*
 * What a network is; the same for all its members. Addresses are text; those of the network itself
 * follow from the subnet: host 1 is the gateway, host 3 answers names (DNS, port 53), host 2 is
 * kept. All three are nobody's to lease.
 */
struct net_spec {
	const char *run;     /* $HULL_RUN */
	const char *id;      /* names its directory in run/net: a UUID or the network's name */
	const char *program; /* hull-netd; NULL: beside the running executable */
	const char *name;
	const char *subnet;  /* "10.1.2.0/24"; required; at most /29 */
	const char *subnet6; /* "fd12:3456::/64" or NULL */
	const char *domain;  /* members are also NAME.domain; NULL: without */
	/* Where other names are asked for ("10.0.0.1", "fd00::1"; NULL or empty: the resolvers of
	 * /etc/resolv.conf, as it changes). */
	char *const *nameservers;
	/* Ports of the host's loopback that members reach at the gateway's address, TCP and UDP:
	 * "5432", "8000-8010", "all". NULL or empty: none. */
	char *const *host_ports;
	uint32_t mtu;  /* 0: NET_MTU_DEFAULT */
	bool internal; /* no way out of the network and none in but the TAP; no names but its own */
	bool tap;      /* a TAP device, where this user may make one: the host is on the network */
	uint32_t linger_ms; /* how long it stays without members; 0: NET_LINGER_MS */
	int landlock_fd; /* what hull-netd is confined to from its start (proc_spec); 0: nothing */
	bool debug;      /* hull-netd tells on stderr (inherited) what it does */
};

/* One machine's place in the network. */
struct net_member {
	const char *uuid; /* of the container: no two members share it */
	const char *name; /* of the container, and its host name: both resolve */
	const char *hostname;
	char *const *aliases; /* further names; NULL: none. Several members may share one */
	bool has_others; /* it asks other networks' name servers too: what may be known there is
			  * refused here, not denied, so that its resolver goes on */
	char *const *nameservers; /* instead of the network's, for this member; NULL: none */
	const char *mac;          /* "02:00:…" */
	const char *ipv4;         /* in the subnet, without prefix */
	const char *ipv6;         /* in subnet6, or NULL */
};

/* The addresses of the network that its members are configured with. */
struct net_joined {
	char gateway[INET_ADDRSTRLEN];
	char gateway6[INET6_ADDRSTRLEN]; /* "" without IPv6 */
	char names[INET_ADDRSTRLEN];     /* the name server */
	char names6[INET6_ADDRSTRLEN];   /* "" without IPv6 */
	char gateway_mac[18];
	char tap[16]; /* the TAP device, "" when there is none */
	uint32_t mtu;
};

enum net_protocol {
	NET_TCP,
	NET_UDP,
};

/* One published port, or a range of them. */
struct net_rule {
	enum net_protocol protocol;
	const char *address;     /* of the host to listen on: "0.0.0.0", "127.0.0.1", "::", "::1" */
	uint16_t host_port;      /* 0: any free one; the answer is written here */
	uint16_t container_port; /* both count up through a range */
	uint16_t count;          /* 1 unless a range */
	/* host_port is a wish: when it is taken or forbidden, the next free one from 10000 up. Only
	 * for count 1. */
	bool any_port;
};

struct net_stats {
	uint64_t received_bytes, received_frames; /* by the machine */
	uint64_t sent_bytes, sent_frames;         /* by the machine */
	uint64_t dropped;                         /* to the machine: it did not read fast enough */
	uint64_t refused; /* from the machine: not its address, or not allowed */
};

struct net_client;

/* run/net/ID: sockets and locks of the network. Owned by the caller. To be removed by whoever
 * deletes the network, once net_is_up() says no. */
char *net_dir(const char *run, const char *id);
/* Whether the network's process lives. */
bool net_is_up(const char *run, const char *id);

/* A pair of descriptors for a NIC: [0] for the emulator (-netdev dgram,local.type=fd), [1] for
 * net_client_join. The caller keeps both ends' lifes apart: as long as it holds [1], the emulator's
 * link survives the death of hull-netd. */
int net_pair(int ret_fds[2], struct err *err);

/*
 * Joins: connects to the network's process, starting it if nobody is there (race-free), and hands
 * over a duplicate of link (the [1] of net_pair; the caller keeps its own). Frames flow when this
 * returns. Fails with -EADDRINUSE when another member has the uuid, MAC or an address, -EINVAL for
 * a wrong specification, -EEXIST when the network's process runs with another subnet.
 */
int net_client_join(const struct net_spec *spec, const struct net_member *member, int link,
		    struct net_client **ret_client, struct net_joined *ret_joined, struct err *err);
/* A connection without a membership, to a process that is started if nobody is there. Returns its
 * descriptor; the process stays while it is open. */
int net_client_reach(const struct net_spec *spec, struct err *err);
/* Leaves. NULL is ignored; always returns NULL. */
struct net_client *net_client_free(struct net_client *client);

static inline void net_client_freep(struct net_client **client)
{
	net_client_free(*client);
}

/* To be watched for EPOLLIN: outside of a call, readable means that the network's process is gone.
 */
int net_client_fd(const struct net_client *client);

/*
 * Publishes all rules or none, and writes the real host ports back. To be called when the machine
 * is ready to be reached. Errors name the port: -EACCES "Permission denied while binding to host
 * port 80", -EADDRINUSE "host port 8080 is in use". An internal network publishes too.
 */
int net_client_publish(struct net_client *client, struct net_rule *rules, size_t count,
		       struct err *err);
/* Takes back all that the member has published. Connections that exist go on. */
int net_client_unpublish(struct net_client *client, struct err *err);
/* Replaces name, hostname, aliases and nameservers; the addresses stay what they are. */
int net_client_update(struct net_client *client, const struct net_member *member, struct err *err);
int net_client_stats(struct net_client *client, struct net_stats *ret_stats, struct err *err);

#endif
