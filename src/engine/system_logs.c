/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs behind containers say, which nobody sees who did not start them by --debug. */
#include "engine/internal.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"

#define FILE_MAX (16 * 1024 * 1024)

static const struct {
	const char *name, *file;
} sources[] = {
	{ "supervisor", "shim.log" },
	{ "machine", "vm.log" }, /* the emulator, the server of shared directories */
};

static int tell_file(const struct container *container, const char *source, const char *path,
		     int64_t lines, system_line_fn fn, void *ctx)
{
	AUTO_STRV char **all = NULL;
	AUTO_FREE char *text = NULL;
	size_t count;
	size_t first;
	int r = 0;

	/* Not there: it has not been started. Its bytes can be a guest's doing. */
	if (file_read(path, FILE_MAX, &text, NULL, NULL) < 0)
		return 0;
	all = str_split(text, '\n', 0);
	count = strv_count(all);
	if (count && !*all[count - 1])
		count--;
	first = lines >= 0 && (uint64_t)lines < count ? count - (size_t)lines : 0;
	for (size_t i = first; i < count && r == 0; i++) {
		err_sanitize(all[i]);
		r = fn(ctx, &(struct system_line){ container->config.id, source, all[i] });
	}
	return r;
}

static int tell(struct engine *engine, const struct container *container, int64_t lines,
		system_line_fn fn, void *ctx)
{
	AUTO_FREE char *dir = launch_container_dir(engine->root, container->uuid);
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sources) && r == 0; i++) {
		AUTO_FREE char *path = path_join(dir, "%s", sources[i].file);

		r = tell_file(container, sources[i].name, path, lines, fn, ctx);
	}
	return r;
}

int engine_system_logs(struct engine *engine, const char *id, int64_t lines, system_line_fn fn,
		       void *ctx, struct err *err)
{
	CLEANUP(container_list_release) struct container_list list = { 0 };
	CLEANUP(container_freep) struct container *container = NULL;
	int r = id ? engine_get(engine, id, &container, err) : engine_list(engine, &list, err);

	if (r == 0 && container)
		r = tell(engine, container, lines, fn, ctx);
	for (size_t i = list.count; i > 0 && r == 0; i--)
		r = tell(engine, list.items[i - 1], lines, fn, ctx);
	return r;
}
