/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing a container to life, and joining commands to what runs in it. */
#include "engine/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "disk/ext4.h"
#include "disk/scratch.h"
#include "engine/copies.h"
#include "engine/files.h"
#include "engine/networks.h"
#include "engine/volume_copies.h"
#include "shim/client.h"
#include "shim/launch.h"
#include "shim/session.h"

/* One of its own size: no other container has one like it. */
static int make_scratch(struct engine *engine, const struct container *container, const char *path,
			struct err *err)
{
	const struct ext4_options options = scratch_options(container->config.storage_bytes, true);

	return ext4_make(path, &options, err);
}

/*
 * The container's scratch disk. A fresh one is a copy of the disk that the template's guest has
 * mounted, and takes its slot. One that was used before no longer matches what that guest remembers
 * of it: it gets the next slot, and is mounted there.
 */
static int place_scratch(struct engine *engine, const struct container *container,
			 const struct machine *machine, const struct template *template,
			 uint32_t *ret_slot, struct err *err)
{
	AUTO_FREE char *dir = launch_container_dir(engine->root, container->uuid);
	AUTO_FREE char *path = path_join(dir, "scratch.img");
	const char *from = template->scratch_path ? template->scratch_path : machine->scratch;
	int r = path_make_dirs(dir, 0700, err);

	if (r < 0)
		return r;
	if (container->config.storage_bytes) {
		*ret_slot = LAUNCH_SCRATCH_USED;
		return path_exists(path) ? 0 : make_scratch(engine, container, path, err);
	}
	*ret_slot = path_exists(path) && template->scratch_path ? LAUNCH_SCRATCH_USED
								: LAUNCH_SCRATCH_FRESH;
	return path_exists(path) ? 0 : scratch_copy(from, path, err);
}

/* The image's own template, or (plain) the one for all. */
static int choose_template(struct engine *engine, const struct machine *machine,
			   const char *image_disk, struct template *ret_template, bool *ret_plain,
			   struct err *err)
{
	*ret_plain = false;
	if (!engine->config.image_templates)
		return machine_template(engine, machine, ret_template, err);
	if (machine_image_template(engine, machine, image_disk, ret_template, NULL) == 0)
		return 0;
	*ret_plain = true;
	return machine_template(engine, machine, ret_template, err);
}

/* What does not depend on whether the machine starts or goes on. */
static void fill_launch(struct engine *engine, const struct container *container,
			const struct machine *machine, const struct stdio_options *stdio,
			struct launch *launch)
{
	*launch = (struct launch){
		.files = launch->files,
		.uuid = xstrdup(container->uuid),
		.root = xstrdup(engine->root),
		.run = xstrdup(engine->run),
		.accel = xstrdup(accel_names[machine->shape.accel]),
		.vcpus = machine->shape.vcpus,
		.memory_bytes = machine->shape.memory_bytes,
		.devices = machine->shape.devices,
		.qemu = xstrdup(machine->qemu),
		.kernel = xstrdup(machine->kernel),
		.modules = xstrdup(machine->modules),
		.init = xstrdup(machine->init),
		.scratch = xstrdup(machine->scratch),
		.root_disk = content_disk_descriptor_path(engine->root, container->config.root_key),
		.debug = engine->debug,
		.timeline_origin_ns = log_timeline_get_origin(),
	};
	networks_fill_launch(engine, launch);
	launch->share_server = path_join(engine->programs, "hull-share");
	launch->ssh_socket = container->config.ssh ? secrets_agent(engine) : NULL;
	if (stdio)
		launch->attach = (stdio->input ? CTL_ATTACH_INPUT : 0u) |
				 (stdio->output ? CTL_ATTACH_OUTPUT : 0u);
	if (container->config.process.terminal)
		client_window_size(&launch->rows, &launch->columns);
}

/* ret_plain: whether the image should get a template of its own. */
static int fill_start(struct engine *engine, const struct container *container,
		      const struct machine *machine, struct launch *launch, bool *ret_plain,
		      struct err *err)
{
	CLEANUP(template_release) struct template template = { 0 };
	int r = secrets_fill_launch(engine, &container->config, launch, err);

