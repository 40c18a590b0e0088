/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/session.h"

#include <assert.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "proto/msg.h"
#include "shim/shares.h"
#include "shim/socket_relays.h"

#define SECRETS_DIRECTORY "/run/secrets"
#define SHM_BYTES_DEFAULT (64ull << 20)

static const char *const capability_names[] = {
	[CAP_CHOWN] = "CHOWN",
	[CAP_DAC_OVERRIDE] = "DAC_OVERRIDE",
	[CAP_DAC_READ_SEARCH] = "DAC_READ_SEARCH",
	[CAP_FOWNER] = "FOWNER",
	[CAP_FSETID] = "FSETID",
	[CAP_KILL] = "KILL",
	[CAP_SETGID] = "SETGID",
	[CAP_SETUID] = "SETUID",
	[CAP_SETPCAP] = "SETPCAP",
	[CAP_LINUX_IMMUTABLE] = "LINUX_IMMUTABLE",
	[CAP_NET_BIND_SERVICE] = "NET_BIND_SERVICE",
	[CAP_NET_BROADCAST] = "NET_BROADCAST",
	[CAP_NET_ADMIN] = "NET_ADMIN",
	[CAP_NET_RAW] = "NET_RAW",
	[CAP_IPC_LOCK] = "IPC_LOCK",
	[CAP_IPC_OWNER] = "IPC_OWNER",
	[CAP_SYS_MODULE] = "SYS_MODULE",
	[CAP_SYS_RAWIO] = "SYS_RAWIO",
	[CAP_SYS_CHROOT] = "SYS_CHROOT",
	[CAP_SYS_PTRACE] = "SYS_PTRACE",
	[CAP_SYS_PACCT] = "SYS_PACCT",
	[CAP_SYS_ADMIN] = "SYS_ADMIN",
	[CAP_SYS_BOOT] = "SYS_BOOT",
	[CAP_SYS_NICE] = "SYS_NICE",
	[CAP_SYS_RESOURCE] = "SYS_RESOURCE",
	[CAP_SYS_TIME] = "SYS_TIME",
	[CAP_SYS_TTY_CONFIG] = "SYS_TTY_CONFIG",
	[CAP_MKNOD] = "MKNOD",
	[CAP_LEASE] = "LEASE",
	[CAP_AUDIT_WRITE] = "AUDIT_WRITE",
	[CAP_AUDIT_CONTROL] = "AUDIT_CONTROL",
	[CAP_SETFCAP] = "SETFCAP",
	[CAP_MAC_OVERRIDE] = "MAC_OVERRIDE",
	[CAP_MAC_ADMIN] = "MAC_ADMIN",
	[CAP_SYSLOG] = "SYSLOG",
	[CAP_WAKE_ALARM] = "WAKE_ALARM",
	[CAP_BLOCK_SUSPEND] = "BLOCK_SUSPEND",
	[CAP_AUDIT_READ] = "AUDIT_READ",
	[CAP_PERFMON] = "PERFMON",
	[CAP_BPF] = "BPF",
	[CAP_CHECKPOINT_RESTORE] = "CHECKPOINT_RESTORE",
};
static_assert(ARRAY_SIZE(capability_names) == CAP_LAST_CAP + 1, "a capability has no name");

#define CAPABILITIES_ALL ((UINT64_C(1) << (CAP_LAST_CAP + 1)) - 1)
#define BIT(n) (UINT64_C(1) << (n))
#define CAPABILITIES_DEFAULT                                                                     \
	(BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FSETID) | BIT(CAP_FOWNER) |            \
	 BIT(CAP_MKNOD) | BIT(CAP_NET_RAW) | BIT(CAP_SETGID) | BIT(CAP_SETUID) |                 \
	 BIT(CAP_SETFCAP) | BIT(CAP_SETPCAP) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SYS_CHROOT) | \
	 BIT(CAP_KILL) | BIT(CAP_AUDIT_WRITE))

static int capability_mask(char *const *names, uint64_t *ret_mask, struct err *err)
{
	uint64_t mask = 0;

	STRV_EACH (names, it) {
		const char *name = strncasecmp(*it, "CAP_", 4) == 0 ? *it + 4 : *it;
		size_t i = 0;

		if (strcasecmp(name, "ALL") == 0) {
			mask |= CAPABILITIES_ALL;
			continue;
		}
		while (i < ARRAY_SIZE(capability_names) &&
		       strcasecmp(capability_names[i], name) != 0)
			i++;
		if (i == ARRAY_SIZE(capability_names))
			return err_set(err, -EINVAL, "unknown capability '%s'", *it);
		mask |= BIT(i);
	}
	*ret_mask = mask;
	return 0;
}

