/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The use cases of hull, as functions: what a command does once its words are understood. Nothing
 * here prints; progress and warnings go through struct engine_ui, the cause of a failure through
 * struct err. All functions but engine_close return 0 (or what they say) or a negative errno. Any
 * number of processes may be inside any of them at once.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "image/content.h"
#include "store/containers.h"
#include "store/images.h"
#include "store/snapshots.h"

struct engine;

struct engine_ui {
	/* See image_worker_ops; total 0 when unknown, current == total when the id is done. */
	void (*progress)(void *ctx, const char *id, const char *text, uint64_t current,
			 uint64_t total);
	/* A step that may take seconds has begun. */
	void (*step)(void *ctx, const char *text);
	void (*warning)(void *ctx, const char *text);
	/* Something that was decided for the user: a line. */
	void (*note)(void *ctx, const char *text);
	void *ctx;
};

/* Where things are and the configuration file's defaults; strings are borrowed for the engine's
 * life. */
struct engine_options {
	char *const *environment;     /* of the caller: secrets, SSH_AUTH_SOCK; or NULL */
	const char *root;             /* HULL_ROOT or --root; NULL: the default */
	const char *run;              /* HULL_RUN */
	const char *config_path;      /* HULL_CONFIG */
	const char *accel;            /* HULL_ACCEL */
	const char *default_platform; /* HULL_DEFAULT_PLATFORM */
	const char *home, *xdg_data_home, *xdg_runtime_dir, *xdg_config_home;
	const char
		*search_path; /* PATH: where the emulator is looked for; NULL: the usual places */
	bool debug;
};

/* The effective settings: configuration file over built-in defaults. */
struct engine_config {
	uint32_t cpus;          /* [container] cpus: 4, at most the host's */
	uint64_t memory_bytes;  /* [container] memory: 1 GiB */
	char *registry_default; /* [registry] default: docker.io */
	char **registry_mirrors, **registry_insecure;
	char *kernel_path;                      /* [kernel] path; NULL */
	char *accel;                            /* [vm] accel: auto; HULL_ACCEL overrides */
	char *qemu;                             /* [vm] qemu; NULL */
	bool template;                          /* [vm] template: on */
	bool image_templates;                   /* [vm] image-templates: on */
	char *network_subnet, *network_subnet6; /* [network] subnet, subnet-v6: of default; NULL */
	char **network_host_ports; /* [network] host-ports: of the host's loopback, for containers
				    */
	bool network_tap;          /* [network] tap: on: where this user may */
	char *dns_domain;          /* [dns] domain: hull.internal */
	char **dns_nameservers;    /* [dns] nameservers; NULL: the host's */
};

/* Makes the directories if missing; opens the store. A broken line of the configuration file is an
 * error that names it. */
int engine_open(const struct engine_options *options, const struct engine_ui *ui,
		struct engine **ret_engine, struct err *err);
void engine_close(struct engine *engine);
DEFINE_CLEANUP(struct engine *, engine_close)
const struct engine_config *engine_get_config(const struct engine *engine);
const char *engine_get_root(const struct engine *engine);
const char *engine_get_run(const struct engine *engine);

/* --- containers (engine/container.c, start.c, stop.c, list.c) --- */

struct fetch_options {
	const char *platform; /* os/arch[/variant]; NULL: the default */
	const char *pull;     /* "missing" (NULL), "always", "never" */
	const char *scheme;   /* "auto" (NULL), "http", "https" */
	uint32_t concurrency; /* 0: 3 */
};

struct create_options {
	const char *image;      /* as typed */
	char *const *arguments; /* what follows the image; NULL or empty: the image's command */
	const char *entrypoint; /* --entrypoint; NULL: the image's; "" none */
	/* What flags set; the rest of it is filled from image and configuration. Of config, create
	 * reads: id (NULL: generated), mounts, ports, labels, sysctls, networks, process
	 * (environment as K=V: added over the image's; working_directory, user, rlimits, groups,
	 * terminal, stdin_open), cpus (0 default), cpu_percent, memory_bytes (0 default),
	 * pids_limit, read_only, use_init, privileged, auto_remove, caps, shm_bytes, stop_signal,
	 * masked and read-only paths, hostname, kernel, restart. */
	const struct container_config *config;
	struct fetch_options fetch;
	const char *cidfile; /* written with the id; must not exist */
	bool publish_all;    /* exposed ports on all addresses, beside those of config */
	bool no_publish;     /* exposed ports are not mapped by themselves */
};

/* Makes a container of the image (fetched if need be). *ret_id is owned by the caller. */
int engine_create(struct engine *engine, const struct create_options *options, char **ret_id,
		  struct err *err);

