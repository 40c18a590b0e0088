/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include <errno.h>

#include "proto/le.h"

static_assert(FRAME_DATA_MAX <= FRAME_PAYLOAD_MAX, "a DATA frame is a frame");

void frame_encode(const struct frame_header *header, uint8_t out[FRAME_HEADER_SIZE])
{
	le_put32(out, header->length);
	le_put32(out + 4, header->stream);
	le_put16(out + 8, header->type);
	le_put16(out + 10, 0);
}

/* The lengths a type may have on a data stream. */
static bool data_length_ok(uint16_t type, uint32_t length)
{
	switch (type) {
	case FRAME_DATA:
		return length <= FRAME_DATA_MAX;
	case FRAME_EOF:
	case FRAME_RESET:
		return length == 0;
	case FRAME_CREDIT:
		return length == sizeof(uint32_t);
	default:
		return false;
	}
}

int frame_decode(const uint8_t in[FRAME_HEADER_SIZE], struct frame_header *ret_header)
{
	struct frame_header header = {
		.length = le_get32(in),
		.stream = le_get32(in + 4),
		.type = le_get16(in + 8),
	};

	if (le_get16(in + 10) != 0 || header.type == 0 || header.length > FRAME_PAYLOAD_MAX)
		return -EPROTO;
	if (header.stream != FRAME_STREAM_CONTROL && !data_length_ok(header.type, header.length))
		return -EPROTO;
	*ret_header = header;
	return 0;
}