	if (r == 0 && engine->config.template)
		r = choose_template(engine, machine, launch->root_disk, &template, ret_plain, err);
	if (r < 0)
		return r;
	launch->template_directory = xstrdup(template.directory);
	log_debug("starts from %s", str_or(template.directory, "no template"));
	log_debug("its emulator is %s", machine->qemu);
	return place_scratch(engine, container, machine, &template, &launch->scratch_slot, err);
}

/* Starts the shim; *ret_client is our connection to it. Returns its pid. */
static int spawn_shim(struct engine *engine, const struct launch *launch, int lock_fd,
		      int *ret_client, struct err *err)
{
	AUTO_FREE char *program = path_join(engine->programs, "hull-shim");
	AUTO_CLOSE int spec_fd = -1;
	AUTO_CLOSE int ours = -1;
	AUTO_CLOSE int theirs = -1;
	AUTO_CLOSE int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	char *argv[] = { program, launch->uuid, NULL };
	int pair[2] = { -1, -1 };
	pid_t pid;
	int r = launch_write(launch, &spec_fd, err);

	copies_clear_container(engine, launch->uuid);
	if (r == 0)
		r = sock_pair(pair, err);
	if (r < 0)
		return r;
	ours = pair[0];
	theirs = pair[1];
	struct proc_fd fds[6 + MACHINE_DISKS_MAX] = { { theirs, LAUNCH_FD_CLIENT },
						      { spec_fd, LAUNCH_FD_SPEC },
						      { lock_fd, LAUNCH_FD_LOCK },
						      { null_fd, 0 },
						      { null_fd, 1 } };
	struct proc_spec spec = { .argv = argv, .fds = fds, .fd_count = 5, .new_session = true };
	int volume_fd = LAUNCH_FD_VOLUMES;

	if (!engine->debug)
		fds[spec.fd_count++] = (struct proc_fd){ null_fd, 2 };
	VEC_EACH (&launch->volumes, it)
		if (it->lock_fd >= 0)
			fds[spec.fd_count++] = (struct proc_fd){ it->lock_fd, volume_fd++ };
	r = proc_spawn(&spec, &pid, err);
	if (r < 0)
		return r;
	log_timeline("hull: shim spawned");
	*ret_client = TAKE_FD(ours);
	return pid;
}

/* Has a template made for the image that was started, for its next start: in the background, at no
 * cost to this one. What goes wrong there is not missed. */
static void spawn_template(struct engine *engine, const struct launch *launch)
{
	AUTO_FREE char *program = path_join(engine->programs, "hull-template");
	AUTO_CLOSE int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	AUTO_CLOSE int spec_fd = -1;
	char *argv[] = { program, NULL };
	pid_t pid;

	if (null_fd < 0 || launch_write(launch, &spec_fd, NULL) < 0)
		return;
	struct proc_fd fds[] = {
		{ spec_fd, LAUNCH_FD_SPEC }, { null_fd, 0 }, { null_fd, 1 }, { null_fd, 2 }
	};
	struct proc_spec spec = {
		.argv = argv, .fds = fds, .fd_count = ARRAY_SIZE(fds), .new_session = true
	};

	proc_spawn(&spec, &pid, NULL);
}

/* The image's disk, made again from its blobs if it is not there (any more). */
static int require_disk(struct engine *engine, const struct container_config *config,
			struct err *err)
{
	AUTO_FREE char *platform = NULL;
	struct err reason = { 0 };

	if (image_disk_ready(engine->root, config->root_key))
		return 0;
	platform = xasprintf("%s/%s%s%s", config->platform.os, config->platform.architecture,
			     config->platform.variant ? "/" : "",
			     str_or(config->platform.variant, ""));
	if (images_prepare(engine, config->image.reference, config->manifest_digest, platform,
			   &reason) < 0)
		return err_set(err, -ENOENT,
			       "the image of container %s is gone (%s); pull %s again and recreate "
			       "it",
			       config->id, reason.message, config->image.reference);
	return 0;
}

/* Its machine goes on from where it was saved. */
static int fill_resume(struct engine *engine, const struct container *container,
		       struct machine *machine, struct launch *launch, struct err *err)
{
	int r;

