/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of a machine becomes another container: its host name, the files that hull writes for it,
 * and the file that tells its programs which copy they are in:
 *
 *	/run/hull/fork
 *	HULL_FORK_ID=…           the container's id
 *	HULL_FORK_INDEX=2        among the copies made at once, from 1
 *	HULL_FORK_COUNT=3
 *	HULL_FORK_GENERATION=1   a copy's copy has 2
 *	HULL_FORK_ORIGIN=…       the container or snapshot it was copied from
 *
 * It is put there whole, by renaming, before any process of the copy runs.
 */
#ifndef GUEST_REJOIN_H
#define GUEST_REJOIN_H

#include "base/err.h"
#include "guest/stage.h"
#include "proto/msg_state.h"

/* Writes a file of the session again, if it still is in its place. */
void rejoin_write_file(const struct stage *stage, const struct msg_file *file);
int rejoin_identity(const struct stage *stage, const struct msg_rejoin *rejoin,
		    const struct msg_session *session, struct err *err);

#endif
