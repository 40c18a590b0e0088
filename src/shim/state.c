/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving the machine, and bringing it back.
 *
 * Saving goes in steps, so that the container stands still for the last of them only. First memory
 * and disk are copied while everything runs. Then the guest is asked (MSG_FREEZE) to stop the
 * container's processes and to empty the channel. When it says so (MSG_FROZEN) the machine is
 * stopped, what changed since is copied again, and the state of the devices is saved. At last a
 * machine that was copied goes on (MSG_THAW); one that is suspended ends when its files are synced
 * and have their name.
 *
 * Until the last step nothing of the old state is touched, and what fails leaves the container
 * running. The saved machine of a suspended container is used up when it is brought back: from the
 * moment its processes may run, its disk is ahead of that memory.
 */
#include "shim/clock_sync.h"
#include "shim/saved_disks.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "proto/msg_state.h"
#include "vm/saved.h"

#define FREEZE_DEADLINE_MS 10000
#define FLUSH_MS 2000
#define ROOM_LEFT (16u << 20) /* bytes of the disk, for the container to go on */

struct saving {
	bool suspend;
	char *directory;              /* owned; being filled */
	int ram_fd;                   /* owned */
	struct ram_copy *ram;         /* owned */
	struct saved_disks *disks;    /* owned */
	struct loop_source *deadline; /* owned; of the guest's answer */
	uint64_t freeze_ns;
	struct ctl_saved result;
};

static struct saving *saving_free(struct saving *saving)
{
	if (!saving)
		return NULL;
	ram_copy_free(saving->ram);
	saved_disks_free(saving->disks);
	if (saving->ram_fd >= 0)
		close(saving->ram_fd);
	loop_remove(saving->deadline);
	free(saving->directory);
	free(saving);
	return NULL;
}

/* Answers whoever asked for it; err NULL: it is done. */
static void answer(struct shim *shim, const struct err *err)
{
	for (struct client *client = shim->clients; client; client = client->next) {
		AUTO_SBUF struct sbuf payload = { 0 };

		if (!client->wants_saved || client->dead)
			continue;
		if (err) {
			server_send_error(client, err->code, 125, err->message);
		} else {
			ctl_saved_encode(&shim->saving->result, &payload);
			server_send(client, CTL_SAVED, &payload);
		}
		server_drop(client);
	}
}

/* What was saved so far is not worth anything. */
static void give_up(struct shim *shim, const struct err *err)
{
	struct saving *saving = TAKE_PTR(shim->saving);

	path_remove_tree(saving->directory, NULL);
	answer(shim, err);
	saving_free(saving);
}

/* Lets the container run on. */
static void thaw(struct shim *shim)
{
	if (!shim->guest)
		return;
	mux_hold(shim->guest, false);
	mux_send_control(shim->guest, MSG_THAW, NULL, 0);
	mux_flush(shim->guest, 0);
	clock_sync_soon(shim);
}

void state_cancel(struct shim *shim)
{
	const struct err gone = { .code = -EIO,
				  .message = "the container ended while its state was saved" };

	if (shim->saving)
		give_up(shim, &gone);
}

/* --- step 1 and 2 --- */

static void on_freeze_deadline(void *ctx)
{
	struct shim *shim = ctx;
	const struct err late = { .code = -ETIMEDOUT,
				  .message = "the container's machine does not answer" };

	thaw(shim);
	give_up(shim, &late);
}

static int send_freeze(struct shim *shim, struct err *err)
{
	AUTO_SBUF struct sbuf out = { 0 };
	int r;

	/* What is not on the disk is in the memory that is saved with it. */
	msg_freeze_encode(&(struct msg_freeze){ .sync = false }, &out);
	shim->saving->freeze_ns = clock_monotonic_ns();
	r = mux_send_control(shim->guest, MSG_FREEZE, out.text, out.length);
	if (r == 0)
		r = mux_flush(shim->guest, FLUSH_MS);
	if (r < 0)
		return err_set(err, r, "cannot talk to the guest: %m");
	mux_hold(shim->guest, true);
	shim->saving->deadline = loop_add_timer(shim->loop, on_freeze_deadline, shim);
	loop_arm(shim->saving->deadline, FREEZE_DEADLINE_MS);
	return 0;
}

/* A save that fills the disk would hit the container, which writes to it too: there has to be room
 * for all of it before it begins. */
static int check_room(struct shim *shim, struct err *err)
{
	struct saving *saving = shim->saving;
	AUTO_FREE char *wanted = NULL;
	AUTO_FREE char *there = NULL;
	struct statvfs fs;
	uint64_t needed = 0;
	uint64_t room;
	int r = ram_copy_estimate(saving->ram, &needed, err);

	if (r < 0)
		return r;
	if (!saving->suspend)
		needed += saved_disks_bytes(saving->disks);
	if (statvfs(saving->directory, &fs) < 0)
		return err_set(err, -errno, "cannot look at '%s': %m", saving->directory);
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (room > needed + ROOM_LEFT)
		return 0;
	wanted = str_size(needed);
	there = str_size(room);
	return err_set(err, -ENOSPC, "the machine may take %s, and only %s are free on the disk",
		       wanted, there);
}

