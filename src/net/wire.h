/* SPDX-License-Identifier: Apache-2.0 */
/* One JSON document a packet of a SOCK_SEQPACKET socket, with at most one descriptor. */
#ifndef NET_WIRE_H
#define NET_WIRE_H

#include "base/json.h"

#define WIRE_MAX (128 * 1024)

/* fd -1: none. 0 or negative errno. */
int wire_send(int sock, const json_t *json, int fd);
/* -EPIPE at the end, -EAGAIN, -EBADMSG for what is no document. *ret_fd is -1 without a descriptor,
 * else the caller's. */
int wire_receive(int sock, json_t **ret_json, int *ret_fd);

#endif
