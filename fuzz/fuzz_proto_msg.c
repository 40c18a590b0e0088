/* SPDX-License-Identifier: Apache-2.0 */
/* Every decoder of control messages, from both ends: the first byte is the message's type. What
 * decodes is encoded and decoded again, which must give the same bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "proto/msg.h"
#include "proto/msg_state.h"
#include "proto/sockets.h"
#include "proto/top.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_same(const struct sbuf *again, const uint8_t *data, size_t size)
{
	if (again->length != size || memcmp(again->text, data, size) != 0)
		abort();
}

static void released(void *msg)
{
	(void)msg;
}

#define CASE(number, name, release)                               \
	case number: {                                            \
		struct msg_##name msg;                            \
		if (msg_##name##_decode(data, size, &msg) == 0) { \
			AUTO_SBUF struct sbuf again = { 0 };      \
			msg_##name##_encode(&msg, &again);        \
			require_same(&again, data, size);         \
			release(&msg);                            \
		}                                                 \
		break;                                            \
	}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_size)
{
	const uint8_t *data = input + 1;
	size_t size = input_size - 1;

	if (input_size == 0)
		return 0;
	switch (input[0]) {
		CASE(MSG_HELLO, hello, released)
		CASE(MSG_PREPARE, prepare, released)
		CASE(MSG_SESSION, session, msg_session_release)
		CASE(MSG_EXEC, process, msg_process_release)
		CASE(MSG_STARTED, started, released)
		CASE(MSG_FAILED, failed, released)
		CASE(MSG_EXITED, exited, released)
		CASE(MSG_SIGNAL, signal, released)
		CASE(MSG_RESIZE, resize, released)
		CASE(MSG_SHUTDOWN, shutdown, released)
		CASE(MSG_STATS_REPLY, stats, released)
		CASE(MSG_TOP_REPLY, top, msg_top_release)
		CASE(MSG_CLOCK_REPLY, clock, released)
		CASE(MSG_CLOCK_SHIFT, clock_shift, released)
		CASE(MSG_LIMITS, limits, released)
		CASE(MSG_FREEZE, freeze, released)
		CASE(MSG_REJOIN, rejoin, released)
		CASE(MSG_REFUSED, refused, released)
		CASE(MSG_FILE, file, released)
		CASE(MSG_INTERFACE, interface_change, released)
		CASE(MSG_INTERFACE_DONE, interface_done, released)
		CASE(MSG_SOCKET_OPEN, socket_open, released)
		CASE(MSG_SOCKET_CLOSE, socket_close, released)
	default:
		break;
	}
	return 0;
}
