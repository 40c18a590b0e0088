/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame: the unit on every hull channel (host and guest over virtio-serial, client and shim
 *over a Unix socket). 12 bytes, little-endian, then the payload; specified in docs/PROTOCOL.md.
 *
 *	u32 length	of the payload, at most FRAME_PAYLOAD_MAX
 *	u32 stream	0 is the control stream; data streams are numbered by who opened the channel
 *	u16 type	enum frame_type on data streams, the message's type on the control stream
 *	u16 reserved	0
 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include <stdint.h>

#define FRAME_HEADER_SIZE 12
#define FRAME_PAYLOAD_MAX 262144 /* control messages (environments are large) */
/* Payload of one DATA frame: with its header it fills one buffer of the guest's virtio console. */
#define FRAME_DATA_MAX (32 * 1024 - FRAME_HEADER_SIZE)
#define FRAME_STREAM_CONTROL 0

enum frame_type {
	FRAME_DATA = 1,   /* bytes of the stream */
	FRAME_EOF = 2,    /* no more DATA will come; empty */
	FRAME_CREDIT = 3, /* u32: the sender of this frame accepts so many more bytes of DATA */
	FRAME_RESET = 4,  /* the receiver of the stream wants no more of it; empty */
};

struct frame_header {
	uint32_t length;
	uint32_t stream;
	uint16_t type;
};

void frame_encode(const struct frame_header *header, uint8_t out[FRAME_HEADER_SIZE]);
/* Checks length, the type's range on data streams, and reserved. 0 or -EPROTO. */
int frame_decode(const uint8_t in[FRAME_HEADER_SIZE], struct frame_header *ret_header);

#endif
