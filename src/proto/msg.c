/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/msg.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/pack.h"

#define SIGNAL_MAX 64
#define RESOURCE_COUNT 16 /* RLIM_NLIMITS of Linux */
#define MODE_MASK 07777
#define STATUS_MAX 255
#define MTU_MAX 65535

static_assert(MSG_RLIMITS_MAX >= RESOURCE_COUNT, "each resource can be limited");

/* A check of a decoder: what does not hold fails the whole message. */
static void require(struct unpack *in, bool holds)
{
	if (!holds)
		in->failed = true;
}

static bool unpack_bool(struct unpack *in)
{
	uint8_t value = unpack_u8(in);

	require(in, value <= 1);
	return value == 1;
}

static uint32_t unpack_process_id(struct unpack *in)
{
	uint32_t id = unpack_u32(in);

	require(in, id >= 1 && id <= MSG_PROCESS_ID_MAX);
	return id;
}

static const char *unpack_absolute(struct unpack *in)
{
	const char *path = unpack_string(in);

	require(in, path[0] == '/');
	return path;
}

/* Text of the guest that the host will print: one line, nothing that drives a terminal. */
static const char *unpack_line(struct unpack *in)
{
	const char *text = unpack_string(in);

	for (const char *c = text; *c; c++)
		require(in, (unsigned char)*c >= 0x20 && *c != 0x7f);
	return text;
}

void msg_hello_encode(const struct msg_hello *msg, struct sbuf *out)
{
	pack_u32(out, msg->version);
	pack_string(out, msg->kernel);
}

const char *const msg_default_masked_paths[] = {
	"/proc/asound",
	"/proc/acpi",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/proc/sched_debug",
	"/proc/scsi",
	"/sys/firmware",
	"/sys/devices/virtual/powercap",
	NULL,
};
const char *const msg_default_read_only_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};

/* Any version decodes, so that the host can tell which one it met. */
int msg_hello_decode(const uint8_t *data, size_t size, struct msg_hello *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_hello msg;
	int r;

	msg.version = unpack_u32(&in);
	msg.kernel = unpack_line(&in);
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}

static void pack_process(struct sbuf *out, const struct msg_process *process)
{
	pack_u32(out, process->id);
	pack_u32(out, process->flags);
	pack_strv(out, process->args);
	pack_strv(out, process->env);
	pack_string(out, process->cwd);
	pack_string(out, process->user);
	pack_strv(out, process->groups);
	pack_u64(out, process->capabilities);
	pack_u16(out, process->rows);
	pack_u16(out, process->columns);
	pack_u32(out, (uint32_t)process->rlimit_count);
	for (size_t i = 0; i < process->rlimit_count; i++) {
		pack_u32(out, process->rlimits[i].resource);
		pack_u64(out, process->rlimits[i].soft);
		pack_u64(out, process->rlimits[i].hard);
	}
}

static void unpack_rlimits(struct unpack *in, struct msg_process *process)
{
	uint32_t count = unpack_u32(in);

	require(in, count <= MSG_RLIMITS_MAX);
	for (uint32_t i = 0; i < count && !in->failed; i++) {
		struct msg_rlimit *limit = &process->rlimits[i];

		limit->resource = unpack_u32(in);
		limit->soft = unpack_u64(in);
		limit->hard = unpack_u64(in);
		require(in, limit->resource < RESOURCE_COUNT);
		process->rlimit_count = i + 1;
	}
}

/* Owned arrays are set even on failure: the caller releases. */
static void unpack_process(struct unpack *in, struct msg_process *process)
{
	process->id = unpack_process_id(in);
	process->flags = unpack_u32(in);
	process->args = unpack_strv(in, MSG_STRINGS_MAX);
	process->env = unpack_strv(in, MSG_STRINGS_MAX);
	process->cwd = unpack_string(in);
	process->user = unpack_string(in);
	process->groups = unpack_strv(in, MSG_STRINGS_MAX);
	process->capabilities = unpack_u64(in);
	process->rows = unpack_u16(in);
	process->columns = unpack_u16(in);
	unpack_rlimits(in, process);
	require(in, (process->flags & ~(uint32_t)MSG_PROCESS_FLAGS_ALL) == 0);
	require(in, process->args && process->args[0]);
	require(in, process->cwd[0] == '/' || process->cwd[0] == '\0');
}

