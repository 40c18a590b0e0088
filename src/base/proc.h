/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes. */
#ifndef BASE_PROC_H
#define BASE_PROC_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* One descriptor the child gets: `from` of this process as number `to` of the child. */
struct proc_fd {
	int from;
	int to;
};

struct proc_spec {
	char *const *argv;        /* argv[0] is the program: looked up in PATH if without a slash */
	char *const *environment; /* NULL: this process's */
	const struct proc_fd
		*fds; /* all others are closed at exec; 0-2 are inherited unless listed */
	size_t fd_count;
	bool new_session; /* setsid: no controlling terminal, signals of the terminal do not reach
			     it */
	bool die_with_parent; /* SIGKILL when the thread that spawned it ends */
	bool no_new_privileges;
	int landlock_fd;    /* what it is confined to (base/landlock.h); 0: nothing. Needs
			       no_new_privileges */
	bool no_huge_pages; /* memory is given page by page, even where it asks for more */
};

/* Starts a program with default signal handling and no blocked signals. Returns only once exec has
 * succeeded or failed. 0 or negative errno (-ENOENT: no such program). */
int proc_spawn(const struct proc_spec *spec, pid_t *ret_pid, struct err *err);
/* Waits for it; the result is as of a shell: status, or 128+n when signal n ended it. */
int proc_wait(pid_t pid);
/* Runs a program to its end with its output (at most max bytes, stderr too if wanted) as text.
 * Returns its status as proc_wait does, or a negative errno when it could not run. */
int proc_output(char *const *argv, bool with_stderr, size_t max, char **ret_text, struct err *err);
/* A pidfd (close-on-exec), readable when the process ends. */
int proc_pidfd(pid_t pid);
/* The number of a signal by name ("KILL", "SIGKILL", "kill") or number; -EINVAL if there is none.
 */
int proc_signal_parse(const char *name);

#endif
