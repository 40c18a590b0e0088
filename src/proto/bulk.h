/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Much data between host and guest, past the channel: a disk of the machine is memory of the host
 * that both read and write, and the channel only says which part of it is whose turn.
 *
 * The disk (serial BULK_SERIAL) is cut into lanes, each for one copy of files at a time (the lane
 * of a msg_copy), and these into blocks, which are used one after the other, round and round. Who
 * sends fills a block and sends a record, u32 how many bytes are in it (1 … BULK_BLOCK), where
 * otherwise the bytes themselves would flow: on the stream towards the receiver. Who receives sends
 * one byte on the other stream for each block that it has emptied. BULK_BLOCKS blocks are under way
 * at most. The end of the stream of records is the end of the data.
 *
 * Behind the lanes are blocks of shared directories, which have rules of their own (share.h).
 *
 * The other side can write to all of the disk at any time: what is there is copied once, and looked
 * at after that.
 */
#ifndef PROTO_BULK_H
#define PROTO_BULK_H

#include <stddef.h>
#include <stdint.h>

#define BULK_SERIAL "bulk"
#define BULK_BLOCK ((size_t)512 * 1024)
#define BULK_BLOCKS 8 /* of a lane */
#define BULK_LANE (BULK_BLOCK * BULK_BLOCKS)
#define BULK_LANES 4
#define BULK_SHARES (BULK_LANE * BULK_LANES) /* where the blocks of shared directories begin */
#define BULK_BYTES (BULK_SHARES + ((size_t)4 << 20))
#define BULK_SECTOR 512 /* the guest reads and writes these */

/* One side of a lane. Descriptors are borrowed, and block. */
struct bulk {
	int in, out;      /* what the other side says; what we say to it */
	uint32_t next;    /* block: to fill, or to empty */
	uint32_t pending; /* filled ones that have not come back */
};

/* Who sends: the offset in the lane of a block that may be filled, waiting until there is one.
 * -EPIPE when the other side has ended. */
long bulk_free_block(struct bulk *bulk);
/* It holds size bytes, and is the receiver's. */
int bulk_send(struct bulk *bulk, size_t size);

/* Who receives: the number of bytes in the next block, whose offset in the lane is *ret_offset; 0
 * when no more will come; -EPROTO for what cannot be. */
long bulk_receive(struct bulk *bulk, size_t *ret_offset);
/* It has been emptied. */
int bulk_give_back(struct bulk *bulk);

#endif
