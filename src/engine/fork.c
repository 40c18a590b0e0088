/* SPDX-License-Identifier: Apache-2.0 */
/* One running container becomes several. */
#include <errno.h>

#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/str.h"
#include "engine/copies.h"
#include "engine/volume_copies.h"

static int parse_signal(const char *name, uint32_t *ret_signal, struct err *err)
{
	int signal = name ? proc_signal_parse(name) : 0;

	if (signal < 0)
		return err_set(err, -EINVAL, "unknown signal '%s'", name);
	*ret_signal = (uint32_t)signal;
	return 0;
}

/* The memory that was saved is what the copies map: it stays as long as they do, without a name. */
int engine_fork(struct engine *engine, const struct fork_options *options, char ***ret_ids,
		struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	AUTO_FREE char *directory = NULL;
	AUTO_FREE char *lock_path = NULL;
	AUTO_JSON json_t *volumes = NULL;
	AUTO_CLOSE int lock = -1;
	struct copies copies = { .count = options->count, .name = options->name };
	struct ctl_saved saved;
	int r = parse_signal(options->signal, &copies.signal, err);

	if (r == 0)
		r = engine_get(engine, options->source, &container, err);
	if (r == -ENOENT) {
		CLEANUP(snapshot_release) struct snapshot snapshot = { 0 };

		if (snapshots_get(engine->store, options->source, &snapshot, NULL) == 0)
			return snapshots_fork(engine, options, copies.signal, ret_ids, err);
	}
	if (r == 0)
		r = copies_make_directory(engine, &directory, &lock, err);
	if (r < 0)
		return r;
	lock_path = xasprintf("%s.lock", directory);
	r = copies_save(engine, container, directory, &saved, err);
	if (r == 0)
		r = volume_copies_describe(engine, &container->config, directory, &volumes, err);
	if (r == 0) {
		copies.volumes = volumes;
		copies.config = &container->config;
		copies.directory = directory;
		copies.origin = container->config.id;
		r = copies_start(engine, &copies, ret_ids, err);
	}
	path_remove_tree(directory, NULL);
	unlink(lock_path);
	return r;
}
