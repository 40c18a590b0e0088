/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/bulk_client.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/sock.h"
#include "proto/bulk.h"
#include "proto/frame.h"
#include "shim/client.h"

/* --- asking for one --- */

static int went_away(struct err *err)
{
	return err_set(err, -EPIPE, "the container's supervisor went away");
}

/* The shim's answer: the lane's number, or why there will be no copy. */
static int take_answer(const struct frame_header *header, const uint8_t *payload,
		       uint32_t *ret_lane, struct err *err)
{
	struct ctl_error error;

	if (header->stream == FRAME_STREAM_CONTROL && header->type == CTL_ERROR &&
	    ctl_error_decode(payload, header->length, &error) == 0)
		return err_set(err, error.code, "%s", error.message);
	if (header->stream != FRAME_STREAM_CONTROL || header->type != CTL_BULK_REPLY ||
	    ctl_numbers_decode(payload, header->length, ret_lane, NULL) < 0 ||
	    *ret_lane > BULK_LANES)
		return err_set(err, -EPROTO, "the container's supervisor broke the protocol");
	return 0;
}

static int receive_answer(int connection, uint32_t *ret_lane, int *ret_fd, struct err *err)
{
	uint8_t head[FRAME_HEADER_SIZE];
	struct frame_header header;
	AUTO_CLOSE int fd = -1;
	long n = sock_receive_with_fd(connection, head, sizeof(head), &fd);
	int r;

	if (n <= 0 || fd_read_exact(connection, head + n, sizeof(head) - (size_t)n) < 0)
		return went_away(err);
	if (frame_decode(head, &header) < 0)
		return err_set(err, -EPROTO, "the container's supervisor broke the protocol");
	AUTO_FREE uint8_t *payload = xmalloc(header.length + 1);
	if (fd_read_exact(connection, payload, header.length) < 0)
		return went_away(err);
	r = take_answer(&header, payload, ret_lane, err);
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

int bulk_lane_open(int connection, uint8_t **ret_lane, struct err *err)
{
	uint8_t request[FRAME_HEADER_SIZE];
	AUTO_CLOSE int fd = -1;
	uint32_t lane = 0;
	void *at;
	int r;

	frame_encode(&(struct frame_header){ .type = CTL_BULK }, request);
	/* Whoever ended has said why. */
	r = sock_send_with_fd(connection, request, sizeof(request), -1);
	if (r < 0 && r != -EPIPE)
		return err_set(err, r, "cannot talk to the container's supervisor: %m");
	r = receive_answer(connection, &lane, &fd, err);
	if (r < 0)
		return r;
	*ret_lane = NULL;
	if (!lane || fd < 0)
		return 0;
	at = mmap(NULL, BULK_LANE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		  (off_t)((lane - 1) * BULK_LANE));
	if (at == MAP_FAILED)
		return err_set(err, -errno,
			       "cannot map the memory that is shared with the "
			       "machine: %m");
	*ret_lane = at;
	return 0;
}

void bulk_lane_freep(uint8_t **lane)
{
	if (*lane) {
		madvise(*lane, BULK_LANE, MADV_REMOVE); /* the host gets its memory back */
		munmap(*lane, BULK_LANE);
	}
	*lane = NULL;
}

/* --- moving --- */

/* As much as fits a block, or all there is. */
static long fill_block(int input, uint8_t *block, uint64_t *moved)
{
	size_t size = 0;

	while (size < BULK_BLOCK) {
		ssize_t n = read(input, block + size, BULK_BLOCK - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : (long)size;
		size += (size_t)n;
		__atomic_fetch_add(moved, (uint64_t)n, __ATOMIC_RELAXED);
	}
	return (long)size;
}

int bulk_pump_in(uint8_t *lane, int input, int in, int out, uint64_t *moved, struct err *err)
{
	struct bulk bulk = { .in = in, .out = out };

	for (;;) {
		long offset = bulk_free_block(&bulk);
		long size;
		int r;

		if (offset < 0)
			return err_set(err, (int)offset, "cannot pass on the files: %m");
		size = fill_block(input, lane + offset, moved);
		if (size < 0)
			return err_set(err, (int)size, "cannot read what is to be copied: %m");
		if (size == 0)
			return 0;
		r = bulk_send(&bulk, (size_t)size);
		if (r < 0)
			return err_set(err, r, "cannot pass on the files: %m");
	}
}

int bulk_pump_out(const uint8_t *lane, int output, int in, int out, uint64_t *moved,
		  struct err *err)
{
	struct bulk bulk = { .in = in, .out = out };

	for (;;) {
		size_t offset = 0;
		long size = bulk_receive(&bulk, &offset);
		int r;

		if (size == 0)
			return 0;
		if (size < 0)
			return err_set(err, (int)size, "the guest broke the protocol");
		r = fd_write_all(output, lane + offset, (size_t)size);
		if (r == 0)
			r = bulk_give_back(&bulk);
		if (r < 0)
			return err_set(err, r, "cannot pass on the files: %m");
		__atomic_fetch_add(moved, (uint64_t)size, __ATOMIC_RELAXED);
	}
}
