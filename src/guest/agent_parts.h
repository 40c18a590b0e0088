/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent in parts, each a file:
 *
 * - agent.c: the channel; messages and streams come, and go where they belong
 * - agent_session.c: the machine becomes the container that it is told
 * - agent_processes.c: what runs in the container, and copies of its files: begins, and ends
 * - agent_saved.c: the state of the machine is saved, or was brought back
 * - agent_end.c: the machine ends in order
 *
 * Handlers of messages get a payload, and return -EPROTO (or what a decoder said) if the host broke
 * the protocol; what cannot be done is answered with a message.
 */
#ifndef GUEST_AGENT_PARTS_H
#define GUEST_AGENT_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/vec.h"
#include "guest/process.h"
#include "guest/stage.h"
#include "proto/msg.h"
#include "proto/mux.h"
#include "proto/sockets.h"

#define AGENT_LAST_FLUSH_MS 2000

struct agent {
	struct loop *loop;       /* owned */
	struct mux *mux;         /* owned */
	struct sockets *sockets; /* owned; NULL until there is a session */
	struct stage stage;
	struct process_owner owner;
	VEC(struct process *) processes; /* owned */
	int cgroup_fd;
	int events_fd; /* memory.events */
	int pidns_fd;  /* hull-init's own process namespace */
	uint64_t oom_kills;
	/* The session: the message as received, which the decoded one points into. */
	uint8_t *session_bytes; /* owned */
	size_t session_size;
	struct msg_session session;
	bool has_session;
	bool prepared; /* MSG_PREPARE has come */
	int root_tree;
	int trees[MSG_MOUNTS_MAX];
	unsigned freezers; /* copies, and a saved state, for which the container stands still */
	bool frozen;       /* the state is being saved, or has been brought back */
	/* The end. */
	struct loop_source *kill_timer;
	bool main_over; /* the main process has ended */
	bool too_late;  /* for what copies still have to say */
	bool ending;
	bool shutting_down;
};

/* agent.c */
/* Says MSG_FAILED; process 0: of the session. */
void agent_send_failed(struct agent *agent, uint32_t process, uint32_t status,
		       const struct err *err);

/* agent_session.c */
/* What is never to be the same in two machines of one template: random numbers, and the time. */
int agent_seed(const struct msg_session *session, struct err *err);
int agent_on_session(struct agent *agent, const uint8_t *payload, size_t size);
int agent_on_prepare(struct agent *agent, const uint8_t *payload, size_t size);

/* agent_processes.c */
/* Fills agent->owner, and reaps children from now on. */
void agent_own_processes(struct agent *agent);
/* NULL: there is none. */
struct process *agent_find_process(struct agent *agent, uint32_t id);
/* Starts a process, or says why it cannot be. */
void agent_exec(struct agent *agent, const struct msg_process *message);
int agent_on_exec(struct agent *agent, const uint8_t *payload, size_t size);
int agent_on_copy(struct agent *agent, const uint8_t *payload, size_t size);
int agent_on_signal(struct agent *agent, const uint8_t *payload, size_t size);
int agent_on_resize(struct agent *agent, const uint8_t *payload, size_t size);
/* One reason less for which the container stands still. */
void agent_thaw(struct agent *agent);
/* Copies of files that still run, and whatever they have not said. */
void agent_kill_copies(struct agent *agent);

/* agent_saved.c: see proto/msg_state.h */
int agent_on_freeze(struct agent *agent, const uint8_t *payload, size_t size);
int agent_on_thaw(struct agent *agent);
int agent_on_rejoin(struct agent *agent, const uint8_t *payload, size_t size);

/* agent_end.c */
/* Makes agent->kill_timer. */
void agent_prepare_end(struct agent *agent);
int agent_on_shutdown(struct agent *agent, const uint8_t *payload, size_t size);
/* Goes on with a shutdown once no process is left. */
void agent_end_if_empty(struct agent *agent);

#endif
