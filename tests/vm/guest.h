/* SPDX-License-Identifier: Apache-2.0 */
/* A guest under test: a cold-booted machine, and the host's end of its channel, used step by step.
 */
#ifndef TESTS_VM_GUEST_H
#define TESTS_VM_GUEST_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/loop.h"
#include "base/str.h"
#include "proto/msg.h"
#include "proto/mux.h"

#define GUEST_PROCESSES_MAX 64

/* What the guest has said about one process. */
struct guest_process {
	struct sbuf out, err;
	bool started, failed, exited, out_eof, err_eof;
	bool hold; /* give no credit back */
	uint32_t status;
	char message[1024];
	bool oom_killed;
};

struct guest {
	struct loop *loop;
	struct mux *mux;
	pid_t pid;
	bool hello, session_done, session_failed, shutdown_done, pong, stats_received,
		clock_received, oom, closed;
	char message[1024]; /* of a failed session */
	struct msg_stats stats;
	struct msg_clock clock;
	struct guest_process processes[GUEST_PROCESSES_MAX];
	/* What is still to be sent to one process. */
	uint32_t input_process;
	const char *input;
	size_t input_size, input_offset;
};

/* Boots it and waits for its hello. files: folder of make-disks; image: a file of it. */
void guest_boot(struct guest *guest, const char *kernel, const char *files, const char *image);
void guest_release(struct guest *guest);
/* A session with everything standard; process may be NULL. */
struct msg_session guest_session(void);
struct msg_process guest_command(uint32_t id, char **args);
void guest_send_session(struct guest *guest, const struct msg_session *session);
void guest_exec(struct guest *guest, const struct msg_process *process);
/* Runs `sh -c script` to its end; returns what it printed (owned by guest). */
const char *guest_sh(struct guest *guest, uint32_t id, const char *script);
void guest_input(struct guest *guest, uint32_t id, const char *data, size_t size, bool eof);
void guest_signal(struct guest *guest, uint32_t id, uint32_t signal, bool whole_group);
void guest_resize(struct guest *guest, uint32_t id, uint16_t rows, uint16_t columns);
/* Runs the loop until *flag is true; fails the test after timeout_ms. */
void guest_wait(struct guest *guest, const bool *flag, int timeout_ms);
void guest_wait_output(struct guest *guest, uint32_t id, const char *text);
/* Orderly end; waits for the emulator to end. */
void guest_shutdown(struct guest *guest, uint32_t signal, uint32_t timeout_ms);

#endif
