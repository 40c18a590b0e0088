/* SPDX-License-Identifier: Apache-2.0 */
/* Making a container: flags over the image's configuration over defaults, as one row. */
#include "engine/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/str.h"
#include "disk/ext4.h"
#include "engine/networks.h"
#include "shim/session.h"
#include "shim/socket_relays.h"

#define PATH_DEFAULT "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define MIB (1ull << 20)
#define MEMORY_MIN (16 * MIB)

void environment_set(char ***environment, const char *assignment)
{
	size_t name = strcspn(assignment, "=") + 1;

	STRV_EACH (*environment, it) {
		if (strncmp(*it, assignment, name) != 0)
			continue;
		char **slot = (char **)it;

		free(*slot);
		*slot = xstrdup(assignment);
		return;
	}
	strv_push(environment, assignment);
}

static void push_json_strings(char ***strv, const json_t *array)
{
	size_t i;
	json_t *item;

	json_array_foreach (array, i, item)
		if (json_is_string(item))
			strv_push(strv, json_string_value(item));
}

/* Entry point and command, with docker's rules: arguments replace the command; --entrypoint
 * replaces both; "" as entry point means none. */
static int resolve_command(const struct create_options *options, const struct image_process *image,
			   struct process_config *process, struct err *err)
{
	AUTO_STRV char **all = NULL;

	if (options->entrypoint) {
		if (*options->entrypoint)
			strv_push(&all, options->entrypoint);
	} else {
		push_json_strings(&all, image->entrypoint);
	}
	if (strv_count(options->arguments)) {
		STRV_EACH (options->arguments, it)
			strv_push(&all, *it);
	} else if (!options->entrypoint) {
		push_json_strings(&all, image->cmd);
	}
	if (!all || !all[0])
		return err_set(err, -EINVAL, "image '%s' has no command; give one after its name",
			       options->image);
	process->executable = xstrdup(all[0]);
	process->arguments = strv_copy(all + 1);
	return 0;
}

static int resolve_process(const struct create_options *options, const struct image_process *image,
			   struct process_config *process, struct err *err)
{
	const struct process_config *given = &options->config->process;

	push_json_strings(&process->environment, image->env);
	if (!strv_count(process->environment))
		strv_push(&process->environment, PATH_DEFAULT);
	if (options->config->ssh)
		environment_set(&process->environment, "SSH_AUTH_SOCK=" SSH_SOCKET_TARGET);
	STRV_EACH (given->environment, it)
		environment_set(&process->environment, *it);
	process->working_directory =
		xstrdup(str_or(given->working_directory, str_or(image->working_directory, "/")));
	if (!*process->working_directory) {
		free(process->working_directory);
		process->working_directory = xstrdup("/");
	}
	process->user = xstrdup(given->user ? given->user : image->user);
	process->terminal = given->terminal;
	process->stdin_open = given->stdin_open;
	process->supplemental_groups = strv_copy(given->supplemental_groups);
	VEC_EACH (&given->rlimits, it)
		VEC_PUSH(&process->rlimits,
			 ((struct rlimit_config){ xstrdup(it->name), it->soft, it->hard }));
	return resolve_command(options, image, process, err);
}

int container_check_id(const char *id, struct err *err)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t n = strlen(id);

	if (n < 2 || n > 63 || !strchr(allowed, id[0]))
		return err_set(err, -EINVAL,
			       "invalid container name '%s': 2 to 63 of letters, digits, '_', '.' "
			       "and '-', the first a letter or digit",
			       id);
	for (size_t i = 0; i < n; i++)
		if (!strchr(allowed, id[i]) && !strchr("_.-", id[i]))
			return err_set(err, -EINVAL,
				       "invalid character '%c' in container name '%s'", id[i], id);
	return 0;
}

static void resolve_labels(const struct create_options *options, const struct image_process *image,
			   struct container_config *config)
{
	if (image->labels)
		json_object_update(config->labels, image->labels);
	if (options->config->labels)
		json_object_update(config->labels, options->config->labels);
}

static void resolve_sockets(const struct container_config *given, struct container_config *config)
{
	config->ssh = given->ssh;
	VEC_EACH (&given->sockets, it)
		VEC_PUSH(&config->sockets, ((struct socket_config){ xstrdup(it->host_path),
								    xstrdup(it->container_path) }));
	VEC_EACH (&given->secrets, it)
		VEC_PUSH(&config->secrets,
			 ((struct secret_config){ xstrdup(it->id), xstrdup(it->file),
						  xstrdup(it->variable), xstrdup(it->target),
						  it->mode }));
}

