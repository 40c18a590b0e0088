/* SPDX-License-Identifier: Apache-2.0 */
/* Rows and networks as a shim and its clerk tell them to each other. */
#ifndef SHIM_CLERK_WORDS_H
#define SHIM_CLERK_WORDS_H

#include "base/err.h"
#include "base/json.h"
#include "store/containers.h"
#include "store/networks.h"

/* All but the configuration; a new reference. */
json_t *clerk_row_to_json(const struct container *row);
/* Into a row; -EINVAL: there is no such state, time, status or error. */
int clerk_row_from_json(const json_t *json, struct container *row);
/* A network with the container's lease in it; a new reference. */
json_t *clerk_network_to_json(const struct network *network, const struct lease *lease);
/* Both are the caller's. */
int clerk_network_from_json(const json_t *json, struct network *network, struct lease *lease,
			    struct err *err);

#endif
