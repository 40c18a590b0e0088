/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/become.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "guest/caps.h"
#include "guest/mounts.h"
#include "guest/sys.h"
#include "guest/timeline.h"
#include "guest/user.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define ACCOUNTS_MAX ((size_t)4 * 1024 * 1024)
#define NOFILE_SOFT 1024
#define NOFILE_HARD 524288

static void reset_signals(void)
{
	struct sigaction standard = { .sa_handler = SIG_DFL };
	sigset_t none;

	sigaction(SIGPIPE, &standard, NULL); /* the only one that hull-init changes */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int set_stdio(const int stdio[3], bool tty, struct err *err)
{
	for (int i = 0; i < 3; i++)
		if (dup2(stdio[i], i) < 0)
			return err_set(err, -errno, "cannot set up the standard streams: %m");
	if (setsid() < 0)
		return err_set(err, -errno, "cannot start a session: %m");
	if (tty && ioctl(0, TIOCSCTTY, 0) < 0)
		return err_set(err, -errno, "cannot set the controlling terminal: %m");
	return 0;
}

/* An account file of the image: only an ordinary one, of a bounded size; "" if there is none. */
static int read_accounts(const char *path, char **ret_text, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	int r;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
		*ret_text = xstrdup("");
		return 0;
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, -errno, "cannot open '%s': %m", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "cannot read '%s': not a regular file", path);
	r = fd_read_text(fd, ACCOUNTS_MAX, ret_text, NULL);
	return r < 0 ? err_set(err, r, "cannot read '%s': %m", path) : 0;
}

static int find_user(const struct msg_process *process, struct user *ret_user, struct err *err)
{
	AUTO_FREE char *passwd = NULL;
	AUTO_FREE char *group = NULL;
	int r = read_accounts("/etc/passwd", &passwd, err);

	if (r == 0)
		r = read_accounts("/etc/group", &group, err);
	if (r == 0)
		r = user_lookup(passwd, group, process->user, process->groups, ret_user, err);
	return r;
}

static int set_rlimits(const struct msg_process *process, struct err *err)
{
	struct rlimit nofile = { .rlim_cur = NOFILE_SOFT, .rlim_max = NOFILE_HARD };

	setrlimit(RLIMIT_NOFILE, &nofile);
	for (size_t i = 0; i < process->rlimit_count; i++) {
		struct rlimit limit = { .rlim_cur = process->rlimits[i].soft,
					.rlim_max = process->rlimits[i].hard };

		if (setrlimit((int)process->rlimits[i].resource, &limit) < 0)
			return err_set(err, -errno, "cannot set resource limit %u: %m",
				       process->rlimits[i].resource);
	}
	return 0;
}

static int enter_cwd(const char *cwd, struct err *err)
{
	AUTO_CLOSE int root = -1;
	AUTO_CLOSE int fd = -1;

	if (!*cwd)
		cwd = "/";
	if (chdir(cwd) == 0)
		return 0;
	if (errno == ENOENT) {
		root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		fd = mounts_make_dirs(root, cwd, 0755);
		if (fd < 0)
			return err_set(err, fd, "cannot make the working directory '%s': %m", cwd);
		if (chdir(cwd) == 0)
			return 0;
	}
	return err_set(err, -errno, "cannot change to the working directory '%s': %m", cwd);
}

static int drop_privileges(const struct msg_process *process, const struct user *user,
			   struct err *err)
{
	uint64_t caps =
		process->flags & MSG_PROCESS_PRIVILEGED ? UINT64_MAX : process->capabilities;
	int r;

