/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/saved.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "config.h"
#include "proto/msg.h"
#include "vm/launch.h"
#include "vm/template_key.h"
#include "vm/template_ram.h"

#define FORMAT 2
#define DESCRIPTION_MAX (1u << 20)
#define STATE_MAX (64ll << 20)

char *saved_ram_path(const char *directory)
{
	return path_join(directory, "ram");
}

char *saved_state_path(const char *directory)
{
	return path_join(directory, "state");
}

char *saved_shares_path(const char *directory)
{
	return path_join(directory, "shares");
}

static char *description_path(const char *directory)
{
	return path_join(directory, "saved.json");
}

/* The machine as the emulator's arguments, without what differs from one container to the next. */
static char *machine_text(const struct machine_shape *shape)
{
	struct machine_shape same = *shape;
	const struct launch launch = { .use = LAUNCH_RESTORE, .shape = &same, .ram_path = "ram" };
	AUTO_SBUF struct sbuf text = { 0 };
	AUTO_STRV char **argv = NULL;

	same.qemu = "emulator"; /* wherever it lies */
	argv = launch_argv(&launch);
	STRV_EACH (argv, it)
		sbuf_addf(&text, "%s%s", text.length ? " " : "", *it);
	return sbuf_take(&text);
}

static json_t *describe_emulator(const char *qemu, struct err *err)
{
	struct stat st;

	if (stat(qemu, &st) < 0) {
		err_set(err, -errno, "cannot find the emulator '%s': %m", qemu);
		return NULL;
	}
	return json_pack("{s:s, s:I, s:I}", "path", qemu, "bytes", (json_int_t)st.st_size, "mtime",
			 (json_int_t)st.st_mtim.tv_sec);
}

json_t *saved_describe(const struct machine_shape *shape, uint32_t scratch_slot, struct err *err)
{
	AUTO_FREE char *machine = machine_text(shape);
	AUTO_FREE char *cpu = template_key_cpu();
	AUTO_JSON json_t *emulator = describe_emulator(shape->qemu, err);

	if (!emulator)
		return NULL;
	return json_pack("{s:i, s:s, s:i, s:s, s:i, s:I, s:{s:i, s:i, s:i}, s:i, s:s, s:s, s:O}",
			 "format", FORMAT, "hull", HULL_VERSION, "protocol", MSG_VERSION, "accel",
			 accel_names[shape->accel], "vcpus", (int)shape->vcpus, "memory",
			 (json_int_t)shape->memory_bytes, "devices", "disks",
			 (int)shape->devices.disks, "readOnlyDisks",
			 (int)shape->devices.read_only_disks, "nics", (int)shape->devices.nics,
			 "scratchSlot", (int)scratch_slot, "machine", machine, "cpu", cpu,
			 "emulator", emulator);
}

static int read_devices(const json_t *json, struct machine_devices *devices)
{
	int64_t disks = json_get_int(json, "disks", -1);
	int64_t read_only = json_get_int(json, "readOnlyDisks", -1);
	int64_t nics = json_get_int(json, "nics", -1);

	if (disks < 1 || disks > MACHINE_DISKS_MAX || read_only < 0 || read_only >= disks ||
	    nics < 0 || nics > MACHINE_NICS_MAX)
		return -EBADMSG;
	*devices = (struct machine_devices){ (uint32_t)disks, (uint32_t)read_only, (uint32_t)nics };
	return 0;
}

static int read_shape(const json_t *description, struct saved *saved)
{
	const char *accel = json_get_string(description, "accel");
	int64_t vcpus = json_get_int(description, "vcpus", 0);
	int64_t memory = json_get_int(description, "memory", 0);
	int64_t slot = json_get_int(description, "scratchSlot", 0);
	struct machine_devices devices = { 0 };

	if (vcpus < 1 || vcpus > 1024 || memory < 1 || memory % 4096 ||
	    read_devices(json_get_object(description, "devices"), &devices) < 0 || slot < 1 ||
	    slot >= devices.disks)
		return -EBADMSG;
	*saved = (struct saved){ .vcpus = (uint32_t)vcpus,
				 .memory_bytes = (uint64_t)memory,
				 .devices = devices,
				 .scratch_slot = (uint32_t)slot };
	for (int i = 0; i < ACCEL_COUNT; i++) {
		if (!str_eq(accel, accel_names[i]))
			continue;
		saved->accel = (enum accel_kind)i;
		return 0;
	}
	return -EBADMSG;
}