	launch->saved_directory = launch_saved_path(engine->root, container->uuid);
	r = state_fill_launch(engine, machine, launch, err);
	if (r == -ESTALE || r == -EBADMSG) {
		struct err reason = *err;

		return err_set(err, r,
			       "container %s cannot be resumed: %s; 'hull stop %s' gives up its "
			       "memory and keeps its disk",
			       container->config.id, reason.message, container->config.id);
	}
	return r;
}

/* Everything a start needs, in the order of what can fail for the user's reasons first. Returns the
 * shim's pid. */
static int launch_container(struct engine *engine, const struct container *container, int lock_fd,
			    const struct stdio_options *stdio, struct launch *launch,
			    bool *ret_plain, int *ret_client, struct err *err)
{
	CLEANUP(machine_release) struct machine machine = { 0 };
	const struct container_config *config = &container->config;
	const struct machine_needs needs = machine_needs_of(engine, config);
	int r;

	r = require_disk(engine, config, err);
	if (r < 0)
		return r;
	r = machine_choose(engine, &needs, &machine, err);
	if (r < 0)
		return r;
	fill_launch(engine, container, &machine, stdio, launch);
	/* It says which slots its volumes are in. */
	if (container->state == CONTAINER_SUSPENDED)
		r = fill_resume(engine, container, &machine, launch, err);
	if (r == 0)
		r = container_attach_volumes(engine, container, launch, err);
	if (r == 0 && container->state != CONTAINER_SUSPENDED)
		r = fill_start(engine, container, &machine, launch, ret_plain, err);
	if (r == 0) {
		log_timeline("hull: launch ready");
		r = spawn_shim(engine, launch, lock_fd, ret_client, err);
	}
	launch_unlock_volumes(launch); /* the shim's now */
	launch_release_secrets(launch);
	return r;
}

static void move_volumes(struct launch *from, struct launch *to)
{
	VEC_EACH (&from->volumes, it)
		VEC_PUSH(&to->volumes, *it);
	VEC_FREE(&from->volumes);
}

/* What it writes to is its own; what it reads has to be as it was. */
static int attach_copy(struct engine *engine, const struct container *container,
		       const struct copy_start *copy, struct launch *launch, struct err *err)
{
	int r = 0;

	if (copy->attached)
		move_volumes(copy->attached, launch);
	else
		r = container_attach_volumes(engine, container, launch, err);
	return r < 0 ? r : volume_copies_check(copy->volumes, launch, err);
}

int launch_copy(struct engine *engine, const struct container *container, int lock_fd,
		const struct copy_start *copy, int *ret_client, struct err *err)
{
	CLEANUP(machine_release) struct machine machine = { 0 };
	CLEANUP(launch_release) struct launch launch = { 0 };
	CLEANUP(template_release) struct template template = { 0 };
	const struct machine_needs needs = machine_needs_of(engine, &container->config);
	int r = require_disk(engine, &container->config, err);

	if (r == 0)
		r = machine_choose(engine, &needs, &machine, err);
	if (r < 0)
		return r;
	fill_launch(engine, container, &machine, NULL, &launch);
	launch.saved_directory = xstrdup(copy->directory);
	launch.origin = xstrdup(container->config.origin);
	launch.is_copy = true;
	launch.generation = container->config.generation;
	launch.copy_index = container->config.fork_index;
	launch.copy_count = copy->count;
	launch.fork_signal = copy->signal;
	/* Should it be started again when it ends, it starts from the beginning. */
	if (engine->config.template && container->config.restart &&
	    machine_template(engine, &machine, &template, NULL) == 0)
		launch.template_directory = xstrdup(template.directory);
	r = state_fill_launch(engine, &machine, &launch, err);
	if (r == 0)
		r = attach_copy(engine, container, copy, &launch, err);
	return r < 0 ? r : spawn_shim(engine, &launch, lock_fd, ret_client, err);
}

static struct attach_options attach_options_of(const struct stdio_options *stdio)
{
	struct attach_options options = { .until_started = !stdio };

