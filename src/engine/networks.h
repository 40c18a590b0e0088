/* SPDX-License-Identifier: Apache-2.0 */
/* What the rest of the engine needs of networks. */
#ifndef ENGINE_NETWORKS_H
#define ENGINE_NETWORKS_H

#include "engine/internal.h"
#include "net/client.h"
#include "shim/launch.h"
#include "store/networks.h"

#define NETWORKS_MAX 4 /* of one container */
#define NETWORK_MTU_MIN NET_MTU_MIN
#define NETWORK_MTU_MAX NET_MTU_MAX
#define PUBLISH_MAX 64 /* specifications of one container */

/* networks.c: the network; `default` is made if need be. */
int networks_require(struct engine *engine, const char *name, struct network *ret_network,
		     struct err *err);
/* Leases for all networks of the container, whose row is there. */
int networks_take_leases(struct engine *engine, const struct container *container, struct err *err);
/* Sends a request (shim/ctl.h) with one text to the shim of a container that runs. */
int networks_tell_shim(struct engine *engine, const struct container *container, uint16_t type,
		       const char *text, struct err *err);
int networks_take_lease(struct engine *engine, const struct container *container,
			const struct network_config *config, struct err *err);

/* container_networks.c: networks, ports and names of a new container. */
int networks_resolve(struct engine *engine, const struct create_options *options,
		     const struct image_process *image, struct container_config *config,
		     struct err *err);
/* The host ports of the original are only wishes of its copy. */
void networks_separate_ports(struct container_config *config);
/* Adds what the shim needs to join them. */
void networks_fill_launch(const struct engine *engine, struct launch *launch);
/* Tells which ports were mapped by themselves. */
void networks_announce(struct engine *engine, const char *uuid);

/* host_names.c: starts hull-dns if there is a domain and it does not run, or has it read its
 * domains. */
int host_names_serve(struct engine *engine, uint32_t *ret_port, struct err *err);
/* system.c: adds a line. */
void doctor_add(struct doctor_report *report, const char *name, bool broken, const char *finding,
		const char *advice);
/* doctor_emulator.c */
void doctor_emulator(struct engine *engine, struct doctor_report *report);
/* doctor_network.c */
void doctor_examine_networks(struct engine *engine, struct doctor_report *report);

#endif
