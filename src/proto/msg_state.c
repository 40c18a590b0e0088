/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/msg_state.h"

#include <errno.h>

#include "proto/pack.h"

#define SIGNAL_MAX 64

void msg_freeze_encode(const struct msg_freeze *msg, struct sbuf *out)
{
	pack_u8(out, msg->sync);
}

int msg_freeze_decode(const uint8_t *data, size_t size, struct msg_freeze *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	uint8_t sync = unpack_u8(&in);
	int r;

	in.failed |= sync > 1;
	r = unpack_done(&in);
	if (r == 0)
		ret_msg->sync = sync;
	return r;
}

void msg_refused_encode(const struct msg_refused *msg, struct sbuf *out)
{
	pack_string(out, msg->reason);
}

int msg_refused_decode(const uint8_t *data, size_t size, struct msg_refused *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_refused msg = { .reason = unpack_string(&in) };
	int r = unpack_done(&in);

	if (r == 0)
		*ret_msg = msg;
	return r;
}

void msg_rejoin_encode(const struct msg_rejoin *msg, struct sbuf *out)
{
	pack_u8(out, msg->is_copy);
	pack_u32(out, msg->generation);
	pack_u32(out, msg->index);
	pack_u32(out, msg->count);
	pack_string(out, msg->id);
	pack_string(out, msg->origin);
	pack_u32(out, msg->signal);
	pack_u32(out, (uint32_t)msg->session_size);
	pack_bytes(out, msg->session, msg->session_size);
}

int msg_rejoin_decode(const uint8_t *data, size_t size, struct msg_rejoin *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_rejoin msg = { 0 };
	uint8_t is_copy = unpack_u8(&in);
	int r;

	msg.is_copy = is_copy;
	msg.generation = unpack_u32(&in);
	msg.index = unpack_u32(&in);
	msg.count = unpack_u32(&in);
	msg.id = unpack_string(&in);
	msg.origin = unpack_string(&in);
	msg.signal = unpack_u32(&in);
	msg.session_size = unpack_u32(&in);
	in.failed |= is_copy > 1 || msg.signal > SIGNAL_MAX || msg.index > msg.count ||
		     msg.session_size != in.size - in.offset;
	if (in.failed)
		return -EPROTO;
	msg.session = in.data + in.offset;
	in.offset = in.size;
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}