	if (stdio)
		options = (struct attach_options){ .input = stdio->input,
						   .output = stdio->output,
						   .terminal = stdio->terminal,
						   .signals = stdio->signals,
						   .detach_keys = stdio->detach_keys };
	return options;
}

struct started {
	struct engine *engine;
	const char *uuid;
};

static void on_started(void *ctx);

int await_start(struct engine *engine, const struct container *container, int client,
		struct err *err)
{
	struct started started = { .engine = engine, .uuid = container->uuid };
	struct attach_options options = attach_options_of(NULL);
	struct attach_result result = { 0 };

	options.started = on_started;
	options.started_ctx = &started;
	return client_attach(client, 0, NULL, &options, &result, err);
}

static void on_started(void *ctx)
{
	const struct started *started = ctx;

	networks_announce(started->engine, started->uuid);
}

static int finish_attach(int r, const struct attach_result *result, int *ret_status)
{
	if (ret_status)
		*ret_status = result->detached ? ENGINE_DETACHED : (int)result->status;
	return r;
}

/* A container that did not start and was to be removed leaves nothing; its shim has seen to that
 * unless it never ran. */
static void clear_failed_start(struct engine *engine, const struct container *container)
{
	if (container->config.auto_remove && container->state != CONTAINER_SUSPENDED)
		container_remove(engine, container, NULL);
}

/* The container with its lock, as it is once nobody else starts or removes it. */
static int take_container(struct engine *engine, const char *id, struct container **ret_container,
			  int *ret_lock_fd, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	CLEANUP(container_freep) struct container *now = NULL;
	AUTO_CLOSE int lock_fd = -1;
	int r = engine_get(engine, id, &container, err);

	if (r < 0)
		return r;
	if (engine->created_lock_fd >= 0 && str_eq(engine->created_uuid, container->uuid)) {
		*ret_lock_fd = TAKE_FD(engine->created_lock_fd);
		*ret_container = TAKE_PTR(container);
		return 0;
	}
	r = files_lock(engine, container, &lock_fd, err);
	if (r < 0)
		return r;
	if (containers_get_uuid(engine->store, container->uuid, &now, NULL) == -ENOENT) {
		container_remove_files(engine, container->uuid);
		return err_set(err, -ENOENT, "container not found: %s", id);
	}
	*ret_lock_fd = TAKE_FD(lock_fd);
	*ret_container = now ? TAKE_PTR(now) : TAKE_PTR(container);
	return 0;
}

int engine_start(struct engine *engine, const char *id, const struct stdio_options *stdio,
		 int *ret_status, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	struct attach_options options = attach_options_of(stdio);
	struct attach_result result = { .status = 125 };
	CLEANUP(launch_release) struct launch launch = { 0 };
	AUTO_CLOSE int lock_fd = -1;
	bool plain = false;
	struct started started = { .engine = engine };
	int client = -1;
	int r = take_container(engine, id, &container, &lock_fd, err);

	if (r < 0)
		return r;
	r = networks_take_leases(engine, container, err);
	if (r == 0)
		r = launch_container(engine, container, lock_fd, stdio, &launch, &plain, &client,
				     err);
	if (r < 0) {
		clear_failed_start(engine, container);
		return r;
	}
	close(TAKE_FD(lock_fd)); /* the shim's now */
	started.uuid = container->uuid;
	options.started = on_started;
	options.started_ctx = &started;
	r = client_attach(client, 0, NULL, &options, &result, err);
	log_timeline("hull: end");
	if (r == 0 && plain)
		spawn_template(engine, &launch);
	return finish_attach(r, &result, ret_status);
}

/* A machine of the container with its disks, where nothing runs. */
static int launch_files(struct engine *engine, const char *id, struct files *ret_files,
			struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	CLEANUP(launch_release) struct launch launch = { .files = true };
	AUTO_CLOSE int lock_fd = -1;
	bool plain = false;
	int client = -1;
	int r = take_container(engine, id, &container, &lock_fd, err);

	if (r == 0)
		r = launch_container(engine, container, lock_fd, NULL, &launch, &plain, &client,
				     err);
	if (r < 0)
		return r;
	*ret_files = (struct files){ .connection = client, .shim = r };
	return 0;
}

