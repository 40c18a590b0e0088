/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/launch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"

#define SPEC_MAX (256 * 1024 + 2 * LAUNCH_SECRETS_MAX)

/* The string members, by name, so that writing, reading and releasing cannot disagree. */
static const struct {
	const char *name;
	size_t offset;
	bool required;
} strings[] = {
	{ "uuid", offsetof(struct launch, uuid), true },
	{ "root", offsetof(struct launch, root), true },
	{ "run", offsetof(struct launch, run), true },
	{ "accel", offsetof(struct launch, accel), true },
	{ "qemu", offsetof(struct launch, qemu), true },
	{ "kernel", offsetof(struct launch, kernel), true },
	{ "modules", offsetof(struct launch, modules), false },
	{ "init", offsetof(struct launch, init), true },
	{ "scratch", offsetof(struct launch, scratch), false },
	{ "template", offsetof(struct launch, template_directory), false },
	{ "rootDisk", offsetof(struct launch, root_disk), true },
	{ "netd", offsetof(struct launch, netd), true },
	{ "domain", offsetof(struct launch, domain), false },
	{ "nameservers", offsetof(struct launch, nameservers), false },
	{ "hostPorts", offsetof(struct launch, host_ports), false },
	{ "sshSocket", offsetof(struct launch, ssh_socket), false },
	{ "shareServer", offsetof(struct launch, share_server), false },
	{ "saved", offsetof(struct launch, saved_directory), false },
	{ "copyOf", offsetof(struct launch, origin), false },
};

static const struct {
	const char *name;
	size_t offset;
	uint32_t max;
} device_counts[] = {
	{ "disks", offsetof(struct machine_devices, disks), MACHINE_DISKS_MAX },
	{ "readOnlyDisks", offsetof(struct machine_devices, read_only_disks), MACHINE_DISKS_MAX },
	{ "nics", offsetof(struct machine_devices, nics), MACHINE_NICS_MAX },
};

static uint32_t *device_count(struct machine_devices *devices, size_t i)
{
	return (uint32_t *)(void *)((char *)devices + device_counts[i].offset);
}

static json_t *devices_to_json(struct machine_devices devices)
{
	json_t *json = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(device_counts); i++)
		json_object_set_new(json, device_counts[i].name,
				    json_integer(*device_count(&devices, i)));
	return json;
}

static int devices_from_json(const json_t *json, struct machine_devices *ret_devices,
			     struct err *err)
{
	struct machine_devices devices = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(device_counts); i++) {
		int64_t count = json_get_int(json, device_counts[i].name, -1);

		if (count < 0 || count > device_counts[i].max)
			return err_set(err, -EBADMSG, "the launch specification has wrong %s",
				       device_counts[i].name);
		*device_count(&devices, i) = (uint32_t)count;
	}
	if (devices.disks < MACHINE_VOLUME_SLOT + devices.read_only_disks)
		return err_set(err, -EBADMSG, "the launch specification has too few disks");
	*ret_devices = devices;
	return 0;
}

static char **member(const struct launch *launch, size_t i)
{
	return (char **)((char *)launch + strings[i].offset);
}

/* A lock is told by its being there; its number is known to both sides. */
static json_t *volumes_to_json(const struct launch *launch)
{
	json_t *array = json_array();

	VEC_EACH (&launch->volumes, it) {
		json_t *item = json_object();

		json_object_set_new(item, "mount", json_integer(it->mount));
		json_object_set_new(item, "slot", json_integer(it->slot));
		json_object_set_new(item, "readOnly", json_boolean(it->read_only));
		json_object_set_new(item, "fill", json_boolean(it->fill));
		json_object_set_new(item, "wait", json_boolean(it->wait));
		json_object_set_new(item, "locked", json_boolean(it->lock_fd >= 0));
		json_set_string(item, "path", it->path);
		json_set_string(item, "journal", it->journal);
		json_array_append_new(array, item);
	}
	return array;
}

static int volumes_from_json(const json_t *array, struct launch *launch, struct err *err)
{
	const json_t *item;
	int lock_fd = LAUNCH_FD_VOLUMES;
	size_t i;

	json_array_foreach (array, i, item) {
		const char *path = json_get_string(item, "path");
		int64_t slot = json_get_int(item, "slot", -1);
		int64_t mount = json_get_int(item, "mount", -1);

		if (!path || mount < 0 ||
		    (slot != 0 && (slot < MACHINE_VOLUME_SLOT || slot >= launch->devices.disks)))
			return err_set(err, -EBADMSG,
				       "the launch specification has a wrong volume");
		struct launch_volume volume = {
			.mount = (uint32_t)mount,
			.slot = (uint32_t)slot,
			.read_only = json_get_bool(item, "readOnly", false),
			.fill = json_get_bool(item, "fill", false),
			.wait = json_get_bool(item, "wait", false),
			.path = xstrdup(path),
			.journal = xstrdup(json_get_string(item, "journal")),
			.lock_fd = json_get_bool(item, "locked", false) ? lock_fd++ : -1,
		};
		if (volume.lock_fd >= 0)
			fd_set_cloexec(volume.lock_fd, true);
		VEC_PUSH(&launch->volumes, volume);
	}
	return 0;
}