static int check_emulator(const json_t *then, const char *qemu, struct err *err)
{
	const char *path = json_get_string(then, "path");
	AUTO_JSON json_t *now = describe_emulator(qemu, err);

	if (!now)
		return -ENOENT;
	if (json_get_int(now, "bytes", 0) == json_get_int(then, "bytes", -1) &&
	    json_get_int(now, "mtime", 0) == json_get_int(then, "mtime", -1))
		return 0;
	/* A lean one has been built, say: the other is still there, as far as can be told. */
	if (path && !str_eq(path, qemu) && access(path, X_OK) == 0)
		return err_set(err, -ESTALE,
			       "it was saved by the emulator '%s', and this is '%s'; '[vm] qemu = "
			       "%s' in hull.conf goes back to that",
			       path, qemu, path);
	return err_set(err, -ESTALE, "it was saved by another build of the emulator than '%s'",
		       qemu);
}

int saved_check(const json_t *description, const char *qemu, struct saved *ret_saved,
		struct err *err)
{
	AUTO_FREE char *cpu = template_key_cpu();
	AUTO_FREE char *machine = NULL;
	struct machine_shape shape = { .qemu = qemu };
	struct saved saved = { 0 };
	int r;

	if (json_get_int(description, "format", 0) != FORMAT ||
	    json_get_int(description, "protocol", 0) != MSG_VERSION)
		return err_set(err, -ESTALE, "it was saved by hull %s; this is hull " HULL_VERSION,
			       str_or(json_get_string(description, "hull"), "of another time"));
	if (read_shape(description, &saved) < 0)
		return err_set(err, -EBADMSG, "its description is damaged");
	r = check_emulator(json_get_object(description, "emulator"), qemu, err);
	if (r < 0)
		return r;
	shape.accel = saved.accel;
	shape.vcpus = saved.vcpus;
	shape.memory_bytes = saved.memory_bytes;
	shape.devices = saved.devices;
	machine = machine_text(&shape);
	if (!str_eq(machine, json_get_string(description, "machine")))
		return err_set(err, -ESTALE,
			       "hull makes other machines now than when it was saved");
	if (!str_eq(cpu, json_get_string(description, "cpu")))
		return err_set(err, -ESTALE, "it was saved on another processor (%s)",
			       str_or(json_get_string(description, "cpu"), "unknown"));
	*ret_saved = saved;
	return 0;
}

/* Size and sum of a file, synced if that is wanted. */
static int sum_state(const char *path, json_t **ret_sum, bool sync, struct err *err)
{
	AUTO_FREE char *data = NULL;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t size = 0;
	uint32_t crc;
	int r = fd < 0 ? -errno : fd_read_text(fd, STATE_MAX, &data, &size);

	if (r == 0 && sync && fsync(fd) < 0)
		r = -errno;
	if (r < 0)
		return err_set(err, r, "cannot read '%s': %m", path);
	crc = ~hash_crc32c(~0u, data, size);
	*ret_sum = json_pack("{s:I, s:I}", "bytes", (json_int_t)size, "crc32c", (json_int_t)crc);
	return 0;
}

static int sum_ram(const char *directory, uint64_t bytes, uint32_t *ret_crc, bool sync,
		   struct err *err)
{
	AUTO_FREE char *path = saved_ram_path(directory);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int r = fd < 0 ? -errno : template_ram_copy(fd, -1, bytes, ret_crc);

	if (r == 0 && sync && fsync(fd) < 0)
		r = -errno;
	return r < 0 ? err_set(err, r, "cannot read '%s': %m", path) : 0;
}

