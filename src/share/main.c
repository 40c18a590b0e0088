/* SPDX-License-Identifier: Apache-2.0 */
/* hull-share: started by the shim (shim/shares.c), never by hand. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "share/server.h"

/* A root and how it is shared: "rw" or "ro", and ":" with the name of a file that follows it. */
static int add(struct share_server *server, const char *how, int *fd, struct err *err)
{
	int r = share_server_add(server, (*fd)++, str_starts(how, "ro"), err);

	if (r == 0 && how[2] == ':')
		r = share_server_follow(server, (*fd)++, how + 3, err);
	return r;
}

int main(int argc, char **argv)
{
	CLEANUP(share_server_freep) struct share_server *server = NULL;
	struct rlimit files;
	struct err err = { 0 };
	struct stat st;
	int r;

	log_init("hull-share", LOG_LEVEL_WARNING);
	if (argc < 2 || fstat(SHARE_FD_CHANNEL, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		fputs("hull-share is started by hull, not by hand\n", stderr);
		return 64;
	}
	umask(0); /* the guest's is applied there */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	server = share_server_new(SHARE_FD_CHANNEL);
	if (share_server_set_bulk(server, SHARE_FD_BULK, &err) < 0) {
		log_error("%s", err.message);
		return 1;
	}
	close(SHARE_FD_BULK);
	if (fstat(SHARE_FD_OPENER, &st) == 0 && S_ISSOCK(st.st_mode))
		share_server_set_opener(server, SHARE_FD_OPENER);
	for (int i = 1, fd = SHARE_FD_ROOT; i < argc; i++)
		if (add(server, argv[i], &fd, &err) < 0) {
			log_error("%s", err.message);
			return 1;
		}
	if (share_server_set_state(server, SHARE_FD_STATE, &err) < 0) {
		log_error("%s", err.message);
		return 1;
	}
	do
		r = share_server_turn(server, -1);
	while (r > 0);
	if (r < 0) {
		errno = -r;
		log_error("the channel to the guest ended: %m");
	}
	return r < 0;
}
