/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "guest/sys.h"

/* For processes that are in the kernel for long. */
#define FREEZE_EVENTS_MAX 10
#define FREEZE_WAIT_MS 100

#define CGROUP_PATH "/sys/fs/cgroup/container"
#define CPU_PERIOD_USEC 100000

int cgroup_create(struct err *err)
{
	static const char *const controllers[] = { "+cpu", "+cpuset", "+memory", "+pids", "+io" };
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
		sys_write_file("/sys/fs/cgroup/cgroup.subtree_control", controllers[i]);
	if (mkdir(CGROUP_PATH, 0755) < 0 && errno != EEXIST)
		return err_set(err, -errno, "cannot create the container's cgroup: %m");
	fd = open(CGROUP_PATH, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "cannot open the container's cgroup: %m");
	return fd;
}

static int set(int cgroup_fd, const char *file, const char *value, struct err *err)
{
	int r = sys_write_file_at(cgroup_fd, file, value);

	if (r < 0)
		return err_set(err, r, "cannot set %s to '%s': %m", file, value);
	return 0;
}

static int set_or_max(int cgroup_fd, const char *file, uint64_t value, struct err *err)
{
	char text[32] = "max";

	if (value)
		snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return set(cgroup_fd, file, text, err);
}

static int set_cpus(int cgroup_fd, const struct msg_limits *limits, struct err *err)
{
	unsigned online = sys_cpu_count();
	char text[64] = "\n"; /* all */
	int r;

	if (limits->cpus && limits->cpus < online)
		snprintf(text, sizeof(text), "0-%u", limits->cpus - 1);
	r = set(cgroup_fd, "cpuset.cpus", text, err);
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "max %d", CPU_PERIOD_USEC);
	if (limits->cpu_quota_percent)
		snprintf(text, sizeof(text), "%llu %d",
			 (unsigned long long)limits->cpu_quota_percent * (CPU_PERIOD_USEC / 100),
			 CPU_PERIOD_USEC);
	return set(cgroup_fd, "cpu.max", text, err);
}

int cgroup_set_limits(int cgroup_fd, const struct msg_limits *limits, struct err *err)
{
	static bool touched; /* a fresh cgroup has no limits: most starts write nothing */
	int r = 0;

	if (touched || limits->memory_bytes)
		r = set_or_max(cgroup_fd, "memory.max", limits->memory_bytes, err);
	if (r == 0 && (touched || limits->pids))
		r = set_or_max(cgroup_fd, "pids.max", limits->pids, err);
	if (r == 0 && (touched || limits->cpus || limits->cpu_quota_percent))
		r = set_cpus(cgroup_fd, limits, err);
	touched = true;
	return r;
}

static uint64_t number_after(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

uint64_t cgroup_oom_kills(int events_fd)
{
	char text[512];
	ssize_t n = pread(events_fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return number_after(text, "oom_kill ");
}

void cgroup_kill(int cgroup_fd)
{
	sys_write_file_at(cgroup_fd, "cgroup.kill", "1");
}

int cgroup_freeze(int cgroup_fd, bool freeze)
{
	AUTO_CLOSE int events = openat(cgroup_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	char text[256];
	int r = sys_write_file_at(cgroup_fd, "cgroup.freeze", freeze ? "1" : "0");

	if (r < 0 || !freeze)
		return r;
	for (int i = 0; events >= 0 && i < FREEZE_EVENTS_MAX; i++) {
		ssize_t n = pread(events, text, sizeof(text) - 1, 0);

		text[n > 0 ? n : 0] = '\0';
		if (strstr(text, "frozen 1"))
			return 0;
		fd_wait(events, POLLPRI, FREEZE_WAIT_MS);
	}
	return -ETIMEDOUT;
}

static uint64_t read_number(int cgroup_fd, const char *file)
{
	char text[64];

	if (sys_read_file_at(cgroup_fd, file, text, sizeof(text)) <= 0)
		return 0;
	return text[0] == 'm' ? 0 : strtoull(text, NULL, 10); /* "max" */
}

void cgroup_stats(int cgroup_fd, struct msg_stats *stats)
{
	char text[4096];

	stats->memory_usage_bytes = read_number(cgroup_fd, "memory.current");
	stats->memory_limit_bytes = read_number(cgroup_fd, "memory.max");
	stats->processes = read_number(cgroup_fd, "pids.current");
	if (sys_read_file_at(cgroup_fd, "cpu.stat", text, sizeof(text)) > 0)
		stats->cpu_usage_usec = number_after(text, "usage_usec ");
	if (sys_read_file_at(cgroup_fd, "io.stat", text, sizeof(text)) <= 0)
		return;
	for (char *line = text; line && *line;) {
		char *next = strchr(line, '\n');

		if (next)
			*next++ = '\0';
		stats->block_read_bytes += number_after(line, "rbytes=");
		stats->block_write_bytes += number_after(line, "wbytes=");
		line = next;
	}
}