void msg_process_encode(const struct msg_process *msg, struct sbuf *out)
{
	pack_process(out, msg);
}

int msg_process_decode(const uint8_t *data, size_t size, struct msg_process *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_process msg = { 0 };
	int r;

	unpack_process(&in, &msg);
	r = unpack_done(&in);
	if (r < 0)
		msg_process_release(&msg);
	else
		*ret_msg = msg;
	return r;
}

void msg_process_release(struct msg_process *msg)
{
	free(msg->args);
	free(msg->env);
	free(msg->groups);
	*msg = (struct msg_process){ 0 };
}

void msg_clock_encode(const struct msg_clock *msg, struct sbuf *out)
{
	pack_u64(out, msg->wall_clock_ns);
}

int msg_clock_decode(const uint8_t *data, size_t size, struct msg_clock *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_clock msg = { .wall_clock_ns = unpack_u64(&in) };
	int r;

	require(&in, msg.wall_clock_ns <= INT64_MAX);
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}

void msg_clock_shift_encode(const struct msg_clock_shift *msg, struct sbuf *out)
{
	pack_u64(out, (uint64_t)msg->ns);
}

int msg_clock_shift_decode(const uint8_t *data, size_t size, struct msg_clock_shift *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_clock_shift msg = { .ns = (int64_t)unpack_u64(&in) };
	int r;

	require(&in, msg.ns != INT64_MIN);
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}

static void pack_limits(struct sbuf *out, const struct msg_limits *limits)
{
	pack_u64(out, limits->memory_bytes);
	pack_u32(out, limits->cpus);
	pack_u32(out, limits->cpu_quota_percent);
	pack_u64(out, limits->pids);
}

static struct msg_limits unpack_limits(struct unpack *in)
{
	struct msg_limits limits;

	limits.memory_bytes = unpack_u64(in);
	limits.cpus = unpack_u32(in);
	limits.cpu_quota_percent = unpack_u32(in);
	limits.pids = unpack_u64(in);
	return limits;
}

void msg_limits_encode(const struct msg_limits *msg, struct sbuf *out)
{
	pack_limits(out, msg);
}

int msg_limits_decode(const uint8_t *data, size_t size, struct msg_limits *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_limits msg = unpack_limits(&in);
	int r = unpack_done(&in);

	if (r == 0)
		*ret_msg = msg;
	return r;
}

static void unpack_mounts(struct unpack *in, struct msg_session *session)
{
	uint32_t count = unpack_u32(in);

	require(in, count <= MSG_MOUNTS_MAX);
	if (in->failed || count == 0)
		return;
	session->mounts = calloc(count, sizeof(session->mounts[0]));
	require(in, session->mounts != NULL);
	for (uint32_t i = 0; i < count && !in->failed; i++) {
		struct msg_mount *mount = &session->mounts[i];

		mount->type = unpack_u32(in);
		mount->read_only = unpack_bool(in);
		mount->source = unpack_string(in);
		mount->target = unpack_absolute(in);
		mount->options = unpack_string(in);
		require(in, mount->type < MSG_MOUNT_TYPE_COUNT);
		require(in, mount->type != MSG_MOUNT_BIND || mount->source[0] == '/');
		session->mount_count = i + 1;
	}
}

static void unpack_file(struct unpack *in, struct msg_file *file)
{
	file->path = unpack_absolute(in);
	file->size = unpack_u32(in);
	file->content = unpack_block(in, file->size);
	file->mode = unpack_u32(in);
	file->for_user = unpack_bool(in);
	require(in, (file->mode & ~(uint32_t)MODE_MASK) == 0);
}

static void unpack_files(struct unpack *in, struct msg_session *session)
{
	uint32_t count = unpack_u32(in);

	require(in, count <= MSG_FILES_MAX);
	if (in->failed || count == 0)
		return;
	session->files = calloc(count, sizeof(session->files[0]));
	require(in, session->files != NULL);
	for (uint32_t i = 0; i < count && !in->failed; i++) {
		unpack_file(in, &session->files[i]);
		session->file_count = i + 1;
	}
}

