/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/confine.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/landlock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "base/vec.h"
#include "proto/share.h"
#include "shim/shares.h"
#include "shim/socket_relays.h"

/* --- the file system --- */

enum place {
	PLACE_HOST,      /* path is absolute */
	PLACE_ROOT,      /* path is below HULL_ROOT */
	PLACE_RUN,       /* path is below HULL_RUN */
	PLACE_CONTAINER, /* path is below the container's directory in HULL_ROOT */
	PLACE_SESSION,   /* path is below its directory in HULL_RUN */
	PLACE_LAUNCH,    /* a member of struct launch that is a path, and path below it */
};

static bool has_network(const struct container_config *config)
{
	return config->networks.count > 0;
}

static bool has_share(const struct launch *launch, const struct container_config *config)
{
	for (size_t i = 0; i < config->mounts.count; i++)
		if (shares_source(launch, config, i))
			return true;
	return false;
}

/*
 * Another need is another line. What is not there is passed over, so a directory that appears
 * later has to be made by whoever starts the shim. Grant directories of this container, or files;
 * what other containers trust (templates, layers, images) is never to be written.
 */
struct rule {
	enum place place;
	const char *path;
	size_t member; /* of struct launch */
	struct landlock_path rights;
	bool (*needed)(const struct launch *launch,
		       const struct container_config *config); /* NULL: always */
};

/* Programs and their libraries. */
static const struct rule program_rules[] = {
	{ PLACE_HOST, "/usr", .rights = { .execute = true } },
	{ PLACE_HOST, "/lib", .rights = { .execute = true } },
	{ PLACE_HOST, "/lib64", .rights = { .execute = true } },
	{ PLACE_HOST, "/etc/ld.so.cache" },
	{ PLACE_HOST, "/dev/null", .rights = { .write = true } },
	{ PLACE_HOST, "/dev/urandom" },
	{ PLACE_HOST, "/proc" }, /* of others' no more than anybody may see */
};

static const struct rule own_rules[] = {
	{ PLACE_LAUNCH, "", offsetof(struct launch, qemu), { .execute = true } },
	{ PLACE_HOST, "/dev/kvm", .rights = { .write = true } },

	/* The container's own. Its directories are removed with it. */
	{ PLACE_CONTAINER, "", .rights = { .write = true, .create = true } },
	{ PLACE_SESSION, "", .rights = { .write = true, .create = true } },
	{ PLACE_ROOT, "containers", .rights = { .remove_dirs = true } },
	{ PLACE_RUN, "", .rights = { .remove_dirs = true } },

	/* Its machine: QEMU opens the template's memory for writing to map it privately. */
	{ PLACE_ROOT, "layers" },
	{ PLACE_ROOT, "disks" },
	{ PLACE_LAUNCH, "", offsetof(struct launch, root_disk) },
	{ PLACE_LAUNCH, "", offsetof(struct launch, template_directory) },
	{ PLACE_LAUNCH, "/ram", offsetof(struct launch, template_directory), { .write = true } },
	{ PLACE_LAUNCH, "", offsetof(struct launch, saved_directory) },
	{ PLACE_LAUNCH, "/ram", offsetof(struct launch, saved_directory), { .write = true } },
	{ PLACE_LAUNCH, "", offsetof(struct launch, kernel) },
	{ PLACE_LAUNCH, "", offsetof(struct launch, modules) },
	{ PLACE_LAUNCH, "", offsetof(struct launch, init) },

	/* The server of what is shared, which is confined further (shim/shares.c). */
	{ PLACE_LAUNCH, "", offsetof(struct launch, share_server), { .execute = true }, has_share },
};

/* hull-netd, which a shim starts if nobody has: what it serves, names of hosts and servers, its
 * sockets. */
