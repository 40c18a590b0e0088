/* SPDX-License-Identifier: Apache-2.0 */
/* What a network's process is started with, of the network's row and the configuration. */
#ifndef SHIM_NET_START_H
#define SHIM_NET_START_H

#include "net/client.h"
#include "shim/launch.h"
#include "store/networks.h"
#include "store/subnet.h"

struct net_start {
	struct net_spec spec; /* borrows from launch, network, and the rest */
	char subnet[SUBNET_TEXT_MAX];
	char subnet6[SUBNET_TEXT_MAX];
	char **nameservers, **host_ports; /* owned */
};

/* Of launch, only what networks need (engine/networks.h). Not to be moved. */
void net_start_init(struct net_start *start, const struct launch *launch,
		    const struct network *network);
void net_start_release(struct net_start *start);
/* The MTU of the network's row; 0: the usual one. */
uint32_t net_start_mtu(const struct network *network);

#endif