void msg_file_encode(const struct msg_file *msg, struct sbuf *out)
{
	size_t size = msg->size ? msg->size : strlen(str_or(msg->content, ""));

	pack_string(out, msg->path);
	pack_u32(out, (uint32_t)size);
	pack_bytes(out, str_or(msg->content, ""), size);
	pack_u32(out, msg->mode);
	pack_u8(out, msg->for_user);
}

static void pack_interface(struct sbuf *out, const struct msg_interface *interface)
{
	pack_bytes(out, interface->mac, sizeof(interface->mac));
	pack_u32(out, interface->mtu);
	pack_bytes(out, interface->ipv4, sizeof(interface->ipv4));
	pack_u8(out, interface->ipv4_prefix);
	pack_bytes(out, interface->ipv4_gateway, sizeof(interface->ipv4_gateway));
	pack_bytes(out, interface->ipv6, sizeof(interface->ipv6));
	pack_u8(out, interface->ipv6_prefix);
	pack_bytes(out, interface->ipv6_gateway, sizeof(interface->ipv6_gateway));
}

static void unpack_interface(struct unpack *in, struct msg_interface *interface)
{
	unpack_bytes(in, interface->mac, sizeof(interface->mac));
	interface->mtu = unpack_u32(in);
	unpack_bytes(in, interface->ipv4, sizeof(interface->ipv4));
	interface->ipv4_prefix = unpack_u8(in);
	unpack_bytes(in, interface->ipv4_gateway, sizeof(interface->ipv4_gateway));
	unpack_bytes(in, interface->ipv6, sizeof(interface->ipv6));
	interface->ipv6_prefix = unpack_u8(in);
	unpack_bytes(in, interface->ipv6_gateway, sizeof(interface->ipv6_gateway));
	require(in, interface->mtu <= MTU_MAX);
	require(in, interface->ipv4_prefix <= 32 && interface->ipv6_prefix <= 128);
	require(in, (interface->mac[0] & 1) == 0); /* not a group's */
}

static void unpack_interfaces(struct unpack *in, struct msg_session *session)
{
	uint32_t count = unpack_u32(in);

	require(in, count <= MSG_INTERFACES_MAX);
	for (uint32_t i = 0; i < count && !in->failed; i++)
		unpack_interface(in, &session->interfaces[i]);
	session->interface_count = in->failed ? 0 : count;
}

void msg_session_encode(const struct msg_session *msg, struct sbuf *out)
{
	pack_u32(out, msg->version);
	pack_u64(out, msg->wall_clock_ns);
	pack_bytes(out, msg->entropy, sizeof(msg->entropy));
	pack_string(out, msg->hostname);
	pack_string(out, msg->domainname);
	pack_string(out, msg->root_serial);
	pack_string(out, msg->scratch_serial);
	pack_u8(out, msg->root_read_only);
	pack_u64(out, msg->shm_bytes);
	pack_limits(out, &msg->limits);
	pack_u8(out, msg->default_masked);
	pack_u8(out, msg->default_read_only);
	pack_strv(out, msg->masked_paths);
	pack_strv(out, msg->read_only_paths);
	pack_strv(out, msg->sysctls);
	pack_u32(out, (uint32_t)msg->mount_count);
	for (size_t i = 0; i < msg->mount_count; i++) {
		pack_u32(out, msg->mounts[i].type);
		pack_u8(out, msg->mounts[i].read_only);
		pack_string(out, msg->mounts[i].source);
		pack_string(out, msg->mounts[i].target);
		pack_string(out, msg->mounts[i].options);
	}
	pack_u32(out, (uint32_t)msg->file_count);
	for (size_t i = 0; i < msg->file_count; i++) {
		msg_file_encode(&msg->files[i], out);
	}
	pack_u32(out, (uint32_t)msg->interface_count);
	for (size_t i = 0; i < msg->interface_count; i++)
		pack_interface(out, &msg->interfaces[i]);
	pack_u8(out, msg->rehearse);
	pack_u8(out, msg->timeline);
	pack_u8(out, msg->scratch_is_lost);
	pack_u8(out, msg->has_process);
	if (msg->has_process)
		pack_process(out, &msg->process);
}