static const struct rule network_rules[] = {
	{ PLACE_ROOT, "net", .rights = { .write = true, .create = true } },
	{ PLACE_LAUNCH, "", offsetof(struct launch, netd), { .execute = true } },
	{ PLACE_HOST, "/etc" },
	{ PLACE_HOST, "/run/systemd/resolve" }, /* of resolv.conf */
	{ PLACE_HOST, "/run/resolvconf" },
	{ PLACE_HOST, "/run/NetworkManager" },
	{ PLACE_HOST, "/run/connman" },
	{ PLACE_HOST, "/dev/net/tun", .rights = { .write = true } },
};

static char *base_of(const struct rule *rule, const struct launch *launch)
{
	switch (rule->place) {
	case PLACE_ROOT:
		return xstrdup(launch->root);
	case PLACE_RUN:
		return xstrdup(launch->run);
	case PLACE_CONTAINER:
		return launch_container_dir(launch->root, launch->uuid);
	case PLACE_SESSION:
		return launch_run_dir(launch->run, launch->uuid);
	case PLACE_LAUNCH:
		return xstrdup(*(char *const *)((const char *)launch + rule->member));
	default:
		return xstrdup("");
	}
}

/* Owned by the caller; NULL: the rule does not apply. */
static char *path_of(const struct rule *rule, const struct launch *launch,
		     const struct container_config *config)
{
	AUTO_FREE char *base = base_of(rule, launch);

	if (!base || (rule->needed && !rule->needed(launch, config)))
		return NULL;
	if (rule->place == PLACE_HOST || rule->place == PLACE_LAUNCH || !rule->path[0])
		return xasprintf("%s%s", base, rule->path);
	return path_join(base, "%s", rule->path);
}

/* A directory that the container shares. */
static struct landlock_path share_of(const struct mount_config *mount, const char *path)
{
	bool read_only = shares_is_read_only(mount);

	return (struct landlock_path){ .path = path, .write = !read_only, .create = !read_only };
}

static struct landlock_path disk_of(const struct launch_volume *volume)
{
	return (struct landlock_path){ .path = volume->path, .write = !volume->read_only };
}

/* Where a socket of the container is published. */
static struct landlock_path publisher_of(const struct container_config *config,
					 const struct socket_config *socket, char ***owned)
{
	AUTO_FREE char *path = socket_relays_host_path(config, socket);
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *directory = xstrndup(path, slash == path ? 1 : (size_t)(slash - path));

	strv_push(owned, directory);
	return (struct landlock_path){ .path = (*owned)[strv_count(*owned) - 1], .sockets = true };
}

/* owned: the texts of paths. */
struct places {
	VEC(struct landlock_path) paths;
	char **owned;
};

static void places_release(struct places *places)
{
	VEC_FREE(&places->paths);
	places->owned = strv_free(places->owned);
}

static void add_place(struct places *places, const char *path, struct landlock_path rights)
{
	strv_push(&places->owned, path);
	rights.path = places->owned[strv_count(places->owned) - 1];
	VEC_PUSH(&places->paths, rights);
}

static void add_rules(struct places *places, const struct rule *rules, size_t count,
		      const struct launch *launch, const struct container_config *config)
{
	for (size_t i = 0; i < count; i++) {
		AUTO_FREE char *path = path_of(&rules[i], launch, config);

		if (path)
			add_place(places, path, rules[i].rights);
	}
}

static int open_rules(const struct launch *launch, const struct container_config *config,
		      struct err *err)
{
	CLEANUP(places_release) struct places places = { 0 };

	add_rules(&places, program_rules, ARRAY_SIZE(program_rules), launch, config);
	add_rules(&places, own_rules, ARRAY_SIZE(own_rules), launch, config);
	if (has_network(config))
		add_rules(&places, network_rules, ARRAY_SIZE(network_rules), launch, config);
	for (size_t i = 0; i < config->mounts.count; i++) {
		const char *shared = shares_source(launch, config, i);

		if (shared)
			VEC_PUSH(&places.paths, share_of(&config->mounts.items[i], shared));
	}
	VEC_EACH (&launch->volumes, it) {
		if (it->slot)
			VEC_PUSH(&places.paths, disk_of(it));
	}
	VEC_EACH (&config->sockets, it)
		VEC_PUSH(&places.paths, publisher_of(config, it, &places.owned));
	return has_network(config)
		       ? landlock_open_networked(places.paths.items, places.paths.count, err)
		       : landlock_open(places.paths.items, places.paths.count, err);
}