/* How a command's own stdio is joined to a process. */
struct stdio_options {
	bool input;              /* forward our stdin */
	bool output;             /* show its output */
	bool terminal;           /* it has a terminal: ours becomes raw, window sizes follow */
	bool signals;            /* signals sent to us are forwarded to it */
	const char *detach_keys; /* "ctrl-p,ctrl-q" (NULL); "" none */
};

/* Status that attached calls report when the user detached. */
#define ENGINE_DETACHED (-1)

/* Starts it; with stdio, stays until the main process ends (*ret_status: its status, 128+n by
 * signal; ENGINE_DETACHED) and removes the container then if it is auto_remove (when detached, its
 * shim does). A process that could not be executed: -ENOENT (127) or -EACCES (126), told by
 * *ret_status. */
int engine_start(struct engine *engine, const char *id, const struct stdio_options *stdio,
		 int *ret_status, struct err *err);
int engine_attach(struct engine *engine, const char *id, const struct stdio_options *stdio,
		  int *ret_status, struct err *err);

struct exec_options {
	char *const *arguments;               /* at least one */
	const struct process_config *process; /* environment (over the container's), user (NULL: the
					       * container's), working_directory, terminal,
					       * stdin_open, rlimits, groups */
	bool detach;                          /* returns once it runs */
	bool privileged;
};
int engine_exec(struct engine *engine, const char *id, const struct exec_options *options,
		const struct stdio_options *stdio, int *ret_status, struct err *err);

/* signal NULL: the container's stop signal. Stopping what is stopped is no error. */
int engine_stop(struct engine *engine, const char *id, const char *signal, uint32_t timeout_s,
		struct err *err);
/* Tells several that they will be stopped, so that they go down at the same time; engine_stop then
 * waits for each and reports what went wrong. */
void engine_stop_announce(struct engine *engine, char *const *ids, const char *signal,
			  uint32_t timeout_s);
/* -EINVAL with "container X is not running". signal NULL: KILL. */
int engine_kill(struct engine *engine, const char *id, const char *signal, struct err *err);
/* A running one only with force; with_volumes: and those of its anonymous volumes that no other
 * container has. *ret_id: the full id; owned by the caller. */
int engine_delete(struct engine *engine, const char *id, bool force, bool with_volumes,
		  char **ret_id, struct err *err);
/* Waits until it has ended; *ret_status its exit status. One that is created or suspended has its
 * end to come: waits for that, too. */
int engine_wait(struct engine *engine, const char *id, int *ret_status, struct err *err);
struct process_info {
	uint32_t pid, parent, uid; /* as in the container */
	uint64_t age_s, cpu_ms;
	char *command; /* owned */
};

struct process_list {
	struct process_info *items; /* owned */
	size_t count, capacity;
};
void process_list_release(struct process_list *list);
/* The processes of a container that runs. */
int engine_top(struct engine *engine, const char *id, struct process_list *ret_list,
	       struct err *err);

/* {status, failingStreak, log[]} of a container that runs and has a health check, a new reference;
 * or NULL. */
json_t *engine_container_health(struct engine *engine, const struct container *container);

struct container_event {
	int64_t time;
	const char *action; /* create start restart pause unpause stop die suspend resume rename
			       health_status destroy */
	const struct container *container;
};
typedef int (*container_event_fn)(void *ctx, const struct container_event *event);
/* Calls fn with each, until it fails (its error is the result); first once with NULL, when nothing
 * from then on is missed. */
int engine_events(struct engine *engine, container_event_fn fn, void *ctx, struct err *err);

/* At once if it runs, as far as its machine reaches; else with its next start. */
int engine_update(struct engine *engine, const char *id, const struct config_limits *limits,
		  struct err *err);
int engine_rename(struct engine *engine, const char *id, const char *new_id, struct err *err);

/* Containers with the truth about their state (rows whose shim died are repaired first). */
int engine_get(struct engine *engine, const char *id, struct container **ret_container,
	       struct err *err);
int engine_list(struct engine *engine, struct container_list *ret_list, struct err *err);

struct log_record {
	int stream; /* 1 stdout, 2 stderr */
	int64_t time_ns;
	const char *data; /* bytes of one write of the process; not NUL-terminated */
	size_t size;
};
struct log_options {
	bool boot;        /* the machine's console instead */
	bool follow;      /* until it stops */
	int64_t lines;    /* last N lines; -1 all */
	int64_t since_ns; /* 0: all */
};
typedef int (*log_record_fn)(void *ctx, const struct log_record *record);
int engine_logs(struct engine *engine, const char *id, const struct log_options *options,
		log_record_fn fn, void *ctx, struct err *err);

struct container_stats {
	uint64_t memory_usage_bytes, memory_limit_bytes, cpu_usage_usec;
	uint64_t network_rx_bytes, network_tx_bytes, block_read_bytes, block_write_bytes;
	uint64_t processes;
};
int engine_stats(struct engine *engine, const char *id, struct container_stats *ret_stats,
		 struct err *err);
