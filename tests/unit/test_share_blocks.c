/* SPDX-License-Identifier: Apache-2.0 */
/* hull-share with data that does not pass through its channel. */
#include "share_guest.h"

#include <sys/mman.h>

#include "proto/bulk.h"

struct memory {
	int fd;
	uint8_t *blocks;
};

static struct memory memory_new(void)
{
	struct memory memory = { .fd = memfd_create("blocks", MFD_CLOEXEC) };

	assert_int_equal(ftruncate(memory.fd, (off_t)BULK_BYTES), 0);
	memory.blocks = mmap(NULL, BULK_BYTES - BULK_SHARES, PROT_READ | PROT_WRITE, MAP_SHARED,
			     memory.fd, (off_t)BULK_SHARES);
	assert_ptr_not_equal(memory.blocks, MAP_FAILED);
	return memory;
}

static void memory_release(struct memory *memory)
{
	munmap(memory->blocks, BULK_BYTES - BULK_SHARES);
	close(memory->fd);
}

/* Sends a request that lends a block; size bytes of its end are there. Returns what the server
 * makes of the frame. */
static int send_lending(struct guest *guest, struct share_block block, uint32_t opcode,
			uint64_t node, const void *fixed, size_t fixed_size)
{
	uint8_t bytes[SHARE_BLOCK_FIXED + 256];
	struct fuse_in_header in = { .len = (uint32_t)(sizeof(in) + fixed_size + block.size),
				     .opcode = opcode,
				     .unique = ++guest->unique,
				     .nodeid = node,
				     .pid = TASK };

	share_block_encode(block, bytes);
	memcpy(bytes + SHARE_BLOCK_FIXED, &in, sizeof(in));
	memcpy(bytes + SHARE_BLOCK_FIXED + sizeof(in), fixed, fixed_size);
	send_frame(guest, guest->share, SHARE_BLOCK, bytes,
		   SHARE_BLOCK_FIXED + sizeof(in) + fixed_size);
	return share_server_turn(guest->server, 1000);
}

/* The answer's error; what of it was in the frame is in guest->data, and *ret_size in the block. */
static int take_answer(struct guest *guest, uint32_t block, uint32_t *ret_size)
{
	struct share_header header = { 0 };
	struct share_block given;

	assert_true(take_frame(guest, &header));
	assert_int_equal(header.type, SHARE_BLOCK);
	assert_true(share_block_decode(guest->data, &given));
	assert_int_equal(given.number, block);
	memcpy(&guest->out, guest->data + SHARE_BLOCK_FIXED, sizeof(guest->out));
	assert_int_equal(guest->out.unique, guest->unique);
	assert_int_equal(guest->out.len + SHARE_BLOCK_FIXED, header.length + given.size);
	memmove(guest->data, guest->data + SHARE_BLOCK_FIXED + sizeof(guest->out),
		header.length - SHARE_BLOCK_FIXED - sizeof(guest->out));
	*ret_size = given.size;
	return guest->out.error;
}

static void test_data_passes_through_blocks(void **state)
{
	CLEANUP(memory_release) struct memory memory = memory_new();
	struct guest *guest = guest_new(*state, false);
	struct fuse_write_in write = { .size = SHARE_BLOCK_SIZE, .offset = 3 };
	struct fuse_read_in read = { .size = SHARE_BLOCK_SIZE };
	uint8_t *second = memory.blocks + SHARE_BLOCK_SIZE;
	uint32_t size = 0;
	uint64_t node = 0;

	assert_int_equal(share_server_set_bulk(guest->server, memory.fd, NULL), 0);
	assert_int_equal(create(guest, FUSE_ROOT_ID, "f", 0644, &node, &write.fh), 0);
	read.fh = write.fh;
	memset(second, 'x', SHARE_BLOCK_SIZE);
	second[SHARE_BLOCK_SIZE - 1] = 'y';
	assert_int_equal(send_lending(guest, (struct share_block){ 1, SHARE_BLOCK_SIZE },
				      FUSE_WRITE, node, &write, sizeof(write)),
			 1);
	assert_int_equal(take_answer(guest, 1, &size), 0);
	assert_int_equal(size, 0);
	assert_int_equal(((struct fuse_write_out *)(void *)guest->data)->size, SHARE_BLOCK_SIZE);
	/* Into another block; the end of the file, and behind it. */
	assert_int_equal(send_lending(guest, (struct share_block){ 0, 0 }, FUSE_READ, node, &read,
				      sizeof(read)),
			 1);
	assert_int_equal(take_answer(guest, 0, &size), 0);
	assert_int_equal(size, SHARE_BLOCK_SIZE);
	assert_memory_equal(memory.blocks, "\0\0\0xxx", 6);
	read.offset = SHARE_BLOCK_SIZE;
	send_lending(guest, (struct share_block){ 3, 0 }, FUSE_READ, node, &read, sizeof(read));
	assert_int_equal(take_answer(guest, 3, &size), 0);
	assert_int_equal(size, 3);
	assert_memory_equal(memory.blocks + 3 * (size_t)SHARE_BLOCK_SIZE, "xxy", 3);
	read.offset = 2 * SHARE_BLOCK_SIZE;
	send_lending(guest, (struct share_block){ 3, 0 }, FUSE_READ, node, &read, sizeof(read));
	assert_int_equal(take_answer(guest, 3, &size), 0);
	assert_int_equal(size, 0);
	guest_free(guest);
}

