/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/single_files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/sock.h"
#include "base/str.h"
#include "proto/share.h"
#include "share/opener.h"
#include "shim/confine.h"
#include "shim/shares.h"

#define NAME "hull-open"
#define SOCKET 3 /* then the directories */

struct files {
	struct shared_name items[SHARE_COUNT_MAX]; /* dir_fd and name are owned */
	size_t count;
};

static void files_release(struct files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		close(files->items[i].dir_fd);
		free((char *)files->items[i].name);
	}
}

static void find(const struct launch *launch, const struct container_config *config,
		 struct files *files)
{
	uint16_t share = 0;

	for (size_t i = 0; i < config->mounts.count && files->count < SHARE_COUNT_MAX; i++) {
		const char *source = shares_source(launch, config, i);
		char *name = NULL;
		int fd;

		if (!source)
			continue;
		fd = shares_locate_file(source, &name);
		if (fd >= 0)
			files->items[files->count++] = (struct shared_name){
				.share = share,
				.dir_fd = fd,
				.name = name,
				.read_only = shares_is_read_only(&config->mounts.items[i]),
			};
		share++;
	}
}

/* Nothing else of the shim's is kept; the lowest free number is always beyond what is. */
static int keep_only(int socket, struct files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		files->items[i].dir_fd =
			fcntl(files->items[i].dir_fd, F_DUPFD, SOCKET + 1 + SHARE_COUNT_MAX);
		if (files->items[i].dir_fd < 0)
			return -errno;
	}
	if (dup2(socket, SOCKET) < 0)
		return -errno;
	for (size_t i = 0; i < files->count; i++) {
		if (dup2(files->items[i].dir_fd, SOCKET + 1 + (int)i) < 0)
			return -errno;
		files->items[i].dir_fd = SOCKET + 1 + (int)i;
	}
	return syscall(SYS_close_range, SOCKET + 1 + files->count, ~0u, 0) < 0 ? -errno : 0;
}

static _Noreturn void be_opener(int socket, struct files *files, char *program)
{
	static const int ignored[] = { SIGHUP, SIGINT, SIGTERM, SIGPIPE };
	char *name = program ? strstr(program, "hull-shim") : NULL;

	prctl(PR_SET_NAME, NAME);
	for (size_t i = 0; name && i < strlen(NAME); i++)
		name[i] = NAME[i];
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	if (keep_only(socket, files) == 0 && confine_opener(files->items, files->count, NULL) == 0)
		opener_serve(SOCKET, files->items, files->count);
	_exit(0);
}

int single_files_start(const struct launch *launch, const struct container_config *config,
		       char *program, struct err *err)
{
	CLEANUP(files_release) struct files files = { 0 };
	int pair[2];
	pid_t pid;
	int r;

	find(launch, config, &files);
	if (!files.count)
		return 0;
	r = sock_pair(pair, err);
	if (r < 0)
		return r;
	pid = fork();
	if (pid == 0)
		be_opener(pair[1], &files, program);
	r = pid < 0 ? err_set(err, -errno, "cannot start another process: %m") : pair[0];
	close(pair[1]);
	if (pid < 0)
		close(pair[0]);
	return r;
}
