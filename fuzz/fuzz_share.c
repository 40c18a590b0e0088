/* SPDX-License-Identifier: Apache-2.0 */
/* The file server of shares with a guest that sends arbitrary frames: the input is a list of {u16
 * length, frame}. Whatever it does happens below one directory, and what lies beside that stays. */
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/sock.h"
#include "proto/bulk.h"
#include "proto/share.h"
#include "share/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char top[64], shared[96], witness[96];
static int memory = -1;

static void clean_up(void)
{
	path_remove_tree(top, NULL);
}

static void set_up(void)
{
	struct rlimit limit = { 1 << 20, 1 << 20 };

	snprintf(top, sizeof(top), "/tmp/hull-fuzz-share.XXXXXX");
	if (!mkdtemp(top))
		abort();
	snprintf(shared, sizeof(shared), "%s/shared", top);
	snprintf(witness, sizeof(witness), "%s/witness", top);
	if (file_write_atomic(witness, "safe", 4, 0644, false, NULL) < 0)
		abort();
	memory = memfd_create("fuzz", MFD_CLOEXEC);
	if (memory < 0 || ftruncate(memory, (off_t)BULK_BYTES) < 0)
		abort();
	atexit(clean_up);
	signal(SIGXFSZ, SIG_IGN); /* a file of the guest's choosing could fill the disk */
	setrlimit(RLIMIT_FSIZE, &limit);
}

/* As it was for each input: two files, a directory, a link out. */
static void fill(void)
{
	char path[128];

	path_remove_tree(shared, NULL);
	if (mkdir(shared, 0755) < 0)
		abort();
	snprintf(path, sizeof(path), "%s/f", shared);
	file_write_atomic(path, "content", 7, 0644, false, NULL);
	snprintf(path, sizeof(path), "%s/d", shared);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/d/g", shared);
	file_write_atomic(path, "g", 1, 0644, false, NULL);
	snprintf(path, sizeof(path), "%s/l", shared);
	if (symlink("../witness", path) < 0)
		abort();
}

static void drain(int sock)
{
	char buffer[65536];

	while (recv(sock, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
		;
}

static void run(int sock, struct share_server *server, const uint8_t *data, size_t size)
{
	static const uint8_t hello[] = { 12, 0, 0, 0, 0, 0, 1,  0, 0, 0,
					 0,  0, 0, 0, 0, 0, 77, 0, 0, 0 };

	fd_write_all(sock, hello, sizeof(hello));
	while (size >= 2) {
		size_t length = le_get16(data);

		data += 2;
		size -= 2;
		length = length < size ? length : size;
		if (fd_write_all(sock, data, length) < 0 || share_server_turn(server, 0) <= 0)
			return;
		data += length;
		size -= length;
		drain(sock);
	}
	share_server_turn(server, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct share_server *server;
	char text[8] = "";
	int pair[2];
	int fd;

	if (!top[0])
		set_up();
	fill();
	if (sock_pair(pair, NULL) < 0)
		abort();
	server = share_server_new(pair[0]);
	if (share_server_set_bulk(server, memory, NULL) < 0)
		abort();
	if (share_server_add(server, open(shared, O_PATH | O_CLOEXEC), false, NULL) < 0)
		abort();
	run(pair[1], server, data, size);
	share_server_free(server);
	close(pair[1]);
	fd = open(witness, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text)) != 4 || memcmp(text, "safe", 4) != 0)
		abort();
	close(fd);
	return 0;
}