static int begin(struct shim *shim, struct err *err)
{
	struct saving *saving = shim->saving;
	AUTO_FREE char *path = saved_ram_path(saving->directory);
	int r = path_remove_tree(saving->directory, err);

	if (r < 0)
		return r;
	if (mkdir(saving->directory, 0700) < 0)
		return err_set(err, -errno, "cannot create '%s': %m", saving->directory);
	saving->ram_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (saving->ram_fd < 0)
		return err_set(err, -errno, "cannot create '%s': %m", path);
	r = vm_copy_memory(shim->vm, saving->ram_fd, &saving->ram, err);
	if (r == 0)
		r = check_room(shim, err);
	if (r == 0)
		r = ram_copy_pass(saving->ram, err);
	if (r < 0)
		return r;
	/* Stopping the machine waits for little then. */
	saved_disks_sync(saving->disks);
	if (!saving->suspend)
		r = saved_disks_copy(saving->disks, saving->directory, err);
	if (r < 0)
		return r;
	log_timeline("shim: memory copied once");
	return send_freeze(shim, err);
}

static int start_saving(struct client *client, char *directory, bool suspend)
{
	struct shim *shim = client->shim;
	struct err err = { 0 };

	if (shim->saving) {
		server_send_error(client, -EBUSY, 125, "its state is being saved already");
		server_drop(client);
		free(directory);
		return 0;
	}
	shim->saving = xcalloc(1, sizeof(*shim->saving));
	*shim->saving = (struct saving){ .suspend = suspend,
					 .directory = directory,
					 .ram_fd = -1,
					 .disks = saved_disks_new(&shim->launch) };
	client->wants_saved = true;
	if (begin(shim, &err) < 0)
		give_up(shim, &err);
	return 0;
}

int state_on_suspend(struct client *client, const uint8_t *data, size_t size)
{
	const struct shim *shim = client->shim;
	AUTO_FREE char *dir = launch_container_dir(shim->launch.root, shim->launch.uuid);

	if (size)
		return -EPROTO;
	return server_is_answering(client)
		       ? start_saving(client, path_join(dir, LAUNCH_SAVING), true)
		       : 0;
}

int state_on_save(struct client *client, const uint8_t *data, size_t size)
{
	const struct shim *shim = client->shim;
	AUTO_FREE char *dir = launch_container_dir(shim->launch.root, shim->launch.uuid);
	const char *name;

	if (ctl_string_decode(data, size, &name) < 0 || !str_starts(name, LAUNCH_COPY_PREFIX) ||
	    strchr(name, '/'))
		return -EPROTO;
	return server_is_answering(client) ? start_saving(client, path_join(dir, "%s", name), false)
					   : 0;
}

/* --- step 3 and 4 --- */

static int save_devices(struct shim *shim, struct err *err)
{
	AUTO_FREE char *path = saved_state_path(shim->saving->directory);
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_set(err, -errno, "cannot create '%s': %m", path);
	return vm_save_devices(shim->vm, fd, err);
}

static int save_stopped(struct shim *shim, struct err *err)
{
	struct saving *saving = shim->saving;
	int r = ram_copy_pass(saving->ram, err);

	log_timeline("shim: memory copied");
	if (r == 0)
		r = save_devices(shim, err);
	log_timeline("shim: devices saved");
	if (r == 0 && shim->shares.pid)
		r = shares_save(shim->shares.state, saving->directory, err);
	if (r == 0 && !saving->suspend)
		r = saved_disks_update(saving->disks, saving->directory, err);
	saving->result.changed_pages = ram_copy_changed_pages(saving->ram);
	return r;
}

static uint64_t us_since(uint64_t ns)
{
	return (clock_monotonic_ns() - ns) / 1000;
}

static bool is_awaited(const struct shim *shim)
{
	for (const struct client *client = shim->clients; client; client = client->next)
		if (client->wants_saved && !client->dead)
			return true;
	return false;
}

static int finish_copy(struct shim *shim, struct err *err)
{
	struct saving *saving = shim->saving;
	struct machine_shape shape = launch_shape(&shim->launch);
	int r = 0;

	/* Nobody else would remove it. */
	if (!is_awaited(shim))
		return err_set(err, -ECANCELED, "nobody waits for the copy any more");
	r = saved_seal(saving->directory, &shape, shim->launch.scratch_slot, false, err);

	if (r < 0)
		return r;
	answer(shim, NULL);
	shim->saving = saving_free(saving);
	return 0;
}

