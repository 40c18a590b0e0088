/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a clerk (clerk.h) answers: the store, open, and the one row that is its. What is asked
 * comes from a shim that a guest may have taken over, and is checked here.
 */
#ifndef SHIM_CLERK_DESK_H
#define SHIM_CLERK_DESK_H

#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"
#include "store/config.h"

struct desk;
struct launch;

/* launch: borrowed; of a starter of networks, which does nothing else (clerk_start_starter). NULL:
 * of the clerk of the row. */
int desk_open(const char *root, const char *uuid, const struct launch *launch,
	      struct desk **ret_desk, struct err *err);
/* What the networks' processes that it starts are confined to (confine_starter); taken. */
void desk_confine_networks(struct desk *desk, int landlock_fd);
struct desk *desk_close(struct desk *desk);
DEFINE_CLEANUP(struct desk *, desk_close)

/* Does what the request says, if the row may have it done. *ret_answer is made by those that have
 * something to say; a new reference. */
int desk_answer(struct desk *desk, const json_t *request, json_t **ret_answer, struct err *err);
/* The row's, as it was in the beginning; borrowed. */
const struct container_config *desk_config(const struct desk *desk);

#endif
