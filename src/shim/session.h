/* SPDX-License-Identifier: Apache-2.0 */
/* What a container's configuration means to the guest: configuration in, protocol messages out. */
#ifndef SHIM_SESSION_H
#define SHIM_SESSION_H

#include <netinet/in.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "proto/msg.h"
#include "shim/launch.h"
#include "store/config.h"

/* The capability sets of --privileged, and of the defaults with add and drop applied ("ALL" too).
 * -EINVAL names the unknown one. */
int session_capabilities(bool privileged, char *const *add, char *const *drop, uint64_t *ret_mask,
			 struct err *err);

/* Packs a msg_process. rows, columns: of the terminal. -EINVAL for an unknown resource limit. */
int session_encode_process(const struct process_config *process, uint32_t id, bool privileged,
			   bool use_init, uint64_t capabilities, uint16_t rows, uint16_t columns,
			   struct sbuf *out, struct err *err);

/* The container's networks as its guest has to know them; texts are "" where there is none. */
struct session_network {
	size_t count;
	struct msg_interface interfaces[MSG_INTERFACES_MAX];
	char names[MSG_INTERFACES_MAX][INET6_ADDRSTRLEN]; /* who answers names, by network */
	char gateway[INET6_ADDRSTRLEN];                   /* of the one with a way out */
	char address[INET6_ADDRSTRLEN];                   /* the container's, in the first */
	char address6[INET6_ADDRSTRLEN];
};

/* /etc/hosts and /etc/resolv.conf of the container; owned by the caller. */
char *session_hosts(const struct container_config *config, const char *hostname,
		    const struct session_network *network);
char *session_resolv_conf(const struct container_config *config,
			  const struct session_network *network);

/* Packs the msg_session of a start, main process included, with the clock of now and fresh entropy.
 * Limits below what the machine has are kept by the guest's cgroup. */
int session_encode(const struct container_config *config, const struct launch *launch,
		   const struct session_network *network, bool rehearse, struct sbuf *out,
		   struct err *err);

/* What the guest's cgroup keeps of the container's limits; the machine keeps the others. */
struct msg_limits session_limits(const struct container_config *config,
				 const struct launch *launch);

#endif