/* From the rename on the container is suspended, whoever dies. */
static int finish_suspend(struct shim *shim, struct err *err)
{
	struct saving *saving = shim->saving;
	struct machine_shape shape = launch_shape(&shim->launch);
	AUTO_FREE char *name = launch_saved_path(shim->launch.root, shim->launch.uuid);
	AUTO_FREE char *message = NULL;
	int r = saved_seal(saving->directory, &shape, shim->launch.scratch_slot, true, err);

	if (r < 0)
		return r;
	saved_disks_sync(saving->disks);
	r = path_remove_tree(name, err);
	if (r < 0)
		return r;
	if (rename(saving->directory, name) < 0)
		return err_set(err, -errno, "cannot rename '%s': %m", saving->directory);
	file_sync_parent(name);
	log_timeline("shim: suspended");
	for (struct client *client = shim->clients; client; client = client->next)
		if (client->wants_saved)
			client->wants_end = client->end_is_ok = true;
	message = xasprintf("container %s was suspended; 'hull resume' goes on with it",
			    shim->container->config.id);
	shim->saving = saving_free(saving);
	shim_end_suspended(shim, message);
	return 0;
}

/* The guest cannot stand still, says why, and runs on. */
int state_refused(struct shim *shim, const uint8_t *data, size_t size)
{
	struct saving *saving = shim->saving;
	struct msg_refused refused;
	struct err err = { 0 };

	if (msg_refused_decode(data, size, &refused) < 0 || !saving || !saving->deadline)
		return -EPROTO;
	saving->deadline = loop_remove(saving->deadline);
	mux_hold(shim->guest, false);
	err_set(&err, -EBUSY, "the container cannot be saved: %s", refused.reason);
	err_sanitize(err.message);
	give_up(shim, &err);
	return 0;
}

int state_frozen(struct shim *shim)
{
	struct saving *saving = shim->saving;
	struct err err = { 0 };
	uint64_t stop_ns = clock_monotonic_ns();
	int r = 0;

	if (!saving || !saving->deadline)
		return saving ? -EPROTO : 0; /* too late: it has been told to go on */
	saving->deadline = loop_remove(saving->deadline);
	log_timeline("shim: container frozen");
	if (shim->phase != PHASE_RUNNING || shim->container->state != CONTAINER_RUNNING)
		r = err_set(&err, -ECANCELED, "something else was done to the container meanwhile");
	if (r == 0)
		r = vm_pause(shim->vm, &err);
	log_timeline("shim: machine stopped");
	if (r == 0)
		r = save_stopped(shim, &err);
	if (r == 0 && saving->suspend)
		r = finish_suspend(shim, &err);
	saving = shim->saving;
	if (!saving)
		return 0; /* it is suspended */
	if (shim->container->state != CONTAINER_PAUSED)
		vm_resume(shim->vm, r == 0 ? &err : NULL);
	saving->result.stopped_us = us_since(stop_ns);
	thaw(shim);
	saving->result.frozen_us = us_since(saving->freeze_ns);
	log_timeline("shim: machine goes on");
	if (r == 0)
		r = finish_copy(shim, &err);
	if (r < 0)
		give_up(shim, &err);
	return 0;
}

/* --- bringing it back --- */

bool state_is_restore(const struct shim *shim)
{
	return shim->launch.saved_directory;
}

void state_open(struct shim *shim)
{
	saved_as_template(shim->launch.saved_directory, shim->launch.memory_bytes, &shim->template);
	shim->has_template = true;
	/* It is suspended until its processes may run. */
	shim->suspended = !shim->launch.is_copy;
}

static int send_rejoin(struct shim *shim, struct err *err)
{
	AUTO_SBUF struct sbuf session = { 0 };
	AUTO_SBUF struct sbuf out = { 0 };
	struct msg_rejoin rejoin = {
		.is_copy = shim->launch.is_copy,
		.generation = shim->launch.generation,
		.index = shim->launch.copy_index,
		.count = shim->launch.copy_count,
		.id = shim->container->config.id,
		.origin = shim->launch.origin,
		.signal = shim->launch.fork_signal,
	};
	int r = shim_encode_session(shim, &session, err);

	if (r < 0)
		return r;
	rejoin.session = (const uint8_t *)session.text;
	rejoin.session_size = session.length;
	msg_rejoin_encode(&rejoin, &out);
	relay_add_main(shim);
	r = mux_send_control(shim->guest, MSG_REJOIN, out.text, out.length);
	return r < 0 ? err_set(err, r, "cannot talk to the guest: %m") : 0;
}

int state_rejoin(struct shim *shim, struct err *err)
{
	AUTO_FREE char *description = NULL;

	if (!shim->launch.is_copy) {
		description = path_join(shim->launch.saved_directory, "saved.json");
		if (unlink(description) < 0)
			return err_set(err, -errno, "cannot remove '%s': %m", description);
		file_sync_parent(description);
		shim->suspended = false;
		/* The machine has its files open. */
		path_remove_tree(shim->launch.saved_directory, NULL);
	}
	return send_rejoin(shim, err);
}

void state_forget(struct shim *shim)
{
	if (!state_is_restore(shim))
		return;
	free(TAKE_PTR(shim->launch.saved_directory));
	template_release(&shim->template);
	shim->has_template = shim->launch.template_directory;
	if (shim->has_template)
		template_open(shim->launch.template_directory, shim->launch.memory_bytes,
			      &shim->template);
}
