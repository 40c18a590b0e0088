/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channel of shared directories: a second virtio-serial port, named "files", between hull-init
 * and hull-share, that carries the messages of the guest kernel's FUSE client (linux/fuse.h) as
 * they are. Specified in docs/PROTOCOL.md. Each frame is 8 bytes, little-endian, and its payload:
 *
 *	u32 length	of the payload, at most SHARE_PAYLOAD_MAX
 *	u16 share	which share it is about, in the order of the session's mounts
 *	u16 type	enum share_frame_type
 */
#ifndef PROTO_SHARE_H
#define PROTO_SHARE_H

#include "proto/le.h"

#define SHARE_HEADER_SIZE 8
#define SHARE_WRITE_MAX (1024 * 1024) /* of one FUSE WRITE and READ */
#define SHARE_PAYLOAD_MAX (SHARE_WRITE_MAX + 4096)
#define SHARE_COUNT_MAX 64
#define SHARE_PORT "files"
/* A directory in a volume into which what the image has in its place is being copied. */
#define SHARE_FILLING ".hull-filling"

enum share_frame_type {
	SHARE_HELLO = 1,  /* guest, first: u32 user, u32 group, u32 task of the echoes */
	SHARE_FUSE = 2,   /* a request; a reply; a notification that never waits */
	SHARE_NOTIFY = 3, /* host: a notification that may wait for locks: handled with echoes */
	SHARE_ECHO = 4,   /* host: share_echo */
	SHARE_DONE = 5,   /* guest: u32: so many more of NOTIFY and ECHO have been handled */
	/* The machine is about to be saved. Guest, and the host's answer, all without payload. */
	SHARE_QUIET = 6, /* no more of NOTIFY and ECHO; answered when all have been handled */
	SHARE_LAST = 7,  /* the last frame of either side: the channel is empty then */
	SHARE_GO = 8,    /* it goes on, here or, brought back, elsewhere */
	/* As FUSE, with a block of memory: a request that lends one, and its answer. */
	SHARE_BLOCK = 9,
};

/*
 * Much data does not pass through the port but through memory that both have: SHARE_BLOCKS blocks
 * of SHARE_BLOCK_SIZE bytes, from BULK_SHARES on of the disk that copies of files use (bulk.h). The
 * guest lends a block with a request, whose answer gives it back. Payload, of both: u32 the block,
 * u32 how many bytes at the message's end are in the block and not in the frame, the rest of the
 * message. Of a WRITE that is its data, of the answer to a READ what was read.
 */
#define SHARE_BLOCK_SIZE SHARE_WRITE_MAX
#define SHARE_BLOCKS 4
#define SHARE_BLOCK_FIXED 8
/* Less than that is quicker in the frame than asked for by a request to the disk. */
#define SHARE_BLOCK_MIN ((size_t)32 * 1024)

struct share_block {
	uint32_t number;
	uint32_t size;
};

static inline void share_block_encode(struct share_block block, uint8_t out[SHARE_BLOCK_FIXED])
{
	le_put32(out, block.number);
	le_put32(out + 4, block.size);
}

/* False when there is no such. */
static inline bool share_block_decode(const uint8_t in[SHARE_BLOCK_FIXED],
				      struct share_block *ret_block)
{
	struct share_block block = { le_get32(in), le_get32(in + 4) };

	*ret_block = block;
	return block.number < SHARE_BLOCKS && block.size <= SHARE_BLOCK_SIZE;
}

struct share_header {
	uint32_t length;
	uint16_t share;
	uint16_t type;
};

static inline void share_header_encode(const struct share_header *header,
				       uint8_t out[SHARE_HEADER_SIZE])
{
	le_put32(out, header->length);
	le_put16(out + 4, header->share);
	le_put16(out + 6, header->type);
}

/* False when it is none. */
static inline bool share_header_decode(const uint8_t in[SHARE_HEADER_SIZE],
				       struct share_header *ret_header)
{
	struct share_header header = { le_get32(in), le_get16(in + 4), le_get16(in + 6) };

	*ret_header = header;
	return header.length <= SHARE_PAYLOAD_MAX && header.share < SHARE_COUNT_MAX &&
	       header.type >= SHARE_HELLO && header.type <= SHARE_BLOCK;
}

/*
 * An echo: what happened on the host is done again in the guest, on the same name, by a task that
 * hull-share knows: it answers without doing anything, and the guest's kernel tells those who watch
 * (inotify). Payload: u8 operation, u32 file type (S_IFMT), then the path below the share's root,
 * with a NUL at its end and nowhere else.
 */
enum share_echo_op {
	SHARE_ECHO_CREATE = 1,
	SHARE_ECHO_DELETE = 2,
	SHARE_ECHO_MODIFY = 3,
	SHARE_ECHO_ATTRIB = 4,
	SHARE_ECHO_CLOSE = 5, /* closed after writing */
};
#define SHARE_ECHO_FIXED 5

#endif
