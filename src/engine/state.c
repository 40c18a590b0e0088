/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a container's machine: kept, and brought back. */
#include "engine/internal.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "shim/client.h"
#include "vm/saved.h"

#define EXIT_CODE_GIVEN_UP 137 /* as if its process had been killed */

int state_fill_launch(struct engine *engine, const struct machine *machine, struct launch *launch,
		      struct err *err)
{
	struct saved saved;
	int r = saved_open(launch->saved_directory, machine->qemu, &saved, err);

	if (r < 0)
		return r;
	free(launch->accel);
	launch->accel = xstrdup(accel_names[saved.accel]);
	launch->vcpus = saved.vcpus;
	launch->memory_bytes = saved.memory_bytes;
	launch->devices = saved.devices;
	launch->scratch_slot = saved.scratch_slot;
	return 0;
}

int engine_suspend(struct engine *engine, const char *id, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	int fd = -1;
	int r = engine_get(engine, id, &container, err);

	if (r == 0)
		r = container_connect(engine, container, &fd, err);
	return r < 0 ? r : client_request(fd, CTL_SUSPEND, NULL, NULL, err);
}

int engine_resume(struct engine *engine, const char *id, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	int status = 0;
	int r = engine_get(engine, id, &container, err);

	if (r < 0)
		return r;
	if (container->state != CONTAINER_SUSPENDED)
		return err_set(err, -EINVAL, "container %s is not suspended", container->config.id);
	return engine_start(engine, id, NULL, &status, err);
}

int state_give_up(struct engine *engine, const struct container *container, struct err *err)
{
	CLEANUP(container_freep) struct container *fresh = NULL;
	AUTO_FREE char *directory = launch_saved_path(engine->root, container->uuid);
	AUTO_CLOSE int lock_fd = -1;
	int r = container_lock(engine, container, &lock_fd, err);

	if (r == 0)
		r = containers_get_uuid(engine->store, container->uuid, &fresh, err);
	if (r != 0 || fresh->state != CONTAINER_SUSPENDED)
		return r;
	fresh->state = CONTAINER_STOPPED;
	fresh->has_exit_code = true;
	fresh->exit_code = EXIT_CODE_GIVEN_UP;
	fresh->finished_at = time(NULL);
	r = containers_update(engine->store, fresh, err);
	return r < 0 ? r : path_remove_tree(directory, err);
}
