/* SPDX-License-Identifier: Apache-2.0 */
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

/* Moves the listed descriptors to their numbers; they are first moved out of the way of each other.
 */
static int place_fds(const struct proc_spec *spec)
{
	int moved[96];

	if (spec->fd_count > ARRAY_SIZE(moved))
		return -E2BIG;
	for (size_t i = 0; i < spec->fd_count; i++) {
		moved[i] = fcntl(spec->fds[i].from, F_DUPFD_CLOEXEC, 64);
		if (moved[i] < 0)
			return -errno;
	}
	for (size_t i = 0; i < spec->fd_count; i++)
		if (dup2(moved[i], spec->fds[i].to) < 0)
			return -errno;
	return 0;
}

static void reset_signals(void)
{
	struct sigaction standard = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		sigaction(s, &standard, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_setup(const struct proc_spec *spec, pid_t parent)
{
	int r;

	reset_signals();
	if (spec->new_session && setsid() < 0)
		return -errno;
	if (spec->die_with_parent) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			return -ESRCH;
	}
	if (spec->no_huge_pages && prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) < 0 && errno != EINVAL)
		return -errno; /* EINVAL: a kernel without huge pages */
	if (spec->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (spec->landlock_fd > 0 && syscall(SYS_landlock_restrict_self, spec->landlock_fd, 0) < 0)
		return -errno;
	r = place_fds(spec);
	if (r < 0)
		return r;
	execvpe(spec->argv[0], spec->argv, spec->environment ? spec->environment : environ);
	return -errno;
}

int proc_spawn(const struct proc_spec *spec, pid_t *ret_pid, struct err *err)
{
	AUTO_CLOSE int report_read = -1;
	AUTO_CLOSE int report_write = -1;
	pid_t parent = getpid();
	int fds[2];
	int failure;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot create a pipe: %m");
	report_read = fds[0];
	report_write = fcntl(fds[1], F_DUPFD_CLOEXEC, 128); /* out of the way of place_fds */
	close(fds[1]);
	if (report_write < 0)
		return err_set(err, -errno, "cannot create a pipe: %m");
	pid = fork();
	if (pid < 0)
		return err_set(err, -errno, "cannot start '%s': %m", spec->argv[0]);
	if (pid == 0) {
		failure = child_setup(spec, parent);
		fd_write_all(report_write, &failure, sizeof(failure));
		_exit(127);
	}
	close(TAKE_FD(report_write));
	if (fd_read_exact(report_read, &failure, sizeof(failure)) == 0) {
		proc_wait(pid);
		return err_set(err, failure, "cannot start '%s': %m", spec->argv[0]);
	}
	*ret_pid = pid;
	return 0;
}

int proc_wait(pid_t pid)
{
	int status = 0;
	pid_t r;

	do
		r = waitpid(pid, &status, 0);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int proc_output(char *const *argv, bool with_stderr, size_t max, char **ret_text, struct err *err)
{
	AUTO_FREE char *text = NULL;
	AUTO_CLOSE int output = -1;
	pid_t pid = -1;
	int fds[2];
	int status;
	int r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot create a pipe: %m");
	output = fds[0];
	struct proc_fd child_fds[] = { { fds[1], 1 }, { fds[1], 2 } };
	struct proc_spec spec = { .argv = argv, .fds = child_fds, .fd_count = with_stderr ? 2 : 1 };
	r = proc_spawn(&spec, &pid, err);
	close(fds[1]);
	if (r < 0)
		return r;
	r = fd_read_text(output, max, &text, NULL);
	close(TAKE_FD(output));
	status = proc_wait(pid);
	if (r < 0)
		return err_set(err, r, "cannot read the output of '%s': %m", argv[0]);
	*ret_text = TAKE_PTR(text);
	return status;
}

int proc_pidfd(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd; /* pidfds are close-on-exec by definition */
}

int proc_signal_parse(const char *name)
{
	static const struct {
		const char *name;
		int number;
	} signals[] = {
		{ "HUP", SIGHUP },       { "INT", SIGINT },       { "QUIT", SIGQUIT },
		{ "ILL", SIGILL },       { "TRAP", SIGTRAP },     { "ABRT", SIGABRT },
		{ "BUS", SIGBUS },       { "FPE", SIGFPE },       { "KILL", SIGKILL },
		{ "USR1", SIGUSR1 },     { "SEGV", SIGSEGV },     { "USR2", SIGUSR2 },
		{ "PIPE", SIGPIPE },     { "ALRM", SIGALRM },     { "TERM", SIGTERM },
		{ "STKFLT", SIGSTKFLT }, { "CHLD", SIGCHLD },     { "CONT", SIGCONT },
		{ "STOP", SIGSTOP },     { "TSTP", SIGTSTP },     { "TTIN", SIGTTIN },
		{ "TTOU", SIGTTOU },     { "URG", SIGURG },       { "XCPU", SIGXCPU },
		{ "XFSZ", SIGXFSZ },     { "VTALRM", SIGVTALRM }, { "PROF", SIGPROF },
		{ "WINCH", SIGWINCH },   { "IO", SIGIO },         { "PWR", SIGPWR },
		{ "SYS", SIGSYS },
	};
	uint64_t number;

	if (str_parse_u64(name, &number) == 0)
		return number >= 1 && number <= 64 ? (int)number : -EINVAL;
	if (strncasecmp(name, "SIG", 3) == 0)
		name += 3;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (strcasecmp(name, signals[i].name) == 0)
			return signals[i].number;
	if (strncasecmp(name, "RTMIN+", 6) == 0 && str_parse_u64(name + 6, &number) == 0 &&
	    number <= 30)
		return 34 + (int)number;
	return -EINVAL;
}
