/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"

#define LOOK_MS 1000 /* nobody tells when there is room */
/* Less of it would be full again at once. */
#define ROOM_BYTES ((uint64_t)16 << 20)

static bool has_room(const char *path)
{
	struct statvfs st;

	if (statvfs(path, &st) < 0)
		return false;
	return (uint64_t)(geteuid() == 0 ? st.f_bfree : st.f_bavail) * st.f_frsize >= ROOM_BYTES;
}

static bool has_room_everywhere(const struct shim *shim)
{
	AUTO_FREE char *dir = launch_container_dir(shim->launch.root, shim->launch.uuid);

	if (!has_room(dir))
		return false;
	VEC_EACH (&shim->launch.volumes, it)
		if (!it->read_only && !has_room(it->path))
			return false;
	return true;
}

static void on_look(void *ctx)
{
	struct shim *shim = ctx;
	struct err err = { 0 };

	if (!shim->held || shim->phase != PHASE_RUNNING)
		return;
	if (!has_room_everywhere(shim)) {
		loop_arm(shim->hold, LOOK_MS);
		return;
	}
	if (vm_resume(shim->vm, &err) < 0) {
		log_error("container=%s cannot go on: %s", shim->container->config.id, err.message);
		loop_arm(shim->hold, LOOK_MS);
		return;
	}
	shim_set_state(shim, CONTAINER_RUNNING);
}

void hold_begin(struct shim *shim)
{
	AUTO_FREE char *path = launch_held_path(shim->launch.root, shim->launch.uuid);
	AUTO_CLOSE int fd = -1;

	if (shim->container->state == CONTAINER_PAUSED)
		return; /* it is, for this or because somebody wants it to be */
	log_warning("container=%s paused: the host's disk is full", shim->container->config.id);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		log_error("container=%s cannot tell that it is paused: %m",
			  shim->container->config.id);
	shim->held = true;
	shim_set_state(shim, CONTAINER_PAUSED);
	if (!shim->hold)
		shim->hold = loop_add_timer(shim->loop, on_look, shim);
	loop_arm(shim->hold, LOOK_MS);
}

void hold_end(struct shim *shim)
{
	AUTO_FREE char *path = launch_held_path(shim->launch.root, shim->launch.uuid);

	unlink(path); /* of a supervisor that was killed, too */
	shim->held = false;
	if (shim->hold)
		loop_disarm(shim->hold);
}

char *hold_message(const struct shim *shim)
{
	return xasprintf(shim->held ? "container %s is paused: the host's disk is full; it goes on "
				      "when there is room"
				    : "container %s is paused; 'hull unpause' it first",
			 shim->container->config.id);
}
