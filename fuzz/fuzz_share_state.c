/* SPDX-License-Identifier: Apache-2.0 */
/* The file server of shares takes over arbitrary bytes as what a server before it has left (their
 * sum is made right, or none would be read), and goes on with them. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/hash.h"
#include "base/path.h"
#include "base/sock.h"
#include "proto/share.h"
#include "share/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char top[64];

static void clean_up(void)
{
	path_remove_tree(top, NULL);
}

static void set_up(void)
{
	char path[128];

	snprintf(top, sizeof(top), "/tmp/hull-fuzz-state.XXXXXX");
	if (!mkdtemp(top))
		abort();
	atexit(clean_up);
	snprintf(path, sizeof(path), "%s/d", top);
	if (mkdir(path, 0755) < 0)
		abort();
	snprintf(path, sizeof(path), "%s/d/f", top);
	if (file_write_atomic(path, "content", 7, 0644, false, NULL) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct share_header go = { 0, 0, SHARE_GO };
	uint8_t bytes[SHARE_HEADER_SIZE];
	struct share_server *server;
	uint8_t sum[4];
	int pair[2];
	int fd;

	if (!top[0])
		set_up();
	fd = memfd_create("state", MFD_CLOEXEC);
	le_put32(sum, ~hash_crc32c(~0u, data, size));
	if (fd < 0 || fd_write_all(fd, data, size) < 0 || fd_write_all(fd, sum, sizeof(sum)) < 0 ||
	    sock_pair(pair, NULL) < 0)
		abort();
	server = share_server_new(pair[0]);
	if (share_server_add(server, open(top, O_PATH | O_CLOEXEC), false, NULL) < 0)
		abort();
	if (share_server_set_state(server, fd, NULL) == 0) {
		share_header_encode(&go, bytes);
		fd_set_nonblock(pair[0], true);
		if (fd_write_all(pair[1], bytes, sizeof(bytes)) == 0)
			share_server_turn(server, 0);
	}
	share_server_free(server);
	close(pair[1]);
	return 0;
}
