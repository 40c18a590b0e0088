/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages around the saving of a machine's state. The host sends MSG_FREEZE; the guest stops the
 * container's processes, writes out what it still has to say and answers MSG_FROZEN, after which it
 * neither sends nor takes anything of the streams: the channel is empty in both directions, and a
 * copy of the machine begins with an empty one. The host sends MSG_THAW to the machine that goes
 * on, MSG_REJOIN to each that is brought back from the copy; the guest becomes who it is told to
 * be, lets the processes run, and says MSG_STARTED of its main process.
 */
#ifndef PROTO_MSG_STATE_H
#define PROTO_MSG_STATE_H

#include "proto/msg.h"

enum msg_state_type {
	MSG_FREEZE = 50,  /* host: msg_freeze */
	MSG_FROZEN = 51,  /* guest: empty */
	MSG_THAW = 52,    /* host: empty */
	MSG_REJOIN = 53,  /* host: msg_rejoin */
	MSG_REFUSED = 54, /* guest, instead of MSG_FROZEN: msg_refused; it runs on */
};

struct msg_freeze {
	bool sync; /* what was written goes to the disks first */
};

struct msg_refused {
	const char *reason; /* borrowed from the message */
};

struct msg_rejoin {
	bool is_copy;        /* it has become another container; false: it goes on as itself */
	uint32_t generation; /* how many copies lie between it and what was started */
	uint32_t index;      /* among the copies that were made together: 1 … count */
	uint32_t count;
	const char *id;     /* of the container */
	const char *origin; /* what it is a copy of */
	uint32_t signal;    /* for its main process, 0 none */
	/* As of MSG_SESSION, of which clock, entropy, host name, limits and files count. */
	const uint8_t *session; /* borrowed */
	size_t session_size;
};

void msg_freeze_encode(const struct msg_freeze *msg, struct sbuf *out);
int msg_freeze_decode(const uint8_t *data, size_t size, struct msg_freeze *ret_msg);
void msg_refused_encode(const struct msg_refused *msg, struct sbuf *out);
int msg_refused_decode(const uint8_t *data, size_t size, struct msg_refused *ret_msg);
void msg_rejoin_encode(const struct msg_rejoin *msg, struct sbuf *out);
int msg_rejoin_decode(const uint8_t *data, size_t size, struct msg_rejoin *ret_msg);

#endif
