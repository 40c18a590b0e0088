/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/files.h"

#include <errno.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/proc.h"
#include "shim/client.h"

/* For who holds the lock and has no socket: it is on its way to one, and may have to make a
 * template first, or it is done soon. */
#define ATTEMPTS 3000
#define PAUSE_MS 20

void files_release(struct files *files)
{
	if (files->connection >= 0)
		close(TAKE_FD(files->connection));
	if (files->shim > 0)
		proc_wait(files->shim);
	files->shim = 0;
}

static bool has_ended(pid_t pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid;
}

int files_join(struct engine *engine, const struct container *container, const struct files *first,
	       struct files *ret_files, struct err *err)
{
	for (int i = 0; i < ATTEMPTS && !has_ended(first->shim); i++) {
		int fd = client_connect(engine->root, container->uuid, NULL);

		if (fd >= 0) {
			*ret_files = (struct files){ .connection = fd };
			return 0;
		}
		poll(NULL, 0, PAUSE_MS);
	}
	return err_set(err, -EIO, "cannot reach the machine of container %s", container->config.id);
}

int files_lock(struct engine *engine, const struct container *container, int *ret_fd,
	       struct err *err)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		int r = container_lock(engine, container, ret_fd, err);
		int fd;

		if (r != -EBUSY)
			return r;
		fd = client_connect(engine->root, container->uuid, NULL);
		if (fd < 0) {
			poll(NULL, 0, PAUSE_MS);
			continue;
		}
		r = client_request(fd, CTL_COPY_END, NULL, NULL, err);
		if (r < 0 && r != -EPIPE)
			return r;
	}
	return err_set(err, -EBUSY, "container %s is in use by another command",
		       container->config.id);
}
