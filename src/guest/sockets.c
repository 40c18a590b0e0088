/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's way to end another's connection (SOCK_DESTROY of sock_diag(7)) is switched off in
 * many kernels, and a module in others. What every kernel has: /proc/net/tcp says which sockets are
 * connected whereto, /proc/PID/fd whose they are, and a descriptor that was fetched from there can
 * be disconnected as its owner could do it (connect(2), AF_UNSPEC): the peer gets a reset, and who
 * waits for it here an error.
 */
#include "guest/sockets.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define SOCKETS_MAX 4096 /* ended at once: those that are left have a kernel that gives them up */
#define LINE_MAX_SIZE 512
#define ADDRESS_DIGITS 32

struct found {
	uint64_t inodes[SOCKETS_MAX];
	size_t count;
};

struct address {
	uint32_t words[4]; /* in network order, as in memory */
	size_t count;      /* 1: IPv4, 4: IPv6 */
};

static bool parse_address(const char *digits, struct address *address)
{
	size_t length = strlen(digits);

	if (length != 8 && length != ADDRESS_DIGITS)
		return false;
	address->count = length / 8;
	for (size_t i = 0; i < address->count; i++) {
		char word[9];

		memcpy(word, digits + i * 8, 8);
		word[8] = '\0';
		address->words[i] = (uint32_t)strtoul(word, NULL, 16);
	}
	return true;
}

static bool is_loopback(const struct address *address)
{
	const uint32_t *words = address->words;

	if (address->count == 1)
		return (ntohl(words[0]) >> 24) == 127;
	if (words[0] || words[1])
		return false;
	if (words[2] == htonl(0xffff))
		return (ntohl(words[3]) >> 24) == 127;
	return words[2] == 0 && words[3] == htonl(1);
}

static bool leaves_the_machine(const struct address *from, const struct address *to)
{
	return !is_loopback(from) && !is_loopback(to) &&
	       memcmp(from->words, to->words, from->count * sizeof(from->words[0])) != 0;
}

/* A line of /proc/net/tcp or tcp6: proc(5). */
static void add_line(struct found *found, const char *line)
{
	char from_digits[ADDRESS_DIGITS + 1];
	char to_digits[ADDRESS_DIGITS + 1];
	struct address from;
	struct address to;
	unsigned state = 0;
	unsigned long long inode = 0;

	if (sscanf(line,
		   " %*u: %32[0-9A-F]:%*x %32[0-9A-F]:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %llu",
		   from_digits, to_digits, &state, &inode) != 4 ||
	    !parse_address(from_digits, &from) || !parse_address(to_digits, &to) ||
	    from.count != to.count)
		return; /* the heading */
	if (!inode || state == TCP_LISTEN || state == TCP_CLOSE || state == TCP_TIME_WAIT ||
	    !leaves_the_machine(&from, &to) || found->count == SOCKETS_MAX)
		return;
	found->inodes[found->count++] = inode;
}

static int list(struct found *found, const char *path)
{
	char line[LINE_MAX_SIZE];
	FILE *file = fopen(path, "re");

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file))
		add_line(found, line);
	fclose(file);
	return 0;
}

static bool is_found(const struct found *found, uint64_t inode)
{
	for (size_t i = 0; i < found->count; i++)
		if (found->inodes[i] == inode)
			return true;
	return false;
}

static void disconnect(int pidfd, int number)
{
	const struct sockaddr none = { .sa_family = AF_UNSPEC };
	AUTO_CLOSE int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);

	/* Some kernels do not disconnect what a thread waits for: it sees the end, then. */
	if (fd >= 0 && connect(fd, &none, sizeof(none)) < 0)
		shutdown(fd, SHUT_RDWR);
}

/* What one process has of them. */
static void end_those_of(const char *pid, const struct found *found)
{
	AUTO_CLOSE int pidfd = -1;
	char path[64];
	DIR *dir;
	const struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		char target[64];
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		unsigned long long inode;

		if (n <= 0)
			continue;
		target[n] = '\0';
		if (sscanf(target, "socket:[%llu]", &inode) != 1 || !is_found(found, inode))
			continue;
		if (pidfd < 0)
			pidfd = (int)syscall(SYS_pidfd_open, (pid_t)strtol(pid, NULL, 10), 0);
		disconnect(pidfd, (int)strtol(entry->d_name, NULL, 10));
	}
	if (dir)
		closedir(dir);
}

void sockets_abort_outside(void)
{
	static struct found found;
	DIR *dir;
	const struct dirent *entry;

	found.count = 0;
	if (list(&found, "/proc/net/tcp") < 0)
		log_warning("connections to the outside cannot be ended: %m");
	list(&found, "/proc/net/tcp6"); /* a kernel may be without it */
	dir = found.count ? opendir("/proc") : NULL;
	while (dir && (entry = readdir(dir)))
		if (isdigit((unsigned char)entry->d_name[0]))
			end_those_of(entry->d_name, &found);
	if (dir)
		closedir(dir);
}
