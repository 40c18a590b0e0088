/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/top.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "proto/pack.h"

void msg_top_encode(const struct msg_top *msg, struct sbuf *out)
{
	pack_u32(out, (uint32_t)msg->count);
	for (size_t i = 0; i < msg->count; i++) {
		const struct top_process *item = &msg->items[i];

		pack_u32(out, item->pid);
		pack_u32(out, item->parent);
		pack_u32(out, item->uid);
		pack_u64(out, item->age_s);
		pack_u64(out, item->cpu_ms);
		pack_string(out, item->command);
	}
}

int msg_top_decode(const uint8_t *data, size_t size, struct msg_top *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_top msg = { .count = unpack_u32(&in) };

	if (in.failed || msg.count > TOP_PROCESSES_MAX)
		return -EPROTO;
	msg.items = xcalloc(msg.count + 1, sizeof(*msg.items));
	for (size_t i = 0; i < msg.count; i++) {
		struct top_process *item = &msg.items[i];

		item->pid = unpack_u32(&in);
		item->parent = unpack_u32(&in);
		item->uid = unpack_u32(&in);
		item->age_s = unpack_u64(&in);
		item->cpu_ms = unpack_u64(&in);
		item->command = unpack_string(&in);
		if (strlen(item->command) > TOP_COMMAND_MAX)
			in.failed = true;
	}
	if (unpack_done(&in) < 0) {
		msg_top_release(&msg);
		return -EPROTO;
	}
	*ret_msg = msg;
	return 0;
}

void msg_top_release(struct msg_top *msg)
{
	free(msg->items);
	*msg = (struct msg_top){ 0 };
}