/* --- system calls --- */

/*
 * What a kernel's weaknesses are mostly reached through, and no supervisor, emulator or network
 * process has a use for. A list of what is allowed would have to follow the children's C library.
 */
static const int denied[] = {
	SYS_acct,
	SYS_add_key,
	SYS_adjtimex,
	SYS_bpf,
	SYS_chroot,
	SYS_clock_adjtime,
	SYS_clock_settime,
	SYS_delete_module,
	SYS_finit_module,
	SYS_fsconfig,
	SYS_fsmount,
	SYS_fsopen,
	SYS_fspick,
	SYS_init_module,
	SYS_io_uring_setup,
	SYS_kexec_load,
	SYS_keyctl,
	SYS_mount,
	SYS_mount_setattr,
	SYS_move_mount,
	SYS_open_by_handle_at,
	SYS_open_tree,
	SYS_perf_event_open,
	SYS_pivot_root,
	SYS_process_vm_writev,
	SYS_ptrace,
	SYS_quotactl,
	SYS_reboot,
	SYS_request_key,
	SYS_setdomainname,
	SYS_sethostname,
	SYS_setns,
	SYS_settimeofday,
	SYS_swapoff,
	SYS_swapon,
	SYS_syslog,
	SYS_umount2,
	SYS_unshare,
	SYS_userfaultfd,
	SYS_vhangup,
#ifdef SYS_kexec_file_load
	SYS_kexec_file_load,
#endif
#ifdef __x86_64__
	SYS_ioperm,
	SYS_iopl,
	SYS_modify_ldt,
#endif
};

#ifdef __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define X32_BIT 0x40000000u /* the other system calls of the same architecture */
#else
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#define X32_BIT UINT32_MAX
#endif

#define DENY(code) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (code))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define LOAD(member) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, member))
#define NEW_NAMESPACES                                                                 \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
	 CLONE_NEWPID | CLONE_NEWNET)

/* more: further ones that are denied. */
static int filter_calls(const int *more, size_t more_count, struct err *err)
{
	VEC(struct sock_filter) program = { 0 };
	const struct sock_filter head[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
		DENY(ENOSYS),
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1),
		DENY(ENOSYS),
		/* Its flags lie in memory; libraries go back to clone. */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		DENY(ENOSYS),
	};
	const struct sock_filter
		tail[] = {
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
			LOAD(args[0]), /* its low half, where the flags are */
			BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NEW_NAMESPACES, 0, 1),
			DENY(EPERM),
			ALLOW,
		};
	struct sock_fprog filter;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		VEC_PUSH(&program, head[i]);
	for (size_t i = 0; i < ARRAY_SIZE(denied) + more_count; i++) {
		size_t rest = i - ARRAY_SIZE(denied);
		int call = i < ARRAY_SIZE(denied) ? denied[i] : more[rest];
		const struct sock_filter test[] = {
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1),
			DENY(EPERM),
		};

		VEC_PUSH(&program, test[0]);
		VEC_PUSH(&program, test[1]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(tail); i++)
		VEC_PUSH(&program, tail[i]);
	filter = (struct sock_fprog){ (unsigned short)program.count, program.items };
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0 && errno != EINVAL)
		r = err_set(err, -errno, "cannot confine the supervisor: %m");
	VEC_FREE(&program);
	return r;
}