int session_capabilities(bool privileged, char *const *add, char *const *drop, uint64_t *ret_mask,
			 struct err *err)
{
	uint64_t added = 0;
	uint64_t dropped = 0;
	int r = capability_mask(add, &added, err);

	if (r == 0)
		r = capability_mask(drop, &dropped, err);
	if (r < 0)
		return r;
	/* "--cap-drop ALL --cap-add X" leaves X: what is named by itself wins over ALL. */
	if (dropped == CAPABILITIES_ALL)
		*ret_mask = added;
	else
		*ret_mask =
			((privileged ? CAPABILITIES_ALL : CAPABILITIES_DEFAULT) | added) & ~dropped;
	return 0;
}

static const struct {
	const char *name;
	uint32_t resource;
} rlimit_names[] = {
	{ "RLIMIT_CPU", RLIMIT_CPU },           { "RLIMIT_FSIZE", RLIMIT_FSIZE },
	{ "RLIMIT_DATA", RLIMIT_DATA },         { "RLIMIT_STACK", RLIMIT_STACK },
	{ "RLIMIT_CORE", RLIMIT_CORE },         { "RLIMIT_RSS", RLIMIT_RSS },
	{ "RLIMIT_NPROC", RLIMIT_NPROC },       { "RLIMIT_NOFILE", RLIMIT_NOFILE },
	{ "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },   { "RLIMIT_AS", RLIMIT_AS },
	{ "RLIMIT_LOCKS", RLIMIT_LOCKS },       { "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
	{ "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE }, { "RLIMIT_NICE", RLIMIT_NICE },
	{ "RLIMIT_RTPRIO", RLIMIT_RTPRIO },     { "RLIMIT_RTTIME", RLIMIT_RTTIME },
};

static int fill_rlimits(const struct process_config *process, struct msg_process *msg,
			struct err *err)
{
	VEC_EACH (&process->rlimits, it) {
		size_t i = 0;

		while (i < ARRAY_SIZE(rlimit_names) && !str_eq(rlimit_names[i].name, it->name))
			i++;
		if (i == ARRAY_SIZE(rlimit_names) || msg->rlimit_count == MSG_RLIMITS_MAX)
			return err_set(err, -EINVAL, "unknown resource limit '%s'", it->name);
		msg->rlimits[msg->rlimit_count++] =
			(struct msg_rlimit){ rlimit_names[i].resource, it->soft, it->hard };
	}
	return 0;
}

/* Fills msg with what is borrowed from process; *ret_args is owned by the caller and used by msg.
 */
static int fill_process(const struct process_config *process, uint32_t id, bool privileged,
			bool use_init, uint64_t capabilities, uint16_t rows, uint16_t columns,
			struct msg_process *msg, char ***ret_args, struct err *err)
{
	char **args = NULL;

	*msg = (struct msg_process){
		.id = id,
		.flags = (process->terminal ? MSG_PROCESS_TTY : 0u) |
			 (process->stdin_open ? MSG_PROCESS_STDIN : 0u) |
			 (use_init ? MSG_PROCESS_INIT : 0u) |
			 (privileged ? MSG_PROCESS_PRIVILEGED : 0u),
		.env = process->environment,
		.cwd = process->working_directory,
		.user = process->user,
		.groups = process->supplemental_groups,
		.capabilities = capabilities,
		.rows = rows,
		.columns = columns,
	};
	strv_push(&args, process->executable);
	STRV_EACH (process->arguments, it)
		strv_push(&args, *it);
	msg->args = *ret_args = args;
	return fill_rlimits(process, msg, err);
}

int session_encode_process(const struct process_config *process, uint32_t id, bool privileged,
			   bool use_init, uint64_t capabilities, uint16_t rows, uint16_t columns,
			   struct sbuf *out, struct err *err)
{
	AUTO_STRV char **args = NULL;
	struct msg_process msg;
	int r = fill_process(process, id, privileged, use_init, capabilities, rows, columns, &msg,
			     &args, err);

	if (r < 0)
		return r;
	msg_process_encode(&msg, out);
	return 0;
}

#define FILES_OWN_MAX 3
#define FILES_MAX (FILES_OWN_MAX + LAUNCH_SECRETS_COUNT_MAX)

/* The files that a container finds written for it. */
static size_t fill_files(const struct container_config *config, const char *hostname,
			 const struct launch *launch, const struct session_network *network,
			 struct msg_file files[FILES_MAX], char *texts[FILES_OWN_MAX])
{
	size_t count = 2;

	texts[0] = xasprintf("%s\n", hostname);
	texts[1] = session_hosts(config, hostname, network);
	files[0] = (struct msg_file){ "/etc/hostname", texts[0], 0644 };
	files[1] = (struct msg_file){ "/etc/hosts", texts[1], 0644 };
	if (!config->no_dns) {
		texts[count] = session_resolv_conf(config, network);
		files[count] = (struct msg_file){ "/etc/resolv.conf", texts[count], 0644 };
		count++;
	}
	VEC_EACH (&launch->secrets, it)
		files[count++] = (struct msg_file){ .path = it->path,
						    .content = it->data,
						    .mode = it->mode,
						    .for_user = true,
						    .size = it->size };
	return count;
}

/* Mount options but those that are ours, joined. */
static void add_options(struct sbuf *text, char *const *options, bool *ret_read_only)
{
	STRV_EACH (options, it) {
		if (str_eq(*it, "ro"))
			*ret_read_only = true;
		else if (!str_eq(*it, "rw") && !str_eq(*it, "nocopy"))
			sbuf_addf(text, "%s%s", text->length ? "," : "", *it);
	}
}

/* A volume that is new is filled with what the image has in its place. */
static void fill_volume(const struct mount_config *mount, const struct launch_volume *volume,
			struct sbuf *source, struct sbuf *options, struct msg_mount *msg)
{
	bool fill = !volume->read_only && !strv_contains(mount->options, "nocopy");

	sbuf_addf(source, "slot%u", volume->slot);
	if (!fill)
		sbuf_add(options, "ext4,");
	sbuf_add(options,
		 "noatime,discard,noinit_itable,no_prefetch_block_bitmaps,errors=remount-ro");
	if (volume->journal && !volume->read_only)
		sbuf_addf(options, ",data=%s", volume->journal);
	msg->type = fill ? MSG_MOUNT_VOLUME : MSG_MOUNT_BLOCK;
}

static void fill_share(const struct mount_config *mount, const char *path,
		       const struct launch_volume *volume, unsigned number, struct sbuf *source,
		       struct sbuf *options, struct msg_mount *msg)
{
	struct stat st;
	bool is_file = stat(path, &st) == 0 && !S_ISDIR(st.st_mode);

	sbuf_addf(source, "%u", number);
	sbuf_add(options, is_file ? "file" : "directory");
	if (volume && (volume->fill || volume->wait))
		sbuf_add(options, volume->fill ? ",fill" : ",wait");
	msg->type = MSG_MOUNT_SHARE;
	msg->read_only = shares_is_read_only(mount);
}

/* The texts of the mounts that are not the configuration's own. */
struct mount_texts {
	struct sbuf source, options;
};

static int fill_mounts(const struct container_config *config, const struct launch *launch,
		       struct msg_session *msg, struct mount_texts *texts, struct err *err)
{
	unsigned share = 0;
	unsigned socket = 0;

	if (config->mounts.count > MSG_MOUNTS_MAX)
		return err_set(err, -E2BIG, "more than %d mounts", MSG_MOUNTS_MAX);
	VEC_EACH (&config->mounts, it) {
		size_t i = msg->mount_count;
		const struct launch_volume *volume = launch_volume_of(launch, i);
		struct msg_mount *mount = &msg->mounts[i];

		*mount = (struct msg_mount){ .type = MSG_MOUNT_TMPFS, .target = it->destination };
		const char *shared = shares_source(launch, config, i);

		if (shared) {
			fill_share(it, shared, volume, share++, &texts[i].source, &texts[i].options,
				   mount);
		} else if (volume) {
			fill_volume(it, volume, &texts[i].source, &texts[i].options, mount);
			mount->read_only = strv_contains(it->options, "ro");
		} else if (str_eq(it->type, SOCKET_MOUNT)) {
			sbuf_addf(&texts[i].source, "%u", socket++);
			mount->type = MSG_MOUNT_SOCKET;
		} else if (str_eq(it->type, "tmpfs")) {
			add_options(&texts[i].options, it->options, &mount->read_only);
		} else {
			return err_set(err, -ENOTSUP, "mounts of type '%s' are not available",
				       it->type);
		}
		mount->source = str_or(texts[i].source.text, "");
		mount->options = str_or(texts[i].options.text, "");
		msg->mount_count++;
	}
	return 0;
}

/* What is mounted besides: room in memory for secrets, and the SSH agent, whose relay comes behind
 * those of the configuration (socket_relays_list). */
static int add_own_mounts(const struct container_config *config, const struct launch *launch,
			  struct msg_session *msg, struct err *err)
{
	struct socket_relay relays[SOCKETS_RELAYS_MAX];
	static char number[16]; /* one session is encoded at a time */
	size_t count = socket_relays_list(config, launch, relays);
	bool has_place = false;

	if (msg->mount_count + 2 > MSG_MOUNTS_MAX)
		return err_set(err, -E2BIG, "more than %d mounts", MSG_MOUNTS_MAX - 2);
	VEC_EACH (&config->mounts, it)
		has_place |= str_eq(it->destination, SECRETS_DIRECTORY);
	VEC_EACH (&launch->secrets, it)
		if (!has_place && str_starts(it->path, SECRETS_DIRECTORY "/")) {
			has_place = true;
			msg->mounts[msg->mount_count++] =
				(struct msg_mount){ .type = MSG_MOUNT_TMPFS,
						    .source = "",
						    .target = SECRETS_DIRECTORY,
						    .options = "size=64k,mode=755" };
		}
	snprintf(number, sizeof(number), "%zu", count - 1);
	if (config->ssh && launch->ssh_socket)
		msg->mounts[msg->mount_count++] = (struct msg_mount){ .type = MSG_MOUNT_SOCKET,
								      .source = number,
								      .target = SSH_SOCKET_TARGET,
								      .options = "" };
	return 0;
}

struct msg_limits session_limits(const struct container_config *config, const struct launch *launch)
{
	return (struct msg_limits){
		.memory_bytes =
			config->memory_bytes < launch->memory_bytes ? config->memory_bytes : 0,
		.cpus = config->cpus < launch->vcpus ? config->cpus : 0,
		.cpu_quota_percent = config->cpu_percent,
		.pids = config->pids_limit,
	};
}

int session_encode(const struct container_config *config, const struct launch *launch,
		   const struct session_network *network, bool rehearse, struct sbuf *out,
		   struct err *err)
{
	AUTO_FREE char *hostname = xstrndup(str_or(config->hostname, config->id), 63);
	AUTO_STRV char **args = NULL;
	AUTO_FREE struct mount_texts *texts = xcalloc(MSG_MOUNTS_MAX, sizeof(*texts));
	char *file_texts[FILES_OWN_MAX] = { 0 };
	struct msg_file files[FILES_MAX];
	uint64_t capabilities = 0;
	char scratch_serial[16];
	struct msg_session msg = {
		.version = MSG_VERSION,
		.wall_clock_ns = clock_wall_ns(),
		.hostname = hostname,
		.root_serial = "slot0",
		.scratch_serial = scratch_serial,
		.root_read_only = config->read_only,
		.shm_bytes = config->shm_bytes ? config->shm_bytes : SHM_BYTES_DEFAULT,
		.limits = session_limits(config, launch),
		.default_masked = !config->privileged && config->default_masked_paths,
		.default_read_only = !config->privileged && config->default_read_only_paths,
		.masked_paths = config->privileged ? NULL : config->masked_paths,
		.read_only_paths = config->privileged ? NULL : config->read_only_paths,
		.sysctls = config->sysctls,
		.interface_count = network->count,
		.rehearse = rehearse,
		.timeline = launch->debug,
		.scratch_is_lost = config->auto_remove && !launch->files,
		.has_process = !launch->files,
		.mounts = xcalloc(MSG_MOUNTS_MAX, sizeof(*msg.mounts)),
	};
	int r = session_capabilities(config->privileged, config->cap_add, config->cap_drop,
				     &capabilities, err);

	memcpy(msg.interfaces, network->interfaces, sizeof(msg.interfaces));
	snprintf(scratch_serial, sizeof(scratch_serial), "slot%u", launch->scratch_slot);
	if (r == 0)
		r = fill_process(&config->process, MSG_PROCESS_MAIN, config->privileged,
				 config->use_init, capabilities, (uint16_t)launch->rows,
				 (uint16_t)launch->columns, &msg.process, &args, err);
	if (r == 0)
		r = fill_mounts(config, launch, &msg, texts, err);
	if (r == 0)
		r = add_own_mounts(config, launch, &msg, err);
	if (r == 0) {
		msg.file_count = fill_files(config, hostname, launch, network, files, file_texts);
		msg.files = files;
		hash_random(msg.entropy, sizeof(msg.entropy));
		msg_session_encode(&msg, out);
	}
	for (size_t i = 0; i < MSG_MOUNTS_MAX; i++) {
		sbuf_release(&texts[i].source);
		sbuf_release(&texts[i].options);
	}
	for (size_t i = 0; i < FILES_OWN_MAX; i++)
		free(file_texts[i]);
	free(msg.mounts);
	return r;
}
