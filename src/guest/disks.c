/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/disks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "guest/sys.h"

#define DISKS_MAX 64
#define SERIAL_MAX 64
/* A request costs the emulator far more than the bytes in it: the usual 128 KiB are too few. */
#define READ_AHEAD_KB "1024"

static struct {
	char name[32];
	char serial[SERIAL_MAX];
} disks[DISKS_MAX];
static size_t disk_count;

void disks_scan(void)
{
	DIR *dir = opendir("/sys/block");
	struct dirent *entry;

	disk_count = 0;
	while (dir && disk_count < DISKS_MAX && (entry = readdir(dir))) {
		char path[300];
		char *serial = disks[disk_count].serial;

		if (!str_starts(entry->d_name, "vd"))
			continue;
		snprintf(path, sizeof(path), "/sys/block/%s/serial", entry->d_name);
		if (sys_read_file(path, serial, SERIAL_MAX) <= 0)
			continue;
		serial[strcspn(serial, "\n")] = '\0';
		snprintf(path, sizeof(path), "/sys/block/%s/queue/read_ahead_kb", entry->d_name);
		sys_write_file(path, READ_AHEAD_KB);
		snprintf(disks[disk_count].name, sizeof(disks[0].name), "%.31s", entry->d_name);
		disk_count++;
	}
	if (dir)
		closedir(dir);
}

static const char *lookup(const char *serial)
{
	for (size_t i = 0; i < disk_count; i++)
		if (str_eq(disks[i].serial, serial))
			return disks[i].name;
	return NULL;
}

void disks_forget(void)
{
	for (size_t i = 0; i < disk_count; i++) {
		char path[DISK_PATH_MAX];

		snprintf(path, sizeof(path), "/dev/%.31s", disks[i].name);
		AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			ioctl(fd, BLKFLSBUF, 0);
	}
}

int disk_find(const char *serial, char ret_path[DISK_PATH_MAX], struct err *err)
{
	const char *name = lookup(serial);
	char path[DISK_PATH_MAX];

	if (!name) {
		disks_scan(); /* plugged in later */
		name = lookup(serial);
	}
	if (!name)
		return err_set(err, -ENODEV, "there is no disk '%s'", serial);
	snprintf(path, sizeof(path), "/dev/%s", name);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "cannot open disk '%s': %m", serial);
	memcpy(ret_path, path, sizeof(path));
	return 0;
}