/* ruleset: -ENOSYS where there is no Landlock. */
static int restrict_self(int ruleset, const int *more, size_t more_count, struct err *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    (ruleset >= 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0))
		return err_set(err, -errno, "cannot confine the supervisor: %m");
	return filter_calls(more, more_count, err);
}

int confine_shim(const struct launch *launch, const struct container_config *config,
		 struct err *err)
{
	AUTO_CLOSE int ruleset = open_rules(launch, config, err);

	if (ruleset < 0 && ruleset != -ENOSYS)
		return ruleset;
	return restrict_self(ruleset, NULL, 0, err);
}

/* Of what one could be made to do that were taken over by its shim. */
static const int of_helpers[] = { SYS_execve, SYS_execveat, SYS_socket, SYS_socketpair,
				  SYS_clone,  SYS_kill,     SYS_tgkill, SYS_pidfd_open };

int confine_opener(const struct shared_name *names, size_t count, struct err *err)
{
	struct landlock_path paths[SHARE_COUNT_MAX];
	char text[SHARE_COUNT_MAX][32];
	AUTO_CLOSE int ruleset = -1;

	for (size_t i = 0; i < count && i < SHARE_COUNT_MAX; i++) {
		snprintf(text[i], sizeof(text[i]), "/proc/self/fd/%d", names[i].dir_fd);
		paths[i] = (struct landlock_path){ .path = text[i], .write = !names[i].read_only };
	}
	ruleset = landlock_open(paths, count, err);
	if (ruleset < 0 && ruleset != -ENOSYS)
		return ruleset;
	return restrict_self(ruleset, of_helpers, ARRAY_SIZE(of_helpers), err);
}

int confine_clerk(const char *root, bool removes_volumes, struct err *err)
{
	AUTO_FREE char *database = path_join(root, "hull.db");
	AUTO_FREE char *log = path_join(root, "hull.db-wal");
	AUTO_FREE char *index = path_join(root, "hull.db-shm");
	AUTO_FREE char *volumes = path_join(root, "volumes");
	AUTO_FREE char *lock = path_join(root, "volumes.lock");
	/* All three are open already; SQLite makes and removes none while they are. */
	const struct landlock_path paths[] = {
		{ .path = database, .write = true },
		{ .path = log, .write = true },
		{ .path = index, .write = true },
		{ .path = lock, .write = true },
		{ .path = volumes, .write = true, .create = true },
	};
	AUTO_CLOSE int ruleset = landlock_open(
		paths, removes_volumes ? ARRAY_SIZE(paths) : ARRAY_SIZE(paths) - 2, err);

	if (ruleset < 0 && ruleset != -ENOSYS)
		return ruleset;
	return restrict_self(ruleset, of_helpers, ARRAY_SIZE(of_helpers), err);
}

static int open_starter_rules(const struct launch *launch, bool database, struct err *err)
{
	static const char *const files[] = { "hull.db", "hull.db-wal", "hull.db-shm" };
	CLEANUP(places_release) struct places places = { 0 };

	add_rules(&places, program_rules, ARRAY_SIZE(program_rules), launch, NULL);
	add_rules(&places, network_rules, ARRAY_SIZE(network_rules), launch, NULL);
	for (size_t i = 0; database && i < ARRAY_SIZE(files); i++) {
		AUTO_FREE char *path = path_join(launch->root, "%s", files[i]);

		add_place(&places, path, (struct landlock_path){ .write = true });
	}
	return landlock_open_networked(places.paths.items, places.paths.count, err);
}

int confine_starter(const struct launch *launch, int *ret_networks, struct err *err)
{
	AUTO_CLOSE int networks = open_starter_rules(launch, false, err);
	AUTO_CLOSE int own = networks < 0 ? networks : open_starter_rules(launch, true, err);
	int r;

	if (own < 0 && own != -ENOSYS)
		return own;
	r = restrict_self(own, NULL, 0, err);
	if (r == 0)
		*ret_networks = networks < 0 ? 0 : TAKE_FD(networks);
	return r;
}
