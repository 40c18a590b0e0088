/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/saved_disks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/vec.h"

#define TICK_NS 20000000

struct saved_disk {
	char *from;           /* owned: path */
	char *name;           /* owned: of the copy */
	struct timespec time; /* when its copy began, on the clock of its file */
};

struct saved_disks {
	VEC(struct saved_disk) all;
};

struct saved_disks *saved_disks_new(const struct launch *launch)
{
	struct saved_disks *disks = xcalloc(1, sizeof(*disks));
	AUTO_FREE char *dir = launch_container_dir(launch->root, launch->uuid);

	VEC_PUSH(&disks->all, ((struct saved_disk){ .from = path_join(dir, "scratch.img"),
						    .name = xstrdup("scratch.img") }));
	/* Of a disk that is mounted twice the first has the lock. */
	VEC_EACH (&launch->volumes, it)
		if (it->slot && !it->read_only && it->lock_fd >= 0)
			VEC_PUSH(&disks->all, ((struct saved_disk){
						      .from = xstrdup(it->path),
						      .name = launch_volume_copy(it->mount),
					      }));
	return disks;
}

struct saved_disks *saved_disks_free(struct saved_disks *disks)
{
	if (!disks)
		return NULL;
	VEC_EACH (&disks->all, it) {
		free(it->from);
		free(it->name);
	}
	VEC_FREE(&disks->all);
	free(disks);
	return NULL;
}

uint64_t saved_disks_bytes(const struct saved_disks *disks)
{
	uint64_t bytes = 0;
	struct stat st;

	VEC_EACH (&disks->all, it)
		if (stat(it->from, &st) == 0)
			bytes += (uint64_t)st.st_blocks * 512;
	return bytes;
}

void saved_disks_sync(const struct saved_disks *disks)
{
	VEC_EACH (&disks->all, it) {
		AUTO_CLOSE int fd = open(it->from, O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
			fdatasync(fd);
	}
}

static int copy_one(struct saved_disk *disk, const char *directory, struct err *err)
{
	AUTO_FREE char *to_path = path_join(directory, "%s", disk->name);
	AUTO_CLOSE int from = open(disk->from, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int to = -1;
	int r;

	unlink(to_path);
	to = open(to_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	clock_gettime(CLOCK_REALTIME_COARSE, &disk->time);
	r = from < 0 || to < 0 ? -errno : fd_clone_file(from, to);
	return r < 0 ? err_set(err, r, "cannot copy the disk '%s': %m", disk->from) : 0;
}

int saved_disks_copy(struct saved_disks *disks, const char *directory, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < disks->all.count; i++)
		r = copy_one(&disks->all.items[i], directory, err);
	return r;
}

/* The file's time is that of a clock which ticks a hundred times a second at least: what was
 * written in the tick in which the copy began may not be in it. */
static bool has_changed(const struct saved_disk *disk)
{
	struct stat st;

	return stat(disk->from, &st) < 0 ||
	       (st.st_mtim.tv_sec - disk->time.tv_sec) * 1000000000 + st.st_mtim.tv_nsec >=
		       disk->time.tv_nsec - TICK_NS;
}

int saved_disks_update(struct saved_disks *disks, const char *directory, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < disks->all.count; i++)
		if (has_changed(&disks->all.items[i]))
			r = copy_one(&disks->all.items[i], directory, err);
	return r;
}
