/* SPDX-License-Identifier: Apache-2.0 */
/* The last steps of a new process of the container, in the child, inside the container's root. */
#ifndef GUEST_BECOME_H
#define GUEST_BECOME_H

#include "base/err.h"
#include "proto/msg.h"

#define BECOME_SETUP_FAILED 125
#define BECOME_CANNOT_EXECUTE 126
#define BECOME_NOT_FOUND 127

/* Why a process could not start; what travels from the child to hull-init. */
struct become_failure {
	uint32_t status; /* one of the above */
	char message[ERR_MESSAGE_MAX];
};

/* Turns this process into the one described: session, terminal, standard streams (stdio: three
 * descriptors), user, limits, capabilities, directory, environment, program. Returns only on
 * failure, with the status; err says why. */
uint32_t become(const struct msg_process *process, const char *hostname, const int stdio[3],
		struct err *err);

#endif