/* As hexadecimal: they may be any bytes. */
static json_t *secrets_to_json(const struct launch *launch)
{
	json_t *array = json_array();

	VEC_EACH (&launch->secrets, it) {
		AUTO_FREE char *hex = xmalloc(2 * it->size + 1);

		hash_hex((const uint8_t *)it->data, it->size, hex);
		json_array_append_new(array, json_pack("{s:s, s:I, s:s}", "path", it->path, "mode",
						       (json_int_t)it->mode, "data", hex));
		explicit_bzero(hex, 2 * it->size);
	}
	return array;
}

static int secret_from_json(const json_t *item, struct launch_secret *ret_secret)
{
	const char *path = json_get_string(item, "path");
	const char *hex = json_get_string(item, "data");
	size_t size = hex ? strlen(hex) / 2 : 0;

	if (!path || !hex || size > LAUNCH_SECRET_MAX)
		return -EBADMSG;
	*ret_secret = (struct launch_secret){ .path = xstrdup(path),
					      .mode = (uint32_t)json_get_int(item, "mode", 0400),
					      .data = xmalloc(size + 1),
					      .size = size };
	for (size_t i = 0; i < size; i++)
		if (sscanf(hex + 2 * i, "%2hhx", (unsigned char *)&ret_secret->data[i]) != 1)
			return -EBADMSG;
	return 0;
}

static int secrets_from_json(const json_t *array, struct launch *launch, struct err *err)
{
	const json_t *item;
	size_t i;

	json_array_foreach (array, i, item) {
		struct launch_secret secret = { 0 };
		int r = secret_from_json(item, &secret);

		VEC_PUSH(&launch->secrets, secret);
		if (r < 0)
			return err_set(err, r, "the launch specification has a wrong secret");
	}
	return 0;
}

void launch_release_secrets(struct launch *launch)
{
	VEC_EACH (&launch->secrets, it) {
		if (it->data)
			explicit_bzero(it->data, it->size);
		free(it->data);
		free(it->path);
	}
	VEC_FREE(&launch->secrets);
}

void launch_unlock_volumes(struct launch *launch)
{
	VEC_EACH (&launch->volumes, it)
		if (it->lock_fd >= 0)
			close(TAKE_FD(it->lock_fd));
}

void launch_release(struct launch *launch)
{
	launch_unlock_volumes(launch);
	VEC_EACH (&launch->volumes, it) {
		free(it->path);
		free(it->journal);
	}
	VEC_FREE(&launch->volumes);
	launch_release_secrets(launch);
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		free(*member(launch, i));
	*launch = (struct launch){ 0 };
}

struct machine_shape launch_shape(const struct launch *launch)
{
	return (struct machine_shape){
		.accel = str_eq(launch->accel, "kvm") ? ACCEL_KVM : ACCEL_TCG,
		.vcpus = launch->vcpus,
		.memory_bytes = launch->memory_bytes,
		.devices = launch->devices,
		.qemu = launch->qemu,
		.kernel = launch->kernel,
		.modules = launch->modules,
		.init = launch->init,
		.scratch = launch->scratch,
	};
}

