/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/copy.h"

#include <errno.h>
#include <string.h>

#include "proto/bulk.h"
#include "proto/msg.h"
#include "proto/pack.h"

#define PATH_LENGTH_MAX 4095
#define NAME_LENGTH_MAX 255

void msg_copy_encode(const struct msg_copy *msg, struct sbuf *out)
{
	pack_u32(out, msg->id);
	pack_u32(out, msg->op);
	pack_u32(out, msg->flags);
	pack_string(out, msg->path);
	pack_string(out, msg->name);
	pack_u32(out, msg->lane);
}

int msg_copy_decode(const uint8_t *data, size_t size, struct msg_copy *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_copy msg;
	int r;

	msg.id = unpack_u32(&in);
	msg.op = unpack_u32(&in);
	msg.flags = unpack_u32(&in);
	msg.path = unpack_string(&in);
	msg.name = unpack_string(&in);
	msg.lane = unpack_u32(&in);
	r = unpack_done(&in);
	if (r < 0 || msg.id < 1 || msg.id > MSG_PROCESS_ID_MAX || msg.op < MSG_COPY_READ ||
	    msg.op >= MSG_COPY_OP_COUNT || msg.flags & ~(uint32_t)MSG_COPY_FLAGS_ALL ||
	    strlen(msg.path) > PATH_LENGTH_MAX || strlen(msg.name) > NAME_LENGTH_MAX ||
	    strchr(msg.name, '/') || msg.lane > BULK_LANES)
		return -EPROTO;
	*ret_msg = msg;
	return 0;
}
