/* SPDX-License-Identifier: Apache-2.0 */
/* hull-init's side of mounts.h: what is backed by a device. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "guest/disks.h"
#include "guest/fill.h"
#include "guest/mounters.h"
#include "guest/mounts.h"
#include "guest/shares.h"
#include "guest/sys.h"
#include "guest/timeline.h"

#define LOWER MOUNTS_LOWER
#define SCRATCH MOUNTS_SCRATCH
#define ROOT MOUNTS_ROOT
#define DEVICE_FORMAT "/run/device%zu"
#define READ_AHEAD_MAX ((size_t)8 << 20)
#define BUSY_RETRIES 50
#define BUSY_RETRY_MS 10

#define EARLY_SERIAL "slot1"
#define EXT4_MAGIC_OFFSET (1024 + 56)

static bool early_scratch; /* the disk of EARLY_SERIAL is mounted at SCRATCH */
static bool early_image;   /* the image is mounted at LOWER */
static bool early_root;    /* the overlay of both is mounted at ROOT */
static bool device_mounted[MSG_MOUNTS_MAX];
static int device_ticket[MSG_MOUNTS_MAX]; /* of who mounts it; negative: nobody */

int mounts_prepare(struct err *err)
{
	static const char *const directories[] = { "/run", LOWER,           SCRATCH,
						   ROOT,   MOUNTS_NEW_ROOT, MOUNTS_STAGE };

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
		if (mkdir(directories[i], 0755) < 0 && errno != EEXIST)
			return err_set(err, -errno, "cannot make '%s': %m", directories[i]);
	return 0;
}

int mounts_clone(const char *path, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_PATH | O_CLOEXEC);
	int tree = fd < 0 ? -errno : sys_clone_tree(fd, false);

	return tree < 0 ? err_set(err, tree, "cannot copy the mount '%s': %m", path) : tree;
}

static int mount_scratch(const char *serial, struct err *err)
{
	char disk[DISK_PATH_MAX];
	int r;

	if (!*serial)
		return mount("tmpfs", SCRATCH, "tmpfs", 0, "mode=755") < 0
			       ? err_set(err, -errno, "cannot mount a tmpfs for the writes: %m")
			       : 0;
	r = disk_find(serial, disk, err);
	if (r < 0)
		return r;
	if (mount(disk, SCRATCH, "ext4", MS_NOATIME,
		  "discard,noinit_itable,no_prefetch_block_bitmaps") < 0)
		return err_set(err, -errno, "cannot mount the scratch disk '%s': %m", serial);
	return 0;
}

static int make_scratch_dirs(struct err *err)
{
	if ((mkdir(SCRATCH "/upper", 0755) < 0 && errno != EEXIST) ||
	    (mkdir(SCRATCH "/work", 0755) < 0 && errno != EEXIST))
		return err_set(err, -errno, "cannot use the scratch disk: %m");
	return 0;
}

/* An empty slot reads as zeros. */
static bool holds_ext4(const char *serial)
{
	char disk[DISK_PATH_MAX];
	uint8_t magic[2] = { 0 };
	AUTO_CLOSE int fd =
		disk_find(serial, disk, NULL) < 0 ? -1 : open(disk, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && pread(fd, magic, sizeof(magic), EXT4_MAGIC_OFFSET) == sizeof(magic) &&
	       magic[0] == 0x53 && magic[1] == 0xef;
}

int mounts_scratch_early(struct err *err)
{
	int r;

	if (!holds_ext4(EARLY_SERIAL))
		return 0;
	r = mount_scratch(EARLY_SERIAL, err);
	if (r == 0)
		r = make_scratch_dirs(err);
	sync();
	early_scratch = r == 0;
	return r;
}

static int require_scratch(const char *serial, struct err *err)
{
	int r;

	if (early_scratch && str_eq(serial, EARLY_SERIAL))
		return 0;
	if (early_scratch)
		umount2(SCRATCH, MNT_DETACH);
	r = mount_scratch(serial, err);
	return r < 0 ? r : make_scratch_dirs(err);
}

static int require_image(const char *serial, struct err *err)
{
	char disk[DISK_PATH_MAX];
	int r;

	if (early_image)
		return 0;
	r = disk_find(serial, disk, err);
	if (r < 0)
		return r;
	if (mount(disk, LOWER, "erofs", MS_RDONLY, NULL) < 0)
		return err_set(err, -errno, "cannot mount the image's disk '%s': %m", serial);
	return 0;
}

static int require_overlay(const char *scratch_serial, struct err *err)
{
	if (early_root && str_eq(scratch_serial, EARLY_SERIAL))
		return 0;
	if (early_root)
		umount2(ROOT, MNT_DETACH);
	int r = require_scratch(scratch_serial, err);
	if (r < 0)
		return r;
	timeline_point("guest: scratch mounted");
	/* The upper directory has to stay a plain diff of the image, that the host can read. */
	if (mount("overlay", ROOT, "overlay", 0,
		  "lowerdir=" LOWER ",upperdir=" SCRATCH "/upper,workdir=" SCRATCH "/work,"
		  "redirect_dir=off,metacopy=off,index=off,xino=off") < 0)
		return err_set(err, -errno, "cannot mount the root file system: %m");
	return 0;
}

int mounts_root(const char *root_serial, const char *scratch_serial, struct err *err)
{
	int r = require_image(root_serial, err);

	if (r < 0)
		return r;
	timeline_point("guest: image mounted");
	r = require_overlay(scratch_serial, err);
	if (r < 0)
		return r;
	timeline_point("guest: overlay mounted");
	return mounts_clone(ROOT, err);
}

/* What nearly every program needs first is read into memory, where all machines of the template
 * share it. */
static void read_ahead(int root_fd)
{
	static const char *const paths[] = {
		"etc/passwd",
		"etc/group",
		"etc/ld.so.cache",
		"lib64/ld-linux-x86-64.so.2",
		"lib/ld-musl-x86_64.so.1",
		"lib/x86_64-linux-gnu/libc.so.6",
		"lib64/libc.so.6",
		"bin/sh",
	};
	char buffer[65536];

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		AUTO_CLOSE int fd = sys_open_in_root(root_fd, paths[i], O_RDONLY | O_NONBLOCK, 0);
		size_t left = READ_AHEAD_MAX;
		ssize_t n = fd < 0 ? 0 : 1;

		while (n > 0 && left > 0) {
			n = read(fd, buffer, sizeof(buffer));
			left -= n > 0 ? MIN((size_t)n, left) : 0;
		}
	}
}