int launch_write(const struct launch *launch, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = memfd_create("hull-launch", MFD_CLOEXEC);
	AUTO_JSON json_t *json = json_object();
	AUTO_FREE char *text = NULL;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		json_set_string(json, strings[i].name, *member(launch, i));
	json_object_set_new(json, "vcpus", json_integer(launch->vcpus));
	json_object_set_new(json, "memory", json_integer((json_int_t)launch->memory_bytes));
	json_object_set_new(json, "devices", devices_to_json(launch->devices));
	json_object_set_new(json, "volumes", volumes_to_json(launch));
	json_object_set_new(json, "secrets", secrets_to_json(launch));
	json_object_set_new(json, "scratchSlot", json_integer(launch->scratch_slot));
	json_object_set_new(json, "isCopy", json_boolean(launch->is_copy));
	json_object_set_new(json, "generation", json_integer(launch->generation));
	json_object_set_new(json, "copyIndex", json_integer(launch->copy_index));
	json_object_set_new(json, "copyCount", json_integer(launch->copy_count));
	json_object_set_new(json, "forkSignal", json_integer(launch->fork_signal));
	json_object_set_new(json, "attach", json_integer(launch->attach));
	json_object_set_new(json, "rows", json_integer(launch->rows));
	json_object_set_new(json, "columns", json_integer(launch->columns));
	json_object_set_new(json, "tap", json_boolean(launch->tap));
	json_object_set_new(json, "files", json_boolean(launch->files));
	json_object_set_new(json, "debug", json_boolean(launch->debug));
	json_object_set_new(json, "origin", json_integer((json_int_t)launch->timeline_origin_ns));
	text = json_text(json);
	if (fd < 0)
		return err_set(err, -errno, "cannot create a memory file: %m");
	r = fd_write_all(fd, text, strlen(text));
	if (r < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_set(err, r < 0 ? r : -errno, "cannot write a memory file: %m");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int launch_read(int fd, struct launch *ret_launch, struct err *err)
{
	CLEANUP(launch_release) struct launch launch = { 0 };
	AUTO_JSON json_t *json = NULL;
	AUTO_FREE char *text = NULL;
	size_t size = 0;
	int r = fd_read_text(fd, SPEC_MAX, &text, &size);

	if (r < 0)
		return err_set(err, r, "cannot read the launch specification: %m");
	r = json_parse(text, size, "the launch specification", &json, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		*member(&launch, i) = xstrdup(json_get_string(json, strings[i].name));
		if (strings[i].required && !*member(&launch, i))
			return err_set(err, -EBADMSG, "the launch specification has no '%s'",
				       strings[i].name);
	}
	launch.vcpus = (uint32_t)json_get_int(json, "vcpus", 1);
	launch.memory_bytes = (uint64_t)json_get_int(json, "memory", 0);
	r = devices_from_json(json_get_object(json, "devices"), &launch.devices, err);
	if (r == 0)
		r = volumes_from_json(json_get_array(json, "volumes"), &launch, err);
	if (r == 0)
		r = secrets_from_json(json_get_array(json, "secrets"), &launch, err);
	if (r < 0)
		return r;
	launch.scratch_slot = (uint32_t)json_get_int(json, "scratchSlot", LAUNCH_SCRATCH_FRESH);
	if (launch.scratch_slot != LAUNCH_SCRATCH_FRESH &&
	    launch.scratch_slot != LAUNCH_SCRATCH_USED)
		return err_set(err, -EBADMSG, "the launch specification has a wrong slot");
	launch.is_copy = json_get_bool(json, "isCopy", false);
	launch.generation = (uint32_t)json_get_int(json, "generation", 0);
	launch.copy_index = (uint32_t)json_get_int(json, "copyIndex", 0);
	launch.copy_count = (uint32_t)json_get_int(json, "copyCount", 0);
	launch.fork_signal = (uint32_t)json_get_int(json, "forkSignal", 0);
	launch.attach = (uint32_t)json_get_int(json, "attach", 0);
	launch.rows = (uint32_t)json_get_int(json, "rows", 0);
	launch.columns = (uint32_t)json_get_int(json, "columns", 0);
	launch.tap = json_get_bool(json, "tap", false);
	launch.files = json_get_bool(json, "files", false);
	launch.debug = json_get_bool(json, "debug", false);
	launch.timeline_origin_ns = (uint64_t)json_get_int(json, "origin", 0);
	*ret_launch = launch;
	launch = (struct launch){ 0 };
	return 0;
}

const struct launch_volume *launch_volume_of(const struct launch *launch, size_t mount)
{
	VEC_EACH (&launch->volumes, it)
		if (it->mount == mount)
			return it;
	return NULL;
}

char *launch_container_dir(const char *root, const char *uuid)
{
	return path_join(root, "containers/%s", uuid);
}

char *launch_run_dir(const char *run, const char *uuid)
{
	return path_join(run, "%s", uuid);
}

char *launch_lock_path(const char *root, const char *uuid)
{
	return path_join(root, "containers/%s/lock", uuid);
}

char *launch_held_path(const char *root, const char *uuid)
{
	return path_join(root, "containers/%s/held", uuid);
}

char *launch_volume_copy(uint32_t mount)
{
	return xasprintf("volume-%u.img", mount);
}

char *launch_saved_path(const char *root, const char *uuid)
{
	return path_join(root, "containers/%s/saved", uuid);
}

char *launch_socket_path(const char *root, const char *uuid)
{
	return path_join(root, "containers/%s/ctl", uuid);
}
