/* SPDX-License-Identifier: Apache-2.0 */
/* What a container's configuration means to the guest: configuration in, protocol messages out. */
#ifndef SHIM_SESSION_H
#define SHIM_SESSION_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "store/config.h"

/* The capability sets of --privileged, and of the defaults with add and drop applied ("ALL" too).
 * -EINVAL names the unknown one. */
int session_capabilities(bool privileged, char *const *add, char *const *drop, uint64_t *ret_mask,
			 struct err *err);

/* Packs a msg_process. rows, columns: of the terminal. -EINVAL for an unknown resource limit. */
int session_encode_process(const struct process_config *process, uint32_t id, bool privileged,
			   bool use_init, uint64_t capabilities, uint16_t rows, uint16_t columns,
			   struct sbuf *out, struct err *err);

/* Packs the msg_session of a start, main process included, with the clock of now and fresh entropy.
 * machine_memory_bytes is the machine's memory: a smaller limit is kept by the guest's cgroup. */
int session_encode(const struct container_config *config, uint64_t machine_memory_bytes,
		   uint32_t machine_cpus, uint16_t rows, uint16_t columns, uint32_t scratch_slot,
		   bool rehearse, bool timeline, struct sbuf *out, struct err *err);

#endif
