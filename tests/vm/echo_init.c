/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest guest that a template can be made of: loads its modules, says MSG_HELLO on the port
 * named "agent", then answers every byte with the same byte; 'P' powers off, 'R' resets, 'C'
 * panics, and '0' … '3' are answered with 1 when that disk slot begins with "hull", with 0
 * otherwise.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void load_modules(void)
{
	struct dirent **entries = NULL;
	int count = scandir("/modules", &entries, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		char path[512];
		int fd;

		if (entries[i]->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/modules/%s", entries[i]->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
			printf("cannot load %s: %s\n", path, strerror(errno));
		close(fd);
	}
}

static int open_port(void)
{
	for (;;) {
		for (int i = 0; i < 4; i++) {
			char path[64];
			int fd;

			snprintf(path, sizeof(path), "/dev/vport%dp1", i);
			fd = open(path, O_RDWR | O_CLOEXEC);
			if (fd >= 0)
				return fd;
		}
		usleep(1000);
	}
}

static char look_at_slot(int slot)
{
	char path[64];
	char text[512] = "";
	int fd;
	int found = 0;

	snprintf(path, sizeof(path), "/dev/vd%c", 'a' + slot);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		found = read(fd, text, sizeof(text)) == sizeof(text) && !memcmp(text, "hull", 4);
		close(fd);
	}
	return (char)found;
}

static void answer(int port, char c)
{
	if (c == 'P')
		reboot(RB_POWER_OFF);
	if (c == 'R')
		reboot(RB_AUTOBOOT);
	if (c == 'C')
		exit(0);
	if (c >= '0' && c <= '3')
		c = look_at_slot(c - '0');
	if (write(port, &c, 1) != 1)
		printf("cannot answer: %s\n", strerror(errno));
}

int main(void)
{
	static const unsigned char hello[] = { 4, 0, 0, 0, 0,   0,   0,   0,
					       1, 0, 0, 0, 't', 'e', 's', 't' };
	int port;
	char c;

	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	load_modules();
	port = open_port();
	if (write(port, hello, sizeof(hello)) != sizeof(hello))
		printf("cannot say hello: %s\n", strerror(errno));
	for (;;) {
		if (read(port, &c, 1) == 1)
			answer(port, c);
		else
			usleep(1000); /* the host has not connected */
	}
}