int mounts_root_early(const struct msg_prepare *prepare, struct err *err)
{
	AUTO_CLOSE int tree = mounts_root(prepare->root_serial, prepare->scratch_serial, err);

	if (tree < 0)
		return tree;
	read_ahead(tree);
	sync();
	early_image = true;
	early_root = early_scratch && str_eq(prepare->scratch_serial, EARLY_SERIAL);
	return 0;
}

unsigned long mounts_flags(const char *options, unsigned long flags, struct sbuf *data)
{
	static const struct {
		const char *word;
		unsigned long flag;
		bool clears;
	} words[] = {
		{ "ro", MS_RDONLY, false },
		{ "rw", MS_RDONLY, true },
		{ "nosuid", MS_NOSUID, false },
		{ "suid", MS_NOSUID, true },
		{ "nodev", MS_NODEV, false },
		{ "dev", MS_NODEV, true },
		{ "noexec", MS_NOEXEC, false },
		{ "exec", MS_NOEXEC, true },
		{ "sync", MS_SYNCHRONOUS, false },
		{ "async", MS_SYNCHRONOUS, true },
		{ "noatime", MS_NOATIME, false },
		{ "atime", MS_NOATIME, true },
		{ "nodiratime", MS_NODIRATIME, false },
		{ "relatime", MS_RELATIME, false },
		{ "strictatime", MS_STRICTATIME, false },
	};
	AUTO_STRV char **list = str_split(options, ',', 0);

	STRV_EACH (list, it) {
		size_t i = 0;

		while (i < ARRAY_SIZE(words) && !str_eq(words[i].word, *it))
			i++;
		if (i < ARRAY_SIZE(words))
			flags = words[i].clears ? flags & ~words[i].flag : flags | words[i].flag;
		else if (**it)
			sbuf_addf(data, "%s%s", data->length ? "," : "", *it);
	}
	return flags;
}

bool mounts_is_device(uint32_t type)
{
	return type == MSG_MOUNT_BLOCK || type == MSG_MOUNT_SHARE || type == MSG_MOUNT_VOLUME;
}

/* Where device number index is mounted: a directory, or a file for a single file of the host. */
static int make_place(size_t index, bool is_file, char place[64], struct err *err)
{
	int r;

	snprintf(place, 64, DEVICE_FORMAT, index);
	r = is_file ? mknod(place, S_IFREG | 0644, 0) : mkdir(place, 0755);
	return r < 0 && errno != EEXIST ? err_set(err, -errno, "cannot make '%s': %m", place) : 0;
}

static int mount_share(const struct msg_mount *message, size_t index, struct err *err)
{
	bool is_file = str_eq(message->options, "file");
	char place[64];
	int r = make_place(index, is_file, place, err);

	if (r == 0)
		r = shares_mount(message->source, place, is_file, err);
	if (r < 0)
		return r;
	device_mounted[index] = true;
	return mounts_clone(place, err);
}

static int describe_device(const struct msg_mount *message, size_t index,
			   struct mounter_order *order, struct err *err)
{
	AUTO_SBUF struct sbuf data = { 0 };
	const char *options = message->options;
	int r;

	snprintf(order->type, sizeof(order->type), "ext4");
	r = disk_find(message->source, order->device, err);
	if (r == 0)
		r = make_place(index, false, order->place, err);
	if (message->type == MSG_MOUNT_BLOCK) {
		size_t length = strcspn(options, ",");

		snprintf(order->type, sizeof(order->type), "%.*s", (int)length, options);
		options += length;
	}
	order->flags = mounts_flags(options, 0, &data);
	/* A volume may be mounted elsewhere to be written to; its copy becomes read-only. */
	if (message->read_only && message->type != MSG_MOUNT_VOLUME)
		order->flags |= MS_RDONLY;
	if (r == 0 && data.length >= sizeof(order->data))
		return err_set(err, -E2BIG, "the mount options of '%s' are too long",
			       message->target);
	snprintf(order->data, sizeof(order->data), "%s", str_or(data.text, ""));
	return r;
}

