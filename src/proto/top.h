/* SPDX-License-Identifier: Apache-2.0 */
/* MSG_TOP_REPLY: the processes of the container, as it numbers them itself. */
#ifndef PROTO_TOP_H
#define PROTO_TOP_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define TOP_PROCESSES_MAX 512
#define TOP_COMMAND_MAX 200

struct top_process {
	uint32_t pid, parent; /* parent 0: outside of the container */
	uint32_t uid;
	uint64_t age_s;
	uint64_t cpu_ms;
	const char *command; /* borrowed from the message */
};

struct msg_top {
	size_t count;
	struct top_process *items; /* owned by the decoded message */
};

void msg_top_encode(const struct msg_top *msg, struct sbuf *out);
/* 0 or -EPROTO. */
int msg_top_decode(const uint8_t *data, size_t size, struct msg_top *ret_msg);
void msg_top_release(struct msg_top *msg);

#endif