int files_open(struct engine *engine, const char *id, struct files *ret_files, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	int r = engine_get(engine, id, &container, err);

	if (r < 0)
		return r;
	if (container->state == CONTAINER_SUSPENDED)
		return err_set(err, -EINVAL, "container %s is suspended; 'hull resume' it first",
			       container->config.id);
	ret_files->shim = 0;
	if (container_is_active(container))
		return container_connect(engine, container, &ret_files->connection, err);
	r = launch_files(engine, id, ret_files, err);
	if (r != -EBUSY)
		return r;
	/* Somebody was faster and starts it: its supervisor answers when it runs. */
	ret_files->connection = client_connect(engine->root, container->uuid, NULL);
	return ret_files->connection < 0 ? r : 0;
}

/* A connection to the shim of a container that runs. */
static int connect_running(struct engine *engine, const char *id, struct container **ret_container,
			   int *ret_fd, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	int r = containers_get(engine->store, id, &container, err);

	if (r == 0)
		r = container_connect(engine, container, ret_fd, err);
	if (r == 0)
		*ret_container = TAKE_PTR(container);
	return r;
}

int engine_attach(struct engine *engine, const char *id, const struct stdio_options *stdio,
		  int *ret_status, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	AUTO_SBUF struct sbuf payload = { 0 };
	struct stdio_options adjusted = *stdio;
	struct attach_options options;
	struct attach_result result = { .status = 125 };
	int fd = -1;
	int r = connect_running(engine, id, &container, &fd, err);

	if (r != 0)
		return r;
	adjusted.terminal = stdio->terminal && container->config.process.terminal;
	options = attach_options_of(&adjusted);
	ctl_numbers_encode((stdio->input ? CTL_ATTACH_INPUT : 0u) |
				   (stdio->output ? CTL_ATTACH_OUTPUT : 0u),
			   0, &payload);
	r = client_attach(fd, CTL_ATTACH, &payload, &options, &result, err);
	return finish_attach(r, &result, ret_status);
}

/* The process of an exec: what is given over what the container's own process has. */
static int encode_exec(const struct container *container, const struct exec_options *options,
		       struct sbuf *out, struct err *err)
{
	const struct process_config *base = &container->config.process;
	const struct process_config *given = options->process;
	AUTO_STRV char **environment = strv_copy(base->environment);
	bool privileged = options->privileged || container->config.privileged;
	struct process_config process = *given;
	uint64_t capabilities = 0;
	uint32_t rows = 0;
	uint32_t columns = 0;
	int r = session_capabilities(privileged, container->config.cap_add,
				     container->config.cap_drop, &capabilities, err);

	if (r < 0)
		return r;
	STRV_EACH (given->environment, it)
		environment_set(&environment, *it);
	process.executable = options->arguments[0];
	process.arguments = (char **)options->arguments + 1;
	process.environment = environment;
	process.user = given->user ? given->user : base->user;
	process.working_directory =
		given->working_directory ? given->working_directory : base->working_directory;
	if (!given->rlimits.count) {
		process.rlimits.items = base->rlimits.items;
		process.rlimits.count = base->rlimits.count;
	}
	if (given->terminal)
		client_window_size(&rows, &columns);
	return session_encode_process(&process, MSG_PROCESS_MAIN + 1, privileged, false,
				      capabilities, (uint16_t)rows, (uint16_t)columns, out, err);
}

int engine_exec(struct engine *engine, const char *id, const struct exec_options *options,
		const struct stdio_options *stdio, int *ret_status, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	AUTO_SBUF struct sbuf payload = { 0 };
	struct attach_options attach = attach_options_of(options->detach ? NULL : stdio);
	struct attach_result result = { .status = 125 };
	int fd = -1;
	int r = connect_running(engine, id, &container, &fd, err);

	if (r != 0)
		return r;
	r = encode_exec(container, options, &payload, err);
	if (r < 0) {
		close(fd);
		return r;
	}
	log_timeline("hull: exec sent");
	r = client_attach(fd, CTL_EXEC, &payload, &attach, &result, err);
	log_timeline("hull: end");
	return finish_attach(r, &result, ret_status);
}