int saved_seal(const char *directory, const struct machine_shape *shape, uint32_t scratch_slot,
	       bool durable, struct err *err)
{
	AUTO_FREE char *path = description_path(directory);
	AUTO_JSON json_t *description = saved_describe(shape, scratch_slot, err);
	AUTO_FREE char *state_path = saved_state_path(directory);
	AUTO_FREE char *shares_path = saved_shares_path(directory);
	AUTO_JSON json_t *state = NULL;
	AUTO_JSON json_t *shares = NULL;
	AUTO_FREE char *text = NULL;
	uint32_t ram_crc = 0;
	int r;

	if (!description)
		return err ? err->code : -EIO;
	r = sum_state(state_path, &state, durable, err);
	if (r == 0 && path_exists(shares_path))
		r = sum_state(shares_path, &shares, durable, err);
	if (r == 0 && durable)
		r = sum_ram(directory, shape->memory_bytes, &ram_crc, true, err);
	if (r < 0)
		return r;
	json_object_set(description, "state", state);
	if (shares)
		json_object_set(description, "shares", shares);
	if (durable)
		json_object_set_new(description, "ram",
				    json_pack("{s:I}", "crc32c", (json_int_t)ram_crc));
	text = json_text(description);
	return file_write_atomic(path, text, strlen(text), 0600, durable, err);
}

bool saved_exists(const char *directory)
{
	AUTO_FREE char *path = description_path(directory);

	return path_exists(path);
}

int saved_read(const char *directory, json_t **ret_description, struct err *err)
{
	AUTO_FREE char *path = description_path(directory);
	AUTO_FREE char *text = NULL;
	size_t size = 0;
	int r = file_read(path, DESCRIPTION_MAX, &text, &size, err);

	return r < 0 ? r
		     : json_parse(text, size, "the saved machine's description", ret_description,
				  err);
}

static int check_state(const char *path, const json_t *wanted, const char *what, struct err *err)
{
	AUTO_JSON json_t *sum = NULL;
	int r = sum_state(path, &sum, false, err);

	if (r < 0)
		return r;
	return json_equal(sum, wanted) ? 0 : err_set(err, -EBADMSG, "%s is damaged", what);
}

static int check_sums(const char *directory, const json_t *description, uint64_t memory_bytes,
		      struct err *err)
{
	AUTO_FREE char *state_path = saved_state_path(directory);
	AUTO_FREE char *shares_path = saved_shares_path(directory);
	const json_t *shares = json_get_object(description, "shares");
	const json_t *ram = json_get_object(description, "ram");
	uint32_t crc = 0;
	int r = check_state(state_path, json_get_object(description, "state"),
			    "the saved state of its devices", err);

	if (r == 0 && shares)
		r = check_state(shares_path, shares, "the saved state of its shares", err);
	if (r < 0)
		return r;
	if (!ram)
		return 0;
	r = sum_ram(directory, memory_bytes, &crc, false, err);
	if (r < 0)
		return r;
	if (crc != (uint32_t)json_get_int(ram, "crc32c", -1))
		return err_set(err, -EBADMSG, "its saved memory is damaged");
	return 0;
}

int saved_open(const char *directory, const char *qemu, struct saved *ret_saved, struct err *err)
{
	AUTO_JSON json_t *description = NULL;
	struct saved saved;
	int r = saved_read(directory, &description, err);

	if (r == 0)
		r = saved_check(description, qemu, &saved, err);
	if (r == 0)
		r = check_sums(directory, description, saved.memory_bytes, err);
	if (r == 0)
		*ret_saved = saved;
	return r;
}

void saved_as_template(const char *directory, uint64_t memory_bytes, struct template *ret_template)
{
	*ret_template = (struct template){ .directory = xstrdup(directory),
					   .ram_path = saved_ram_path(directory),
					   .state_path = saved_state_path(directory),
					   .ram_bytes = memory_bytes };
}