int engine_pause(struct engine *engine, const char *id, bool pause, struct err *err);

/* --- the state of a machine (engine/state.c) --- */

/* Saves the machine of a running container and ends it. On failure it runs on. */
int engine_suspend(struct engine *engine, const char *id, struct err *err);
/* Lets a suspended one go on, as engine_start does too. -EINVAL "container X is not suspended". */
int engine_resume(struct engine *engine, const char *id, struct err *err);

struct fork_options {
	const char *source; /* a running container, or a snapshot of one */
	uint32_t count;     /* of copies */
	const char *name;   /* one: its name; several: NAME-1, NAME-2 … NULL: generated ids */
	const char *signal; /* for the main process of each, once it is who it is; NULL: none */
};
/* Makes running containers that go on as copies of one, which goes on too. *ret_ids: those that
 * run, also when others failed; an owned string vector. */
int engine_fork(struct engine *engine, const struct fork_options *options, char ***ret_ids,
		struct err *err);

struct snapshot_options {
	const char *container;
	const char *name; /* NULL: made of the container's */
	bool volumes;     /* those that it can write to are kept too */
};
/* Keeps the machine and disk of a running container, which runs on, or the disk of one that does
 * not run. -ENOTSUP: it runs, and writes to volumes that are not to be kept. *ret_name is owned by
 * the caller. */
int engine_snapshot_create(struct engine *engine, const struct snapshot_options *options,
			   char **ret_name, struct err *err);
/* What a snapshot takes on disk. */
struct snapshot_usage {
	uint64_t own_bytes;    /* would be free without it */
	uint64_t shared_bytes; /* of its base, which others may use too */
	uint64_t cache_bytes;  /* of own_bytes: made again when it is needed */
};
int engine_snapshot_get(struct engine *engine, const char *name, struct snapshot *ret_snapshot,
			struct snapshot_usage *ret_usage, struct err *err);
int engine_snapshot_list(struct engine *engine, struct snapshot_list *ret_list, struct err *err);
void engine_snapshot_usage(struct engine *engine, const struct snapshot *snapshot,
			   struct snapshot_usage *ret_usage);
/* Containers that were made from it go on. *ret_name is owned by the caller. */
int engine_snapshot_delete(struct engine *engine, const char *name, char **ret_name,
			   struct err *err);

struct restore_options {
	const char *snapshot;
	const char *name; /* of the new container; NULL: generated */
	bool in_place;    /* the container that it is of, running or not, is set back instead */
	bool remove;      /* the new one is removed when it has ended */
	bool must_run;    /* -EINVAL if it would not */
	bool disks_only;  /* without the memory: the container is made, or stopped */
};
/* *ret_id: of the container, owned by the caller. -ESTALE: its memory cannot be used here; the
 * message says why. */
int engine_snapshot_restore(struct engine *engine, const struct restore_options *options,
			    char **ret_id, struct err *err);

/* What a prune removed: an array of strings; bytes that the host got back. */
struct prune_result {
	char **removed;
	uint64_t reclaimed_bytes;
};
void prune_result_release(struct prune_result *result);
int engine_prune_containers(struct engine *engine, struct prune_result *ret_result,
			    struct err *err); /* all that are stopped or created */

/* --- files (engine/copy.c) --- */

struct copy_options {
	const char *source, *destination; /* "CONTAINER:PATH", a path of the host, or "-": an
					     archive on stdin or stdout */
	bool archive;                     /* owners and special modes are kept */
	bool follow;                      /* a link as the source means what it leads to */
};
/* Copies by the rules of cp(1). One side at least is in a container. */
/* -EINVAL unless source and destination are such that there is something to copy between. */
int engine_copy_check(const struct copy_options *options, struct err *err);
int engine_copy(struct engine *engine, const struct copy_options *options, struct err *err);

/* --- a container's root file system (engine/changes.c) --- */

/* All of it, without what is mounted in it, as a tar archive. path NULL: stdout. */
int engine_export(struct engine *engine, const char *id, const char *path, struct err *err);

struct change {
	char kind;  /* 'A' added, 'C' changed, 'D' deleted */
	char *path; /* absolute; any bytes */
};
struct change_list {
	struct change *items;
	size_t count, capacity;
};
void change_list_release(struct change_list *list);
/* What was changed against the image, directories before what is in them. */
int engine_diff(struct engine *engine, const char *id, struct change_list *ret_list,
		struct err *err);

struct commit_options {
	const char *reference;        /* as typed */
	char *const *changes;         /* instructions of a Dockerfile */
	const char *author, *message; /* NULL: none */
	bool pause;                   /* its processes stand still meanwhile */
};
/* Makes an image of what was changed on top of the container's. *ret_reference: owned by the
 * caller. */
