/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/bulk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sock.h"
#include "proto/bulk.h"
#include "proto/frame.h"
#include "shim/shim.h"

struct shim_bulk {
	int fd;                         /* owned */
	uint32_t processes[BULK_LANES]; /* whose lane it is in the guest; 0: nobody's */
};

static struct flock lock_of(uint32_t lane)
{
	return (struct flock){ .l_type = F_WRLCK,
			       .l_whence = SEEK_SET,
			       .l_start = (off_t)((lane - 1) * BULK_LANE),
			       .l_len = (off_t)BULK_LANE };
}

int bulk_new(struct shim_bulk **ret_bulk, struct err *err)
{
	AUTO_CLOSE int fd = memfd_create("hull-bulk", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)BULK_BYTES) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_set(err, -errno, "cannot make a file in memory: %m");
	*ret_bulk = xcalloc(1, sizeof(**ret_bulk));
	(*ret_bulk)->fd = TAKE_FD(fd);
	return 0;
}

struct shim_bulk *bulk_free(struct shim_bulk *bulk)
{
	if (bulk)
		close(bulk->fd);
	free(bulk);
	return NULL;
}

int bulk_fd(const struct shim_bulk *bulk)
{
	return bulk ? bulk->fd : 0;
}

/* Neither a client nor the guest has it. */
static bool is_free(const struct shim_bulk *bulk, uint32_t lane)
{
	struct flock lock = lock_of(lane);

	return !bulk->processes[lane - 1] && fcntl(bulk->fd, F_OFD_GETLK, &lock) == 0 &&
	       lock.l_type == F_UNLCK;
}

/* The memory opened anew, with a lock on a lane that nobody has: it ends when whoever gets this has
 * neither the descriptor nor a mapping any more. -EBUSY when there is none. */
static int open_lane(const struct shim_bulk *bulk, uint32_t *ret_lane)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", bulk->fd);
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (uint32_t lane = 1; lane <= BULK_LANES; lane++) {
		struct flock lock = lock_of(lane);

		if (!is_free(bulk, lane) || fcntl(fd, F_OFD_SETLK, &lock) < 0)
			continue;
		*ret_lane = lane;
		return TAKE_FD(fd);
	}
	return -EBUSY;
}

/* The descriptor goes with the answer, which is the first thing that the client hears: the channel
 * has nothing that it would overtake. */
int bulk_request(struct client *client, const uint8_t *data, size_t size)
{
	uint8_t header[FRAME_HEADER_SIZE];
	AUTO_SBUF struct sbuf payload = { 0 };
	AUTO_SBUF struct sbuf frame = { 0 };
	AUTO_CLOSE int fd = -1;

	if (size || client->bulk_asked)
		return -EPROTO;
	client->bulk_asked = true;
	if (client->shim->bulk)
		fd = open_lane(client->shim->bulk, &client->lane);
	ctl_numbers_encode(client->lane, 0, &payload);
	frame_encode(&(struct frame_header){ .length = (uint32_t)payload.length,
					     .type = CTL_BULK_REPLY },
		     header);
	sbuf_add_bytes(&frame, header, sizeof(header));
	sbuf_add_bytes(&frame, payload.text, payload.length);
	return sock_send_with_fd(mux_fd(client->mux), frame.text, frame.length, fd);
}

uint32_t bulk_begin(const struct client *client, uint32_t process)
{
	if (client->lane)
		client->shim->bulk->processes[client->lane - 1] = process;
	return client->lane;
}

/* Of a client that was killed: others have given its memory back. */
static void tidy(const struct shim_bulk *bulk, uint32_t lane)
{
	const struct flock range = lock_of(lane);

	if (is_free(bulk, lane))
		(void)fallocate(bulk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, range.l_start,
				range.l_len);
}

void bulk_process_over(struct shim_bulk *bulk, uint32_t process)
{
	for (uint32_t i = 0; bulk && i < BULK_LANES; i++)
		if (bulk->processes[i] == process) {
			bulk->processes[i] = 0;
			tidy(bulk, i + 1);
		}
}
