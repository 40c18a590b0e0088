/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes between a container and this host. One side is a copy in the guest (proto/copy.h), joined
 * to a pair of descriptors; what is at the other end of these, for the engine, is a child that
 * packs or unpacks files: parsing what a guest sends is its business alone, and it can be confined.
 */
#ifndef ENGINE_STREAM_H
#define ENGINE_STREAM_H

#include "engine/internal.h"
#include "shim/client.h"

/* Runs the copy in the guest over connection (taken, to its shim), its stdin from and its stdout to
 * these (borrowed; -1: none). Progress is told as that of `what` ("copy"; NULL: not at all).
 * *ret_broken: its output could not be passed on, which is not its fault. */
int stream_run(struct engine *engine, int connection, const struct msg_copy *message, int input,
	       int output, const char *what, bool *ret_broken, struct err *err);

/* A child of this process, for one job. */
struct helper {
	pid_t pid;  /* 0: none */
	int report; /* owned */
};

/* What it does; returns 0 or a negative errno with err set. Warnings go through helper_warn. */
typedef int (*helper_fn)(void *ctx, struct err *err);

/* Starts it. Of this process's descriptors it keeps stdio and those in keep (-1 ends them). */
int helper_start(helper_fn fn, void *ctx, const int *keep, struct helper *ret_helper,
		 struct err *err);
/* In the child: a line for the user. ctx is ignored. */
void helper_warn(void *ctx, const char *text);
/* Waits for it; passes its warnings on; returns what it returned. */
int helper_finish(struct engine *engine, struct helper *helper, struct err *err);
/* Whether it has said all that it will. Does not wait. */
bool helper_has_ended(const struct helper *helper);
/* Ends it, whatever it does. */
void helper_kill(struct helper *helper);

#endif