static void resolve_rest(struct engine *engine, const struct container_config *given,
			 const struct image_process *image, struct container_config *config)
{
	config->cpus = given->cpus ? given->cpus : engine->config.cpus;
	config->cpu_percent = given->cpu_percent;
	config->memory_bytes =
		given->memory_bytes ? given->memory_bytes : engine->config.memory_bytes;
	config->pids_limit = given->pids_limit;
	config->read_only = given->read_only;
	config->use_init = given->use_init;
	config->privileged = given->privileged;
	config->auto_remove = given->auto_remove;
	config->cap_add = strv_copy(given->cap_add);
	config->cap_drop = strv_copy(given->cap_drop);
	config->shm_bytes = given->shm_bytes;
	config->storage_bytes = (given->storage_bytes + MIB - 1) / MIB * MIB;
	config->stop_signal = xstrdup(str_or(given->stop_signal, image->stop_signal));
	config->default_masked_paths = given->default_masked_paths;
	config->default_read_only_paths = given->default_read_only_paths;
	config->masked_paths = strv_copy(given->masked_paths);
	config->read_only_paths = strv_copy(given->read_only_paths);
	config->hostname = xstrdup(given->hostname);
	/* Started again from wherever; one that is not there is told when it starts. */
	config->kernel = given->kernel ? realpath(given->kernel, NULL) : NULL;
	if (!config->kernel)
		config->kernel = xstrdup(given->kernel);
	config->restart = xstrdup(given->restart);
	config->sysctls = strv_copy(given->sysctls);
	resolve_sockets(given, config);
}

static void resolve_image(const struct image_row *row, const struct image *image,
			  struct container_config *config)
{
	config->image.reference = xstrdup(row->reference);
	config->image.media_type = xstrdup(row->media_type);
	config->image.digest = xstrdup(row->digest);
	config->image.size = row->size;
	config->manifest_digest = xstrdup(image->manifest.digest);
	config->root_key = xstrdup(image->disk_key);
	config->platform.os = xstrdup(image->platform.os);
	config->platform.architecture = xstrdup(image->platform.architecture);
	config->platform.variant =
		*image->platform.variant ? xstrdup(image->platform.variant) : NULL;
}

/* A machine that thinks it has more would take an age to start, and be killed later. */
static int check_memory(uint64_t bytes, struct err *err)
{
	struct sysinfo host;
	uint64_t most;

	if (bytes < MEMORY_MIN)
		return err_set(err, -EINVAL, "a memory limit below 16 MiB is too small to start");
	if (sysinfo(&host) < 0)
		return err_set(err, -errno, "cannot read the host's memory: %m");
	most = ((uint64_t)host.totalram + host.totalswap) * host.mem_unit;
	if (bytes > most)
		return err_set(err, -EINVAL,
			       "a memory limit of %llu MiB is more than the %llu MiB of this host",
			       (unsigned long long)(bytes / MIB), (unsigned long long)(most / MIB));
	return 0;
}

/* More of them than cores wait for each other at every turn. */
static int check_cpus(uint32_t cpus, struct err *err)
{
	uint32_t most = config_host_cpus();

	return cpus <= most ? 0
			    : err_set(err, -EINVAL, "%u CPUs are more than the %u of this host",
				      cpus, most);
}

int container_check_limits(const struct container_config *config, struct err *err)
{
	int r = check_memory(config->memory_bytes, err);

	return r < 0 ? r : check_cpus(config->cpus, err);
}

static int check_config(const struct container_config *config, struct err *err)
{
	struct platform host = platform_host();
	uint64_t mask;

	if (container_check_limits(config, err) < 0)
		return err->code;
	if (config->storage_bytes &&
	    (config->storage_bytes < EXT4_SIZE_MIN || config->storage_bytes > EXT4_SIZE_MAX))
		return err_set(err, -EINVAL,
			       "a container's disk has 16 MiB to 16 TiB, not %llu MiB",
			       (unsigned long long)(config->storage_bytes / MIB));
	if (config->stop_signal && proc_signal_parse(config->stop_signal) < 0)
		return err_set(err, -EINVAL, "unknown stop signal '%s'", config->stop_signal);
	if (!str_eq(config->platform.architecture, host.architecture))
		return err_set(err, -ENOTSUP,
			       "the image is for %s/%s; running other architectures than %s is not "
			       "available yet",
			       config->platform.os, config->platform.architecture,
			       host.architecture);
	VEC_EACH (&config->secrets, it)
		if (it->file && !path_exists(it->file))
			return err_set(err, -ENOENT, "path '%s' does not exist", it->file);
	if (socket_relays_check(config, err) < 0)
		return err->code;
	return session_capabilities(config->privileged, config->cap_add, config->cap_drop, &mask,
				    err);
}

