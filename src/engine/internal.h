/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the engine share. */
#ifndef ENGINE_INTERNAL_H
#define ENGINE_INTERNAL_H

#include "engine/engine.h"
#include "image/platform.h"
#include "shim/launch.h"
#include "vm/template.h"

struct engine {
	char *root, *run;    /* owned */
	char *programs;      /* owned: directory of hull-shim, hull-image, hull-init and kernel/ */
	char *docker_config; /* owned: ~/.docker or NULL */
	char *search_path;   /* owned, or NULL */
	char *const *environment;    /* borrowed: the caller's */
	char *accel_wanted;          /* owned */
	struct platform platform;    /* default for images */
	struct engine_config config; /* owned */
	struct store *store;         /* owned */
	struct engine_ui ui;
	bool debug;
	/* The container that was just created, locked until it is started or the engine closed: no
	 * prune comes between the two halves of `run`. */
	int created_lock_fd; /* owned; -1 */
	char created_uuid[40];
};

void engine_step(struct engine *engine, const char *text);
void engine_warn(struct engine *engine, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void engine_note(struct engine *engine, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* config.c: reads an INI file (missing is fine unless required). */
void config_init(struct engine_config *config);
/* CPUs that this process may use. */
uint32_t config_host_cpus(void);
void config_release(struct engine_config *config);
int config_read(struct engine_config *config, const char *path, bool required, struct err *err);

/* images.c: the row of what the user typed, fetched if fetch says so, with its platform's manifest
 * and disk made. *ret_image is the caller's. */
int images_require(struct engine *engine, const char *name, const struct fetch_options *fetch,
		   struct image_row *ret_row, struct image **ret_image, struct err *err);
/* The full form of a reference as typed; owned by the caller. */
int images_normalise(const struct engine *engine, const char *name, char **ret_text,
		     struct err *err);
/* Makes the disk of an image whose blobs are here. */
int images_prepare(struct engine *engine, const char *reference, const char *manifest_digest,
		   const char *platform, struct err *err);
/* A request about a reference's registry, with what the configuration says of such. */
json_t *images_remote_request(const struct engine *engine, const char *reference,
			      const char *scheme);
/* Runs a verb of hull-image with engine->ui. request is consumed. */
int images_worker(struct engine *engine, const char *verb, json_t *request, json_t **ret_result,
		  struct err *err);

/* health.c: the check that a container has, of its image's (Docker's "Healthcheck", or NULL) and of
 * what was given: whatever is set there wins; a test "NONE" is none. */
int container_resolve_health(const struct health_config *given, const json_t *image_check,
			     const char *image, struct health_config *health, struct err *err);

/* machine.c: which machine a container of these needs. */
struct machine {
	struct machine_shape shape; /* borrows from the members below */
	char *qemu, *kernel, *modules, *init, *scratch;
};
void machine_release(struct machine *machine);
struct machine_needs {
	uint32_t cpus;
	uint64_t memory_bytes;
	const char *kernel;             /* borrowed; NULL: the configured one */
	struct machine_devices devices; /* at least these */
};
/* Of the default machine; and of a container's. */
struct machine_needs machine_needs_default(const struct engine *engine);
struct machine_needs machine_needs_of(struct engine *engine, const struct container_config *config);
int machine_choose(struct engine *engine, const struct machine_needs *needs,
		   struct machine *ret_machine, struct err *err);
/* The emulator that machines are run by; owned by the caller. */
int engine_emulator(const struct engine *engine, char **ret_path, struct err *err);
/* Its template, made if need be (with steps told). -ENOENT when templates are off. */
int machine_template(struct engine *engine, const struct machine *machine,
		     struct template *ret_template, struct err *err);
/* The template of the machine with that image's disk, if there is one: -ENOENT. */
int machine_image_template(struct engine *engine, const struct machine *machine,
			   const char *image_disk, struct template *ret_template, struct err *err);
char *machine_templates_dir(const struct engine *engine);

/* container_mounts.c: the mounts that were asked for and the volumes of the image (an object by
 * path; may be NULL), in the order in which they can be mounted. -EINVAL when two are in one place.
 */
int container_resolve_mounts(const struct container_config *given, json_t *image_volumes,
			     struct container_config *config, struct err *err);
/* Makes the volumes that are not there, and names those without a name. *lock_fd (-1 before, and if
 * there are none): the lock under which they stay, to be held until the row is in the store. *made:
 * those to discard, by the holder of the lock, if it never comes to that. Both are the caller's,
 * even on failure. */
int container_require_volumes(struct engine *engine, struct container_config *config, int *lock_fd,
			      char ***made, struct err *err);
void container_discard_volumes(struct engine *engine, char *const *made);
/* Whether all mounts of a volume are read-only. */
bool container_only_reads(const struct container_config *config, const char *name);
/* Locks the volumes of a container and gives them slots, in launch (whose devices are set). */
struct launch;
int container_attach_volumes(struct engine *engine, const struct container *container,
			     struct launch *launch, struct err *err);

/* volumes.c */
struct volume_options;
/* engine_volume_create, by the holder of the lock over volumes. */
int volumes_make(struct engine *engine, const struct volume_options *options, char **ret_name,
		 struct err *err);
/* Makes one of a disk, which is moved to it: by the holder of the lock over volumes. */
struct volume;
int volumes_make_of(struct engine *engine, const struct volume *volume, const char *disk,
		    struct err *err);
int volumes_usage(struct engine *engine, const struct container_list *containers,
		  struct usage *usage, struct err *err);
/* Removes directories without a row. Best effort. */
void volumes_prune_orphans(struct engine *engine, struct prune_result *result);

/* secrets.c: the socket of the caller's SSH agent, or NULL; owned by the caller. Then, what is read
 * for a start. */
char *secrets_agent(const struct engine *engine);
int secrets_fill_launch(const struct engine *engine, const struct container_config *config,
			struct launch *launch, struct err *err);

/* container.c: sets K=V in an environment, replacing an earlier K. */
void environment_set(char ***environment, const char *assignment);

int container_check_id(const char *id, struct err *err);

/* list.c: a connection to the shim of a container that runs. -EINVAL "container X is not running";
 * -EHOSTUNREACH when it does, and its shim cannot be reached; -ENOENT when it is gone meanwhile. */
int container_connect(struct engine *engine, const struct container *container, int *ret_fd,
		      struct err *err);
/* The row with the truth; rows of dead shims are repaired. */
int container_truth(struct engine *engine, struct container *container, struct err *err);
/* Removes files and row of a container whose lock the caller holds. */
int container_remove(struct engine *engine, const struct container *container, struct err *err);
/* containers_change_config; of a container that does not run under its lock, so that nobody starts
 * it meanwhile. A supervisor has still to be told. */
/* Whether the host has what it is given. */
int container_check_limits(const struct container_config *config, struct err *err);
int container_change(struct engine *engine, const struct container *container,
		     container_change_fn change, void *ctx, struct err *err);
/* Takes the container's lock; -EBUSY "container X is already running" when it is in use. */
int container_lock(struct engine *engine, const struct container *container, int *ret_fd,
		   struct err *err);
/* The same by uuid; -EAGAIN when it is in use. */
int container_lock_uuid(struct engine *engine, const char *uuid, int *ret_fd, struct err *err);
/* What a container without a row has left; its lock is the caller's. */
void container_remove_files(struct engine *engine, const char *uuid);
bool container_is_active(const struct container *container);

/* state.c: makes a launch of the saved machine that launch->saved_directory names: checks it, and
 * takes over what machine it was. */
int state_fill_launch(struct engine *engine, const struct machine *machine, struct launch *launch,
		      struct err *err);

/* A suspended container becomes a stopped one. */
int state_give_up(struct engine *engine, const struct container *container, struct err *err);

/* start.c: a container, whose row, disk and lock are there, that begins as a copy of a machine. */
struct copy_start {
	const char *directory;   /* of the saved machine */
	uint32_t count;          /* of copies made with it */
	uint32_t signal;         /* for its main process; 0: none */
	const json_t *volumes;   /* borrowed: volume_copies.h */
	struct launch *attached; /* whose volumes are locked already, and are taken; NULL: none */
};
int launch_copy(struct engine *engine, const struct container *container, int lock_fd,
		const struct copy_start *copy, int *ret_client, struct err *err);
/* Until its processes run. client (taken) is what launch_copy returned. */
int await_start(struct engine *engine, const struct container *container, int client,
		struct err *err);

#endif