int engine_commit(struct engine *engine, const char *id, const struct commit_options *options,
		  char **ret_reference, struct err *err);

/* --- images (engine/images.c) --- */

/* ret_reference: the normalised one; owned by the caller. */
int engine_image_pull(struct engine *engine, const char *reference,
		      const struct fetch_options *fetch, bool all_platforms, char **ret_reference,
		      struct err *err);
/* path NULL or "-": stdin. *ret_references is an owned string vector. */
int engine_image_load(struct engine *engine, const char *path, char ***ret_references,
		      struct err *err);
/* path NULL: stdout. */
int engine_image_save(struct engine *engine, char *const *references, const char *platform,
		      const char *path, struct err *err);
int engine_image_import(struct engine *engine, const char *path, const char *reference,
			char *const *changes, const char *platform, char **ret_reference,
			struct err *err);
int engine_image_import_builtin(struct engine *engine, const char *reference, char **ret_reference,
				struct err *err);
/* An image whose containers go on from the snapshot, which stays as long as that. */
int engine_image_import_snapshot(struct engine *engine, const char *snapshot, const char *reference,
				 char **ret_reference, struct err *err);
/* Which snapshot containers of an image that is here go on from (its uuid, the caller's). -ENOENT:
 * none. */
int engine_image_snapshot(struct engine *engine, const char *reference, char **ret_snapshot,
			  struct err *err);
int engine_image_tag(struct engine *engine, const char *source, const char *target,
		     char **ret_reference, struct err *err);
/* -EBUSY when containers use it and force is false. */
int engine_image_delete(struct engine *engine, const char *reference, bool force,
			char **ret_reference, struct err *err);
int engine_image_prune(struct engine *engine, bool all, struct prune_result *ret_result,
		       struct err *err);
/* The row (released by the caller) and, opened, all its platforms that are here. */
struct image_detail {
	struct image_row row;
	struct image **images;
	size_t image_count;
};
void image_detail_release(struct image_detail *detail);
int engine_image_get(struct engine *engine, const char *reference, struct image_detail *ret_detail,
		     struct err *err);
int engine_image_list(struct engine *engine, struct image_rows *ret_rows, struct err *err);

/* --- system (engine/system.c) --- */

/* One line of `system doctor`. */
struct doctor_item {
	char *name, *finding, *advice; /* advice NULL: all is well */
	bool broken;                   /* hull cannot work without it */
};
struct doctor_report {
	struct doctor_item *items;
	size_t count, capacity;
};
void doctor_report_release(struct doctor_report *report);
int engine_doctor(struct engine *engine, struct doctor_report *ret_report, struct err *err);
/* Makes ready what a first start would make: the template of the default shape. */
int engine_system_start(struct engine *engine, struct err *err);
/* Stops every container of this root. */
struct system_line {
	const char *container; /* what users call it */
	const char *source;    /* "supervisor" or "machine" */
	const char *text;      /* without an end, and without control characters */
};
typedef int (*system_line_fn)(void *ctx, const struct system_line *line);
struct system_log_options {
	int64_t lines; /* the last of each, to begin with; -1: all */
	bool follow; /* then what is new, until all of the containers are deleted; of all that there
		      * are, and that come: for ever */
};
/* What the supervisors and emulators of the containers (none: of all) have complained of, until fn
 * fails. */
int engine_system_logs(struct engine *engine, char *const *ids,
		       const struct system_log_options *options, system_line_fn fn, void *ctx,
		       struct err *err);
int engine_system_stop(struct engine *engine, struct err *err);
struct kernel_info {
	char *name; /* "lean", "generic", or as set */
	char *path; /* its directory */
	char *release;
	bool active;
};
struct kernel_list {
	struct kernel_info *items;
	size_t count, capacity;
};
void kernel_list_release(struct kernel_list *list);
int engine_kernel_list(struct engine *engine, struct kernel_list *ret_list, struct err *err);
/* image: an ELF or bzImage, or NULL with recommended: the one that came with hull. */
int engine_kernel_set(struct engine *engine, const char *image, const char *modules_tree,
		      struct err *err);
struct usage {
	uint64_t total, active, size_bytes, reclaimable_bytes;
};
struct system_usage {
	struct usage images, containers, volumes, snapshots, templates;
};
int engine_system_usage(struct engine *engine, struct system_usage *ret_usage, struct err *err);
/* Everything unused: stopped containers, unreferenced content, stale templates, leftovers; with
 * volumes, anonymous ones too. */
int engine_system_prune(struct engine *engine, bool all_images, bool volumes,
			struct prune_result *ret_result, struct err *err);

#endif