static void unpack_session(struct unpack *in, struct msg_session *msg)
{
	msg->version = unpack_u32(in);
	require(in, msg->version == MSG_VERSION);
	msg->wall_clock_ns = unpack_u64(in);
	unpack_bytes(in, msg->entropy, sizeof(msg->entropy));
	msg->hostname = unpack_string(in);
	msg->domainname = unpack_string(in);
	msg->root_serial = unpack_string(in);
	msg->scratch_serial = unpack_string(in);
	msg->root_read_only = unpack_bool(in);
	msg->shm_bytes = unpack_u64(in);
	msg->limits = unpack_limits(in);
	msg->default_masked = unpack_bool(in);
	msg->default_read_only = unpack_bool(in);
	msg->masked_paths = unpack_strv(in, MSG_STRINGS_MAX);
	msg->read_only_paths = unpack_strv(in, MSG_STRINGS_MAX);
	msg->sysctls = unpack_strv(in, MSG_STRINGS_MAX);
	STRV_EACH (msg->masked_paths, it)
		require(in, (*it)[0] == '/');
	STRV_EACH (msg->read_only_paths, it)
		require(in, (*it)[0] == '/');
	unpack_mounts(in, msg);
	unpack_files(in, msg);
	unpack_interfaces(in, msg);
	msg->rehearse = unpack_bool(in);
	msg->timeline = unpack_bool(in);
	msg->scratch_is_lost = unpack_bool(in);
	msg->has_process = unpack_bool(in);
	if (msg->has_process) {
		unpack_process(in, &msg->process);
		require(in, msg->process.id == MSG_PROCESS_MAIN);
	}
}

int msg_session_decode(const uint8_t *data, size_t size, struct msg_session *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_session msg = { 0 };
	int r;

	unpack_session(&in, &msg);
	r = unpack_done(&in);
	if (r < 0)
		msg_session_release(&msg);
	else
		*ret_msg = msg;
	return r;
}

void msg_session_release(struct msg_session *msg)
{
	free(msg->masked_paths);
	free(msg->read_only_paths);
	free(msg->sysctls);
	free(msg->mounts);
	free(msg->files);
	msg_process_release(&msg->process);
	*msg = (struct msg_session){ 0 };
}

int msg_file_decode(const uint8_t *data, size_t size, struct msg_file *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_file msg = { 0 };
	int r;

	unpack_file(&in, &msg);
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}

void msg_interface_change_encode(const struct msg_interface_change *msg, struct sbuf *out)
{
	pack_u32(out, msg->nic);
	pack_u8(out, msg->up);
	pack_interface(out, &msg->interface);
}

int msg_interface_change_decode(const uint8_t *data, size_t size,
				struct msg_interface_change *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_interface_change msg = { 0 };
	int r;

	msg.nic = unpack_u32(&in);
	msg.up = unpack_bool(&in);
	unpack_interface(&in, &msg.interface);
	require(&in, msg.nic < MSG_INTERFACES_MAX);
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}

void msg_interface_done_encode(const struct msg_interface_done *msg, struct sbuf *out)
{
	pack_u32(out, msg->nic);
	pack_string(out, msg->message);
}

int msg_interface_done_decode(const uint8_t *data, size_t size, struct msg_interface_done *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_interface_done msg = { 0 };
	int r;

	msg.nic = unpack_u32(&in);
	msg.message = unpack_line(&in);
	require(&in, msg.nic < MSG_INTERFACES_MAX);
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}

void msg_started_encode(const struct msg_started *msg, struct sbuf *out)
{
	pack_u32(out, msg->process);
	pack_u32(out, msg->pid);
}

int msg_started_decode(const uint8_t *data, size_t size, struct msg_started *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_started msg;
	int r;

	msg.process = unpack_process_id(&in);
	msg.pid = unpack_u32(&in);
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}

void msg_prepare_encode(const struct msg_prepare *msg, struct sbuf *out)
{
	pack_string(out, msg->root_serial);
	pack_string(out, msg->scratch_serial);
}

int msg_prepare_decode(const uint8_t *data, size_t size, struct msg_prepare *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_prepare msg;
	int r;

	msg.root_serial = unpack_string(&in);
	msg.scratch_serial = unpack_string(&in);
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}

void msg_failed_encode(const struct msg_failed *msg, struct sbuf *out)
{
	pack_u32(out, msg->process);
	pack_u32(out, msg->status);
	pack_string(out, msg->message);
}