static int write_cidfile(const char *path, const char *id, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int r;

	if (fd < 0 && errno == EEXIST)
		return err_set(err, -EEXIST,
			       "container id file '%s' exists; delete it or name another", path);
	if (fd < 0)
		return err_set(err, -errno, "cannot create '%s': %m", path);
	r = fd_write_all(fd, id, strlen(id));
	return r < 0 ? err_set(err, r, "cannot write '%s': %m", path) : 0;
}

/* The row, once all is known. The cidfile comes first: a container nobody knows the id of helps no
 * one. */
static int insert_row(struct engine *engine, const struct create_options *options,
		      struct container *container, struct err *err)
{
	int r;

	if (options->cidfile) {
		r = write_cidfile(options->cidfile, container->config.id, err);
		if (r < 0)
			return r;
	}
	r = containers_insert(engine->store, container, err);
	if (r < 0 && options->cidfile)
		unlink(options->cidfile);
	return r;
}

static int insert(struct engine *engine, const struct create_options *options,
		  struct container *container, struct err *err)
{
	AUTO_CLOSE int lock_fd = -1;
	int r = container_lock(engine, container, &lock_fd, err);

	if (r < 0)
		return r;
	r = insert_row(engine, options, container, err);
	if (r == 0) {
		r = networks_take_leases(engine, container, err);
		if (r < 0)
			containers_delete(engine->store, container->uuid, NULL);
	}
	if (r < 0) {
		container_remove_files(engine, container->uuid);
		return r;
	}
	if (engine->created_lock_fd >= 0)
		close(engine->created_lock_fd);
	engine->created_lock_fd = TAKE_FD(lock_fd);
	memcpy(engine->created_uuid, container->uuid, sizeof(engine->created_uuid));
	return 0;
}

/* Its volumes first: a row that names them is committed after they are there. */
static int insert_with_volumes(struct engine *engine, const struct create_options *options,
			       struct container *container, struct err *err)
{
	AUTO_STRV char **made = NULL;
	AUTO_CLOSE int lock = -1;
	int r = container_require_volumes(engine, &container->config, &lock, &made, err);

	if (r == 0)
		r = insert(engine, options, container, err);
	if (r < 0)
		container_discard_volumes(engine, made);
	return r;
}

int engine_create(struct engine *engine, const struct create_options *options, char **ret_id,
		  struct err *err)
{
	CLEANUP(container_freep) struct container *container = xcalloc(1, sizeof(*container));
	CLEANUP(image_row_release) struct image_row row = { 0 };
	CLEANUP(image_freep) struct image *image = NULL;
	struct container_config *config = &container->config;
	struct image_process image_process;
	AUTO_CLOSE int hold = -1; /* what the row will need is not pruned before it is there */
	int r = options->config->id ? container_check_id(options->config->id, err) : 0;

	container_config_init(config);
	if (r == 0 && options->cidfile && path_exists(options->cidfile))
		r = err_set(err, -EEXIST,
			    "container id file '%s' exists; delete it or name another",
			    options->cidfile);
	if (r == 0) {
		hold = content_hold(engine->root, err);
		r = hold < 0 ? hold : 0;
	}
	if (r == 0)
		r = images_require(engine, options->image, &options->fetch, &row, &image, err);
	if (r < 0 || !image)
		return r;
	log_timeline("hull: image resolved");
	image_process = image_process_of(image);
	hash_uuid(container->uuid);
	config->id = xstrdup(str_or(options->config->id, container->uuid));
	config->created_at = time(NULL);
	resolve_image(&row, image, config);
	resolve_labels(options, &image_process, config);
	resolve_rest(engine, options->config, &image_process, config);
	r = resolve_process(options, &image_process, &config->process, err);
	if (r == 0)
		r = networks_resolve(engine, options, &image_process, config, err);
	if (r == 0)
		r = check_config(config, err);
	if (r == 0)
		r = container_resolve_health(&options->config->health, image_process.health_check,
					     options->image, &config->health, err);
	if (r == 0)
		r = container_resolve_mounts(options->config, image_process.volumes, config, err);
	if (r == 0)
		r = insert_with_volumes(engine, options, container, err);
	if (r < 0)
		return r;
	*ret_id = xstrdup(config->id);
	log_timeline("hull: container created");
	return 0;
}
