/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/top.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "guest/sys.h"
#include "proto/top.h"

struct seen {
	uint32_t pid, parent; /* as hull-init numbers them */
	char command[TOP_COMMAND_MAX + 1];
};

/* The first number of the line "Name:\t1\t2\t3", or the last. name: with the newline before it. */
static uint32_t number_of(const char *status, const char *name, bool last)
{
	const char *line = strstr(status, name);
	const char *at = line ? line + strlen(name) : NULL;
	const char *end = at ? strchr(at, '\n') : NULL;

	if (!end)
		return 0;
	while (last && end > at + 1 && memchr(at + 1, '\t', (size_t)(end - at - 1)))
		at = (const char *)memchr(at + 1, '\t', (size_t)(end - at - 1));
	return (uint32_t)strtoul(at, NULL, 10);
}

/* proc(5): fields 14 and 15 are CPU time, 22 is when it was started, in ticks. */
static void read_times(const char *stat, struct top_process *process)
{
	const char *rest = strrchr(stat, ')');
	unsigned long long user = 0;
	unsigned long long kernel = 0;
	unsigned long long start = 0;
	unsigned long long ticks = (unsigned long long)sysconf(_SC_CLK_TCK);
	struct timespec now;

	if (!rest || sscanf(rest + 1,
			    " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d "
			    "%*d %*d %*d %llu",
			    &user, &kernel, &start) != 3)
		return;
	clock_gettime(CLOCK_BOOTTIME, &now);
	process->cpu_ms = (user + kernel) * 1000 / ticks;
	if ((unsigned long long)now.tv_sec > start / ticks)
		process->age_s = (unsigned long long)now.tv_sec - start / ticks;
}

/* The arguments with blanks between, or the name in brackets. */
static void read_command(const char *directory, const char *status, struct seen *seen)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/cmdline", directory);
	n = sys_read_file(path, seen->command, sizeof(seen->command));
	for (ssize_t i = 0; i < n - 1; i++)
		if (seen->command[i] == '\0')
			seen->command[i] = ' ';
	if (n <= 0)
		snprintf(seen->command, sizeof(seen->command), "[%.15s]",
			 str_or(str_after(status, "Name:\t"), ""));
	seen->command[strcspn(seen->command, "\n")] = '\0';
}

static bool read_process(uint32_t pid, struct seen *seen, struct top_process *process)
{
	char directory[32];
	char path[64];
	char status[2048];
	char stat[1024];

	snprintf(directory, sizeof(directory), "/proc/%u", pid);
	snprintf(path, sizeof(path), "%s/status", directory);
	if (sys_read_file(path, status, sizeof(status)) <= 0)
		return false; /* it has ended */
	snprintf(path, sizeof(path), "%s/stat", directory);
	if (sys_read_file(path, stat, sizeof(stat)) > 0)
		read_times(stat, process);
	seen->pid = pid;
	seen->parent = number_of(status, "\nPPid:", false);
	process->pid = number_of(status, "\nNSpid:", true);
	process->uid = number_of(status, "\nUid:", false);
	read_command(directory, status, seen);
	process->command = seen->command;
	return true;
}

void top_collect(int cgroup_fd, struct sbuf *out)
{
	AUTO_FREE struct seen *seen = xcalloc(TOP_PROCESSES_MAX, sizeof(*seen));
	AUTO_FREE struct top_process *items = xcalloc(TOP_PROCESSES_MAX, sizeof(*items));
	AUTO_FREE char *text = xcalloc(1, TOP_PROCESSES_MAX * 12);
	struct msg_top msg = { .items = items };
	char *rest = text;

	if (sys_read_file_at(cgroup_fd, "cgroup.procs", text, TOP_PROCESSES_MAX * 12) > 0)
		while (*rest && msg.count < TOP_PROCESSES_MAX) {
			uint32_t pid = (uint32_t)strtoul(rest, &rest, 10);

			rest += strspn(rest, "\n");
			if (pid && read_process(pid, &seen[msg.count], &items[msg.count]))
				msg.count++;
		}
	for (size_t i = 0; i < msg.count; i++)
		for (size_t j = 0; j < msg.count; j++)
			if (seen[i].parent == seen[j].pid)
				items[i].parent = items[j].pid;
	msg_top_encode(&msg, out);
}