int msg_failed_decode(const uint8_t *data, size_t size, struct msg_failed *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_failed msg;
	int r;

	msg.process = unpack_u32(&in);
	msg.status = unpack_u32(&in);
	msg.message = unpack_line(&in);
	require(&in, msg.process <= MSG_PROCESS_ID_MAX && msg.status <= STATUS_MAX);
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}

void msg_exited_encode(const struct msg_exited *msg, struct sbuf *out)
{
	pack_u32(out, msg->process);
	pack_u32(out, msg->status);
	pack_u8(out, msg->oom_killed);
}

int msg_exited_decode(const uint8_t *data, size_t size, struct msg_exited *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_exited msg;
	int r;

	msg.process = unpack_process_id(&in);
	msg.status = unpack_u32(&in);
	msg.oom_killed = unpack_bool(&in);
	require(&in, msg.status <= STATUS_MAX);
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}

void msg_timeline_encode(const struct msg_timeline *msg, struct sbuf *out)
{
	pack_u32(out, (uint32_t)msg->count);
	for (size_t i = 0; i < msg->count; i++) {
		pack_string(out, msg->points[i].name);
		pack_u64(out, msg->points[i].ns);
	}
}

int msg_timeline_decode(const uint8_t *data, size_t size, struct msg_timeline *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_timeline msg = { .count = unpack_u32(&in) };
	int r;

	require(&in, msg.count <= MSG_TIMELINE_MAX);
	for (size_t i = 0; i < msg.count && !in.failed; i++) {
		msg.points[i].name = unpack_line(&in);
		msg.points[i].ns = unpack_u64(&in);
	}
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}

void msg_signal_encode(const struct msg_signal *msg, struct sbuf *out)
{
	pack_u32(out, msg->process);
	pack_u32(out, msg->signal);
	pack_u8(out, msg->whole_group);
}

int msg_signal_decode(const uint8_t *data, size_t size, struct msg_signal *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_signal msg;
	int r;

	msg.process = unpack_process_id(&in);
	msg.signal = unpack_u32(&in);
	msg.whole_group = unpack_bool(&in);
	require(&in, msg.signal >= 1 && msg.signal <= SIGNAL_MAX);
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}

void msg_resize_encode(const struct msg_resize *msg, struct sbuf *out)
{
	pack_u32(out, msg->process);
	pack_u16(out, msg->rows);
	pack_u16(out, msg->columns);
}

int msg_resize_decode(const uint8_t *data, size_t size, struct msg_resize *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_resize msg;
	int r;

	msg.process = unpack_process_id(&in);
	msg.rows = unpack_u16(&in);
	msg.columns = unpack_u16(&in);
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}

void msg_shutdown_encode(const struct msg_shutdown *msg, struct sbuf *out)
{
	pack_u32(out, msg->signal);
	pack_u32(out, msg->timeout_ms);
}

int msg_shutdown_decode(const uint8_t *data, size_t size, struct msg_shutdown *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_shutdown msg;
	int r;

	msg.signal = unpack_u32(&in);
	msg.timeout_ms = unpack_u32(&in);
	require(&in, msg.signal <= SIGNAL_MAX);
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}

void msg_stats_encode(const struct msg_stats *msg, struct sbuf *out)
{
	pack_u64(out, msg->memory_usage_bytes);
	pack_u64(out, msg->memory_limit_bytes);
	pack_u64(out, msg->cpu_usage_usec);
	pack_u64(out, msg->network_rx_bytes);
	pack_u64(out, msg->network_tx_bytes);
	pack_u64(out, msg->block_read_bytes);
	pack_u64(out, msg->block_write_bytes);
	pack_u64(out, msg->processes);
}

int msg_stats_decode(const uint8_t *data, size_t size, struct msg_stats *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_stats msg;
	int r;

	msg.memory_usage_bytes = unpack_u64(&in);
	msg.memory_limit_bytes = unpack_u64(&in);
	msg.cpu_usage_usec = unpack_u64(&in);
	msg.network_rx_bytes = unpack_u64(&in);
	msg.network_tx_bytes = unpack_u64(&in);
	msg.block_read_bytes = unpack_u64(&in);
	msg.block_write_bytes = unpack_u64(&in);
	msg.processes = unpack_u64(&in);
	r = unpack_done(&in);
	if (r == 0)
		*ret_msg = msg;
	return r;
}