	caps &= caps_all();
	/* Their owner may open them again by name (/dev/stdout). */
	for (int i = 0; user->uid && i < 3; i++) {
		struct stat st;

		if (fstat(i, &st) == 0 && (S_ISFIFO(st.st_mode) || isatty(i)))
			(void)!fchown(i, user->uid, (gid_t)-1);
	}
	r = caps_bound(caps);
	if (r < 0)
		return err_set(err, r, "cannot drop capabilities: %m");
	if (setgroups(user->group_count, user->groups) < 0 ||
	    setresgid(user->gid, user->gid, user->gid) < 0)
		return err_set(err, -errno, "cannot set the group: %m");
	if (setresuid(user->uid, user->uid, user->uid) < 0)
		return err_set(err, -errno, "cannot set the user: %m");
	/* Another user's are gone by now. */
	r = user->uid == 0 ? caps_set(caps) : 0;
	if (r < 0)
		return err_set(err, r, "cannot set capabilities: %m");
	if (process->flags & MSG_PROCESS_NO_NEW_PRIVILEGES &&
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(err, -errno, "cannot set no_new_privs: %m");
	return 0;
}

static const char *env_get(char *const *env, const char *name)
{
	size_t length = strlen(name);

	STRV_EACH (env, it)
		if (strncmp(*it, name, length) == 0 && (*it)[length] == '=')
			return *it + length + 1;
	return NULL;
}

/* The process's environment with the defaults that others set. */
static char **full_environment(const struct msg_process *process, const char *hostname,
			       const struct user *user)
{
	const struct {
		const char *name, *value;
	} defaults[] = {
		{ "PATH", DEFAULT_PATH },
		{ "HOSTNAME", hostname },
		{ "HOME", user->home },
		{ "TERM", process->flags & MSG_PROCESS_TTY ? "xterm" : NULL },
	};
	size_t count = strv_count(process->env);
	char **env = xcalloc(count + ARRAY_SIZE(defaults) + 1, sizeof(char *));
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++)
		if (defaults[i].value && !env_get(process->env, defaults[i].name))
			env[n++] = xasprintf("%s=%s", defaults[i].name, defaults[i].value);
	if (count)
		memcpy(env + n, process->env, count * sizeof(char *));
	return env;
}

/* The status and words for a failed execve of path, called name by the user. */
static uint32_t exec_failure(const char *name, const char *path, int error, struct err *err)
{
	struct stat st;

	if (error == EACCES && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		error = EISDIR;
	err_set(err, -error, "exec '%s': %m", name);
	return error == ENOENT || error == ENOTDIR ? BECOME_NOT_FOUND : BECOME_CANNOT_EXECUTE;
}

/* execvpe with the container's PATH, and clear about what failed. */
static uint32_t execute(char **args, char **env, struct err *err)
{
	const char *name = args[0];
	AUTO_FREE char *denied = NULL;

	if (strchr(name, '/')) {
		execve(name, args, env);
		return exec_failure(name, name, errno, err);
	}
	AUTO_STRV char **directories = str_split(env_get(env, "PATH"), ':', 0);
	for (char **it = directories; *name && *it; it++) {
		AUTO_FREE char *path = xasprintf("%s/%s", **it ? *it : ".", name);
		struct stat st;

		execve(path, args, env);
		if (errno == ENOENT && stat(path, &st) == 0)
			return exec_failure(path, path, ENOENT, err); /* its interpreter */
		if (errno == ENOENT || errno == ENOTDIR)
			continue;
		if (errno != EACCES)
			return exec_failure(name, path, errno, err);
		if (!denied && !(stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
			denied = xstrdup(path);
	}
	if (denied)
		return exec_failure(name, denied, EACCES, err);
	err_set(err, -ENOENT, "executable '%s' not found in PATH", name);
	return BECOME_NOT_FOUND;
}

uint32_t become(const struct msg_process *process, const char *hostname, const int stdio[3],
		struct err *err)
{
	struct user user = { 0 };

	umask(022);
	if (set_stdio(stdio, process->flags & MSG_PROCESS_TTY, err) < 0 ||
	    find_user(process, &user, err) < 0 || set_rlimits(process, err) < 0 ||
	    enter_cwd(process->cwd, err) < 0 || drop_privileges(process, &user, err) < 0)
		return BECOME_SETUP_FAILED;
	reset_signals();
	sys_use_cpu(-1);
	timeline_point("process: ready to execute");
	return execute(process->args, full_environment(process, hostname, &user), err);
}
