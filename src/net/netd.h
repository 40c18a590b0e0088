/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of hull-netd, and what it inherits from the client that starts it. */
#ifndef NET_NETD_H
#define NET_NETD_H

#include "base/loop.h"
#include "net/config.h"
#include "net/switch.h"

enum {
	NETD_FD_CONFIG = 3, /* JSON of the network */
	NETD_FD_LISTENER,   /* listens on run/net/ID/ctl */
	NETD_FD_LOCK,       /* run/net/ID/lock, held */
	NETD_FD_DIR,        /* O_PATH of run/net/ID: says whose process this is */
};

struct gateway;
struct members;
struct neighbours;
struct names;
struct publisher;
struct tap;
struct tcp_stack;
struct uplink;

struct netd {
	struct loop *loop; /* owned */
	struct net_config config;
	bool done;                     /* nobody has been here for a while */
	struct net_switch *sw;         /* owned */
	struct gateway *gateway;       /* owned */
	struct members *members;       /* owned */
	struct publisher *publisher;   /* owned */
	struct tap *tap;               /* owned; NULL: none */
	struct names *names;           /* owned */
	struct neighbours *neighbours; /* owned; of the uplink */
	int resolv_helper;             /* net/resolv_conf.h; -1: none */
	struct uplink *uplink;         /* owned; NULL: an internal network */
	struct tcp_stack *tcp;         /* owned; NULL: an internal network */
};

#endif