/* Each mount of a disk is tens of milliseconds of work under emulation: they are done beside the
 * rest. What fails here is tried again, and told, when its turn comes. */
void mounts_devices_begin(const struct msg_session *session)
{
	for (size_t i = 0; i < session->mount_count; i++) {
		const struct msg_mount *message = &session->mounts[i];
		struct mounter_order order = { 0 };

		device_ticket[i] = -ECHILD;
		if (mounts_is_device(message->type) && message->type != MSG_MOUNT_SHARE &&
		    describe_device(message, i, &order, NULL) == 0)
			device_ticket[i] = mounters_order(&order);
	}
}

static int require_device(const struct msg_mount *message, size_t index, struct err *err)
{
	struct mounter_order order = { 0 };
	int r = device_ticket[index] >= 0 ? mounters_wait(device_ticket[index]) : -ECHILD;

	if (r == 0)
		return 0;
	r = describe_device(message, index, &order, err);
	if (r < 0)
		return r;
	r = mounters_mount(&order);
	return r < 0 ? err_set(err, r, "cannot mount '%s' (%s) for '%s': %m", message->source,
			       order.type, message->target)
		     : 0;
}

int mounts_device(const struct msg_mount *message, size_t index, struct err *err)
{
	char place[64];
	int r;

	if (message->type == MSG_MOUNT_SHARE)
		return mount_share(message, index, err);
	r = require_device(message, index, err);
	if (r < 0)
		return r;
	device_mounted[index] = true;
	snprintf(place, sizeof(place), DEVICE_FORMAT, index);
	if (message->type == MSG_MOUNT_VOLUME)
		r = fill_volume(ROOT, message->target, place, err);
	return r < 0 ? r : mounts_clone(place, err);
}

static int fill_share(const struct msg_mount *message, const char *place, struct err *err)
{
	return fill_volume(ROOT, message->target, place, err);
}

static int end_filling(const struct msg_mount *message, const char *place, struct err *err)
{
	fill_end(place);
	return 0;
}

static int wait_for_share(const struct msg_mount *message, const char *place, struct err *err)
{
	return fill_wait(message->target, place, err);
}

int mounts_fill_shares(const struct msg_session *session, struct err *err)
{
	/* The same volume may be in several places: one of them has what is to be copied. */
	static const struct {
		const char *options;
		int (*run)(const struct msg_mount *message, const char *place, struct err *err);
	} steps[] = {
		{ "directory,fill", fill_share },
		{ "directory,fill", end_filling },
		{ "directory,wait", wait_for_share },
	};

	for (size_t step = 0; step < ARRAY_SIZE(steps); step++) {
		for (size_t i = 0; i < session->mount_count; i++) {
			const struct msg_mount *message = &session->mounts[i];
			char place[64];
			int r;

			if (message->type != MSG_MOUNT_SHARE ||
			    !str_eq(message->options, steps[step].options))
				continue;
			snprintf(place, sizeof(place), DEVICE_FORMAT, i);
			r = steps[step].run(message, place, err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

int mounts_device_copy(size_t index, struct err *err)
{
	char place[64];

	snprintf(place, sizeof(place), DEVICE_FORMAT, index);
	return mounts_clone(place, err);
}

void mounts_sync_begin(void)
{
	AUTO_CLOSE int fd = open(SCRATCH, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && fork() == 0) {
		syncfs(fd);
		_exit(0);
	}
}

/* Read-only, a file system is clean on disk, and what unmounting it would do beyond that ends with
 * the machine. The container's namespace may still be going away when its last process has ended.
 */
static int release_one(const char *path)
{
	int r = -EBUSY;

	for (int i = 0; i < BUSY_RETRIES && r == -EBUSY; i++) {
		r = mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0 ? -errno : 0;
		if (r == -EBUSY)
			poll(NULL, 0, BUSY_RETRY_MS);
	}
	if (r < 0)
		umount2(path, MNT_DETACH);
	return r == -EINVAL ? 0 : r; /* was not mounted */
}

int mounts_release(bool keep_scratch, struct err *err)
{
	int first = 0;

	if (keep_scratch)
		sync();
	for (size_t i = 0; i < MSG_MOUNTS_MAX; i++) {
		char place[64];
		int r;

		if (!device_mounted[i])
			continue;
		snprintf(place, sizeof(place), DEVICE_FORMAT, i);
		r = release_one(place);
		device_mounted[i] = false;
		if (r < 0 && first == 0)
			first = err_set(err, r, "cannot unmount '%s': %m", place);
	}
	if (!keep_scratch)
		return first;
	umount2(ROOT, MNT_DETACH);
	int r = release_one(SCRATCH);
	if (r < 0 && first == 0)
		first = err_set(err, r, "cannot unmount the scratch disk: %m");
	return first;
}
