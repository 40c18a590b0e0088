/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are, and the life of the engine itself. */
#include "engine/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "config.h"

void engine_step(struct engine *engine, const char *text)
{
	if (engine->ui.step)
		engine->ui.step(engine->ui.ctx, text);
}

void engine_warn(struct engine *engine, const char *format, ...)
{
	char text[ERR_MESSAGE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	err_sanitize(text);
	if (engine->ui.warning)
		engine->ui.warning(engine->ui.ctx, text);
}

void engine_note(struct engine *engine, const char *format, ...)
{
	char text[ERR_MESSAGE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	err_sanitize(text);
	if (engine->ui.note)
		engine->ui.note(engine->ui.ctx, text);
}

static char *absolute(const char *path)
{
	AUTO_FREE char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);

	return cwd ? path_join(cwd, "%s", path) : xstrdup(path);
}

static char *default_root(const struct engine_options *options)
{
	if (options->root)
		return absolute(options->root);
	if (geteuid() == 0)
		return xstrdup("/var/lib/hull");
	if (options->xdg_data_home)
		return path_join(options->xdg_data_home, "hull");
	return path_join(str_or(options->home, "/"), ".local/share/hull");
}

static char *default_run(const struct engine_options *options)
{
	if (options->run)
		return absolute(options->run);
	if (geteuid() == 0)
		return xstrdup("/run/hull");
	if (options->xdg_runtime_dir)
		return path_join(options->xdg_runtime_dir, "hull");
	/* No session manager: a directory of the user's own, checked below. */
	return xasprintf("/tmp/hull-%u", (unsigned)geteuid());
}

/* In a build tree the other programs stand beside this one; installed, in the library directory. */
static char *find_programs(void)
{
	char *self = path_of_self();
	AUTO_FREE char *beside = path_join(self, "hull-shim");

	if (path_exists(beside))
		return self;
	free(self);
	return xstrdup(HULL_LIBDIR);
}

static int make_own_dir(const char *path, struct err *err)
{
	struct stat st;
	int r = path_make_dirs(path, 0700, err);

	if (r < 0)
		return r;
	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return err_set(err, -EPERM, "directory '%s' is not this user's", path);
	if (st.st_mode & 077)
		chmod(path, 0700);
	return 0;
}

static int make_dirs(const struct engine *engine, struct err *err)
{
	static const char *const names[] = { "containers", "templates", "kernels", "scratch",
					     "net" };
	AUTO_FREE char *last = path_join(engine->root, "%s", names[ARRAY_SIZE(names) - 1]);
	int r = make_own_dir(engine->run, err);

	if (r < 0 || path_exists(last))
		return r;
	r = make_own_dir(engine->root, err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++) {
		AUTO_FREE char *path = path_join(engine->root, "%s", names[i]);

		r = path_make_dirs(path, 0700, err);
	}
	return r;
}

static int read_config(struct engine *engine, const struct engine_options *options, struct err *err)
{
	AUTO_FREE char *dir = options->xdg_config_home
				      ? xstrdup(options->xdg_config_home)
				      : path_join(str_or(options->home, "/"), ".config");
	AUTO_FREE char *user_path = path_join(dir, "hull/hull.conf");

	config_init(&engine->config);
	if (options->config_path)
		return config_read(&engine->config, options->config_path, true, err);
	if (path_exists(user_path))
		return config_read(&engine->config, user_path, true, err);
	return config_read(&engine->config, HULL_SYSCONFDIR "/hull/hull.conf", false, err);
}

int engine_open(const struct engine_options *options, const struct engine_ui *ui,
		struct engine **ret_engine, struct err *err)
{
	CLEANUP(engine_closep) struct engine *engine = xcalloc(1, sizeof(*engine));
	int r;

	engine->created_lock_fd = -1;
	engine->root = default_root(options);
	engine->run = default_run(options);
	engine->programs = find_programs();
	engine->docker_config = options->home ? path_join(options->home, ".docker") : NULL;
	engine->search_path = xstrdup(options->search_path);
	engine->environment = options->environment;
	engine->debug = options->debug;
	if (ui)
		engine->ui = *ui;
	r = read_config(engine, options, err);
	if (r < 0)
		return r;
	engine->accel_wanted = xstrdup(str_or(options->accel, engine->config.accel));
	engine->platform = platform_host();
	if (options->default_platform) {
		r = platform_parse(options->default_platform, &engine->platform, err);
		if (r < 0)
			return err_context(err, "HULL_DEFAULT_PLATFORM");
	}
	r = make_dirs(engine, err);
	if (r == 0)
		r = store_open(engine->root, &engine->store, err);
	if (r < 0)
		return r;
	log_timeline("hull: engine open");
	*ret_engine = TAKE_PTR(engine);
	return 0;
}

void engine_close(struct engine *engine)
{
	if (!engine)
		return;
	store_close(engine->store);
	if (engine->created_lock_fd >= 0)
		close(engine->created_lock_fd);
	config_release(&engine->config);
	free(engine->root);
	free(engine->run);
	free(engine->programs);
	free(engine->docker_config);
	free(engine->accel_wanted);
	free(engine->search_path);
	free(engine);
}

const struct engine_config *engine_get_config(const struct engine *engine)
{
	return &engine->config;
}

const char *engine_get_root(const struct engine *engine)
{
	return engine->root;
}

const char *engine_get_run(const struct engine *engine)
{
	return engine->run;
}

void prune_result_release(struct prune_result *result)
{
	result->removed = strv_free(result->removed);
}
