/* SPDX-License-Identifier: Apache-2.0 */
/* The options of run and create: what a new container is to be. */
#ifndef CLI_RUN_OPTIONS_H
#define CLI_RUN_OPTIONS_H

#include "cli/fetch_options.h"
#include "cli/health_options.h"
#include "cli/network_options.h"
#include "cli/process_options.h"
#include "cli/socket_options.h"

struct run_options {
	struct process_options process;
	struct network_flags network;
	struct fetch_flags fetch;
	struct health_flags health;
	int pull;
	/* how it runs */
	const char *entrypoint, *stop_signal, *restart;
	const char *snapshot;
	bool detach, remove, init, privileged;
	char **cap_add, **cap_drop, **sysctls, **masked_paths, **read_only_paths;
	/* what it gets */
	uint32_t cpu_hundredths, pids_limit;
	uint64_t memory_bytes, shm_bytes;
	char **volumes, **mounts, **tmpfs, **storage_options;
	bool read_only;
	struct socket_flags sockets;
	/* what it is called */
	const char *name, *hostname, *cidfile, *kernel;
	char **labels;
};

/* All but --detach. */
extern const struct option_group create_groups[];
extern const struct option_group run_groups[];

/* Makes the container that options and args (IMAGE [ARG...]) describe. *ret_id is owned by the
 * caller. ret_snapshot, if not NULL: if the image goes on from a snapshot, nothing is made and its
 * uuid, the caller's, is told instead. */
int run_options_create(struct cli *cli, const struct run_options *options, char **args,
		       char **ret_id, char **ret_snapshot, struct err *err);

#endif
