/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's end of the channel: says hello, becomes the container that the session describes,
 * runs processes in it, and ends the machine in order. See proto/msg.h for the messages.
 */
#ifndef GUEST_AGENT_H
#define GUEST_AGENT_H

#include "guest/stage.h"

/* Serves the port (taken) until the machine is to be switched off. */
void agent_run(int port_fd, int cgroup_fd, const struct stage *stage);

#endif
