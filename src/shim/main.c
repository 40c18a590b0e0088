/* SPDX-License-Identifier: Apache-2.0 */
/* hull-shim: started by the engine (engine/start.c), never by hand. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "shim/confine.h"
#include "shim/shim.h"
#include "shim/single_files.h"

#define WORDS_MAX ((off_t)64 * 1024)

/* What it says goes beside the container's log, for `hull system logs`. */
static void keep_words(const char *dir)
{
	AUTO_FREE char *path = path_join(dir, "shim.log");
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size > WORDS_MAX && ftruncate(fd, 0) < 0)
		log_debug("the old log stays");
	log_redirect(fd, WORDS_MAX);
}

static int set_up(struct shim *shim, char *program, struct err *err)
{
	AUTO_FREE char *dir = NULL;
	AUTO_FREE char *log_path = NULL;
	int r = launch_read(LAUNCH_FD_SPEC, &shim->launch, err);

	close(LAUNCH_FD_SPEC);
	if (r < 0)
		return r;
	shim->lock_fd = LAUNCH_FD_LOCK;
	fd_set_cloexec(LAUNCH_FD_LOCK, true);
	fd_set_cloexec(LAUNCH_FD_CLIENT, true);
	if (shim->launch.debug)
		log_init("hull-shim", LOG_LEVEL_DEBUG);
	log_timeline_origin(shim->launch.timeline_origin_ns);
	log_timeline("shim: started");
	if (state_is_restore(shim)) {
		state_open(shim);
	} else if (shim->launch.template_directory) {
		template_open(shim->launch.template_directory, shim->launch.memory_bytes,
			      &shim->template);
		shim->has_template = true;
	}
	r = clerk_start(shim->launch.root, shim->launch.uuid, program, &shim->clerk, err);
	if (r == 0)
		r = clerk_get(shim->clerk, &shim->container, err);
	if (r == 0 && !shim->container->config.networks.count && shim->launch.netd)
		r = clerk_start_starter(&shim->launch, program, &shim->starter, err);
	if (r == 0 && !shim->launch.files)
		r = shim->opener =
			single_files_start(&shim->launch, &shim->container->config, program, err);
	if (r < 0)
		return r;
	dir = launch_container_dir(shim->launch.root, shim->launch.uuid);
	if (!shim->launch.debug)
		keep_words(dir);
	log_path = path_join(dir, "log");
	r = log_writer_open(log_path, &shim->log, err);
	return r < 0 ? r : confine_shim(&shim->launch, &shim->container->config, err);
}

/* The starter waits on its connection for the first word; it must hear why there will be none. */
static void report_failure(struct shim *shim, const struct err *err)
{
	struct client *client = server_add_client(shim, LAUNCH_FD_CLIENT);

	server_send_error(client, err->code, 125, err->message);
	mux_flush(client->mux, 1000);
}

int main(int argc, char **argv)
{
	struct shim shim = {
		.lock_fd = -1, .listener = -1, .answer_ms = SHIM_ANSWER_MS, .loop = loop_new()
	};
	struct err err = { 0 };

	log_init("hull-shim", LOG_LEVEL_WARNING);
	if (argc != 2 || fcntl(LAUNCH_FD_SPEC, F_GETFD) < 0 ||
	    fcntl(LAUNCH_FD_CLIENT, F_GETFD) < 0 || fcntl(LAUNCH_FD_LOCK, F_GETFD) < 0) {
		fputs("hull-shim is started by hull, not by hand\n", stderr);
		return 64;
	}
	if (set_up(&shim, argv[0], &err) < 0) {
		report_failure(&shim, &err);
		return 1;
	}
	if (shim_run(&shim, &err) < 0) {
		log_error("container=%s %s", shim.launch.uuid, err.message);
		return 1;
	}
	return 0;
}
