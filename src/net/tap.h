/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host as a member of the network: a TAP device with the address of host 2, so that the host
 * reaches the members by their addresses. Only the host opens connections there: what listens on
 * all of the host's addresses is not for containers. The device goes with netd.
 */
#ifndef NET_TAP_H
#define NET_TAP_H

#include "net/netd.h"

/* Of the names of its devices; a number follows. */
#define TAP_NAME_PREFIX "hull"

struct tap;

/* Needs CAP_NET_ADMIN and /dev/net/tun: -EPERM, -ENOENT … without. */
int tap_new(struct netd *netd, struct tap **ret_tap, struct err *err);
struct tap *tap_free(struct tap *tap);
/* The name of the device. */
const char *tap_name(const struct tap *tap);
/* Whether a packet may go from the host, and remembers what may be answered; to the host. */
bool tap_passes_out(struct tap *tap, const struct packet *packet);
bool tap_passes_in(struct tap *tap, const struct packet *packet);

#endif