/* A block comes back whatever was asked for, and of what is refused nothing is done. */
static void test_blocks_come_back(void **state)
{
	CLEANUP(memory_release) struct memory memory = memory_new();
	struct guest *guest;
	struct fuse_write_in write = { .size = 5, .fh = 4711 };
	struct fuse_getattr_in getattr = { 0 };
	struct fuse_read_in list = { .size = SHARE_BLOCK_SIZE };
	uint32_t size = 0;
	uint64_t node = 0;

	put_file(*state, "f", "old");
	guest = guest_new(*state, false);
	assert_int_equal(share_server_set_bulk(guest->server, memory.fd, NULL), 0);
	node = lookup(guest, FUSE_ROOT_ID, "f");
	send_lending(guest, (struct share_block){ 2, 5 }, FUSE_WRITE, node, &write, sizeof(write));
	assert_int_equal(take_answer(guest, 2, &size), -EBADF);
	assert_int_equal(open_node(guest, node, O_RDWR, &write.fh), 0);
	/* It says another size, and an operation that has no data. */
	send_lending(guest, (struct share_block){ 2, 6 }, FUSE_WRITE, node, &write, sizeof(write));
	assert_int_equal(take_answer(guest, 2, &size), -EINVAL);
	send_lending(guest, (struct share_block){ 2, 1 }, FUSE_GETATTR, node, &getattr,
		     sizeof(getattr));
	assert_int_equal(take_answer(guest, 2, &size), -EINVAL);
	send_lending(guest, (struct share_block){ 0, 0 }, FUSE_GETATTR, node, &getattr,
		     sizeof(getattr));
	assert_int_equal(take_answer(guest, 0, &size), 0);
	assert_int_equal(((struct fuse_attr_out *)(void *)guest->data)->attr.size, 3);
	/* A listing is no data: it is in the frame. */
	send_lending(guest, (struct share_block){ 0, 0 }, FUSE_READDIR, FUSE_ROOT_ID, &list,
		     sizeof(list));
	assert_int_equal(take_answer(guest, 0, &size), 0);
	assert_int_equal(size, 0);
	assert_true(guest->out.len > sizeof(guest->out) + 3 * sizeof(struct fuse_dirent));
	assert_file(*state, "f", "old");
	guest_free(guest);
}

static void test_blocks_that_are_none_end_the_channel(void **state)
{
	static const struct share_block none[] = {
		{ SHARE_BLOCKS, 0 },
		{ UINT32_MAX, 0 },
		{ 0, SHARE_BLOCK_SIZE + 1 },
		{ 0, UINT32_MAX },
	};
	CLEANUP(memory_release) struct memory memory = memory_new();
	struct fuse_read_in read = { .size = 1 };
	struct guest *guest;

	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		guest = guest_new(*state, false);
		assert_int_equal(share_server_set_bulk(guest->server, memory.fd, NULL), 0);
		assert_int_equal(
			send_lending(guest, none[i], FUSE_READ, FUSE_ROOT_ID, &read, sizeof(read)),
			-EPROTO);
		guest_free(guest);
	}
	/* Too short; and a server that has no memory. */
	guest = guest_new(*state, false);
	assert_int_equal(share_server_set_bulk(guest->server, memory.fd, NULL), 0);
	send_frame(guest, 0, SHARE_BLOCK, "1234567", 7);
	assert_int_equal(share_server_turn(guest->server, 1000), -EPROTO);
	guest_free(guest);
	guest = guest_new(*state, false);
	assert_int_equal(send_lending(guest, (struct share_block){ 0, 0 }, FUSE_READ, FUSE_ROOT_ID,
				      &read, sizeof(read)),
			 -EPROTO);
	guest_free(guest);
}

/* Small files come with their first opening, when nothing of them can be under way. */
static void test_small_files_are_not_asked_for(void **state)
{
	struct guest *guest;
	struct fuse_notify_store_out store;
	uint64_t fh[3] = { 0 };
	uint64_t node;

	put_file(*state, "f", "small");
	put_file(*state, "empty", "");
	guest = guest_new(*state, false);
	node = lookup(guest, FUSE_ROOT_ID, "f");
	assert_int_equal(open_node(guest, node, O_RDONLY, &fh[0]), 0);
	assert_int_equal(guest->stored, 1);
	assert_int_equal(guest->stored_size, sizeof(struct fuse_out_header) + sizeof(store) + 5);
	memcpy(&store, guest->stored_data + sizeof(struct fuse_out_header), sizeof(store));
	assert_int_equal(store.nodeid, node);
	assert_int_equal(store.offset, 0);
	assert_int_equal(store.size, 5);
	assert_memory_equal(guest->stored_data + sizeof(struct fuse_out_header) + sizeof(store),
			    "small", 5);
	assert_true(((struct fuse_open_out *)(void *)guest->data)->open_flags & FOPEN_KEEP_CACHE);
	/* It has it now. */
	release(guest, node, fh[0]);
	assert_int_equal(open_node(guest, node, O_RDONLY, &fh[0]), 0);
	assert_int_equal(guest->stored, 1);
	release(guest, node, fh[0]);
	/* Of what has changed the guest does not know how large it is; then it does. */
	put_file(*state, "f", "changed");
	node = lookup(guest, FUSE_ROOT_ID, "f");
	assert_int_equal(open_node(guest, node, O_RDONLY, &fh[0]), 0);
	assert_int_equal(guest->stored, 2);
	/* Neither where it is open, nor for writing, nor where there is nothing. */
	assert_int_equal(open_node(guest, node, O_RDONLY, &fh[1]), 0);
	node = lookup(guest, FUSE_ROOT_ID, "empty");
	assert_int_equal(open_node(guest, node, O_RDONLY, &fh[2]), 0);
	assert_int_equal(guest->stored, 2);
	guest_free(guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(test_data_passes_through_blocks),
		TEST_IN_DIR(test_blocks_come_back),
		TEST_IN_DIR(test_blocks_that_are_none_end_the_channel),
		TEST_IN_DIR(test_small_files_are_not_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
