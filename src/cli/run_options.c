/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_options.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "cli/mount_options.h"
#include "cli/parse.h"

#define OPTS struct run_options

static const char *const pull_policies[] = { "missing", "always", "never", NULL };

static const struct option_spec detach_options[] = {
	OPT_FLAG("detach", 'd', OPTS, detach, "leave it running and print its id", .warmth = WARM),
	OPT_STRING(
		"snapshot", 0, "SNAPSHOT", OPTS, snapshot,
		"go on from a snapshot, instead of an image; of the other options only --detach, "
		"--detach-keys, --interactive, --tty, --name and --remove apply",
		.complete = COMPLETE_SNAPSHOTS, .warmth = WARM),
	OPT_END,
};

static const struct option_spec life_options[] = {
	OPT_STRING("name", 0, "NAME", OPTS, name, "call it so instead of by a generated id",
		   .warmth = WARM),
	OPT_STRING("hostname", 0, "NAME", OPTS, hostname, "its host name (default: its id)"),
	OPT_LIST("label", 'l', "KEY[=VALUE]", OPTS, labels, "attach a label"),
	OPT_STRING("cidfile", 0, "FILE", OPTS, cidfile, "write its id to FILE",
		   .complete = COMPLETE_FILES),
	OPT_FLAG("remove", 0, OPTS, remove, "remove it when it has ended", .alias = "rm",
		 .warmth = WARM),
	OPT_STRING("restart", 0, "POLICY", OPTS, restart,
		   "when to start it again: no, on-failure[:N], always, unless-stopped"),
	OPT_STRING("stop-signal", 0, "SIGNAL", OPTS, stop_signal,
		   "what asks it to stop (default: the image's, or TERM)"),
	OPT_CHOICE("pull", 0, pull_policies, OPTS, pull,
		   "when to fetch the image (default missing)", .warmth = WARM_FIND),
	OPT_END,
};

static const struct option_spec resource_options[] = {
	OPT_HUNDREDTHS("cpus", 'c', "N", OPTS, cpu_hundredths,
		       "number of CPUs, like 2 or 0.5 (default 4, or the host's)", .minimum = 1),
	OPT_SIZE("memory", 'm', "SIZE", OPTS, memory_bytes, "memory (default 1g)", .minimum = 1),
	OPT_SIZE("shm-size", 0, "SIZE", OPTS, shm_bytes, "size of /dev/shm (default 64m)",
		 .minimum = 1),
	OPT_U32("pids-limit", 0, "N", OPTS, pids_limit, "most processes it may have", .minimum = 1),
	OPT_LIST("volume", 'v', "[SOURCE:]DIR[:ro]", OPTS, volumes,
		 "mount a volume, made if it is not there, or a path of the host",
		 .complete = COMPLETE_VOLUMES),
	OPT_LIST("mount", 0, "KEY=VALUE,...", OPTS, mounts,
		 "mount as type=volume|bind|tmpfs,source=S,target=DIR,readonly says"),
	OPT_LIST("tmpfs", 0, "DIR[:OPTIONS]", OPTS, tmpfs,
		 "mount an empty file system in memory: /run:size=64m,mode=755"),
	OPT_FLAG("read-only", 0, OPTS, read_only, "mount its root file system read-only"),
	OPT_LIST("storage-opt", 0, "size=SIZE", OPTS, storage_options,
		 "how much it can write to its root file system (default 512g)"),
	OPT_STRING("kernel", 'k', "PATH", OPTS, kernel, "boot this kernel",
		   .complete = COMPLETE_FILES),
	OPT_END,
};

static const struct option_spec right_options[] = {
	OPT_STRING("entrypoint", 0, "PROGRAM", OPTS, entrypoint,
		   "run this instead of the image's entrypoint"),
	OPT_FLAG("init", 0, OPTS, init, "run an init that reaps processes and passes on signals"),
	OPT_LIST("cap-add", 0, "CAP", OPTS, cap_add, "give a capability, or ALL"),
	OPT_LIST("cap-drop", 0, "CAP", OPTS, cap_drop, "take a capability, or ALL"),
	OPT_FLAG("privileged", 0, OPTS, privileged, "give all capabilities, mask nothing"),
	OPT_LIST("sysctl", 0, "KEY=VALUE", OPTS, sysctls, "set a kernel parameter"),
	OPT_LIST("masked-path", 0, "PATH", OPTS, masked_paths,
		 "hide PATH as well; NONE hides nothing that is hidden by default"),
	OPT_LIST("read-only-path", 0, "PATH", OPTS, read_only_paths,
		 "make PATH read-only as well; NONE clears the default ones"),
	OPT_END,
};

#define CREATE_GROUPS                                                                      \
	{ "Container options", life_options, 0 }, PROCESS_GROUP(OPTS, process),            \
		{ "Rights and start", right_options, 0 },                                  \
		{ "Machine and files", resource_options, 0 }, SOCKET_GROUP(OPTS, sockets), \
		NETWORK_GROUP(OPTS, network), HEALTH_GROUP(OPTS, health), FETCH_GROUP(OPTS, fetch)

const struct option_group create_groups[] = { CREATE_GROUPS, { 0 } };
const struct option_group run_groups[] = { { NULL, detach_options, 0 }, CREATE_GROUPS, { 0 } };

static int check_words(const struct run_options *options, struct err *err)
{
	int r = 0;

	if (options->name)
		r = parse_container_name(options->name, err);
	if (r == 0 && options->restart)
		r = parse_restart(options->restart, err);
	if (r == 0 && options->stop_signal)
		r = parse_signal(options->stop_signal, err);
	if (r == 0 && options->remove && options->restart && !str_eq(options->restart, "no"))
		return err_set(err, -EINVAL, "'--remove' conflicts with '--restart %s'",
			       options->restart);
	if (r == 0 && options->hostname &&
	    (!*options->hostname || strlen(options->hostname) > 63 ||
	     strspn(options->hostname, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "0123456789-.") != strlen(options->hostname)))
		return err_set(err, -EINVAL, "invalid host name '%s'", options->hostname);
	return r;
}

/* *ret_default becomes false at NONE. */
static int apply_paths(char *const *paths, char ***ret_paths, bool *ret_default, struct err *err)
{
	*ret_default = true;
	STRV_EACH (paths, it) {
		if (str_eq(*it, "NONE"))
			*ret_default = false;
		else if (**it != '/')
			return err_set(err, -EINVAL, "'%s' is not an absolute path", *it);
		else
			strv_push(ret_paths, *it);
	}
	return 0;
}

static int apply_rights(const struct run_options *options, struct container_config *config,
			struct err *err)
{
	int r = 0;

	STRV_EACH (options->cap_add, it)
		r = r < 0 ? r : parse_capability(*it, &config->cap_add, err);
	STRV_EACH (options->cap_drop, it)
		r = r < 0 ? r : parse_capability(*it, &config->cap_drop, err);
	STRV_EACH (options->sysctls, it) {
		if (r == 0 && (**it == '=' || !strchr(*it, '=')))
			r = err_set(err, -EINVAL, "invalid sysctl '%s': it is like key=value", *it);
		strv_push(&config->sysctls, *it);
	}
	if (r == 0)
		r = apply_paths(options->masked_paths, &config->masked_paths,
				&config->default_masked_paths, err);
	if (r == 0)
		r = apply_paths(options->read_only_paths, &config->read_only_paths,
				&config->default_read_only_paths, err);
	config->privileged = options->privileged;
	config->use_init = options->init;
	return r;
}

static int apply_lists(const struct run_options *options, struct container_config *config,
		       struct err *err)
{
	int r = 0;

	STRV_EACH (options->labels, it)
		r = r < 0 ? r : parse_label(*it, config->labels, err);
	STRV_EACH (options->volumes, it)
		r = r < 0 ? r : mount_parse_volume(*it, config, err);
	STRV_EACH (options->mounts, it)
		r = r < 0 ? r : mount_parse(*it, config, err);
	STRV_EACH (options->tmpfs, it)
		r = r < 0 ? r : mount_parse_tmpfs(*it, config, err);
	STRV_EACH (options->storage_options, it)
		r = r < 0 ? r : parse_storage_option(*it, &config->storage_bytes, err);
	r = r < 0 ? r : health_flags_apply(&options->health, &config->health, err);
	r = r < 0 ? r : socket_flags_apply(&options->sockets, config, err);
	return r < 0 ? r : network_flags_apply(&options->network, config, err);
}

static void apply_plain(const struct run_options *options, struct container_config *config)
{
	config->id = xstrdup(options->name);
	config->hostname = xstrdup(options->hostname);
	config->kernel = xstrdup(options->kernel);
	config->restart = xstrdup(options->restart);
	config->stop_signal = xstrdup(options->stop_signal);
	config_set_cpus(config, options->cpu_hundredths);
	config->memory_bytes = options->memory_bytes;
	config->shm_bytes = options->shm_bytes;
	config->pids_limit = options->pids_limit;
	config->read_only = options->read_only;
	config->auto_remove = options->remove;
}

static int apply(struct cli *cli, const struct run_options *options,
		 struct container_config *config, struct err *err)
{
	int r = check_words(options, err);

	if (r < 0)
		return cli_as_usage(cli, r);
	apply_plain(options, config);
	r = apply_rights(options, config, err);
	if (r == 0)
		r = apply_lists(options, config, err);
	if (r < 0) /* a path that is not there is no error of usage */
		return r == -EINVAL ? cli_as_usage(cli, r) : r;
	return process_options_apply(cli, &options->process, &config->process, err);
}

int run_options_create(struct cli *cli, const struct run_options *options, char **args,
		       char **ret_id, char **ret_snapshot, struct err *err)
{
	CLEANUP(container_config_release) struct container_config config;
	AUTO_FREE char *platform = fetch_flags_platform(&options->fetch);
	struct create_options create = {
		.image = args[0],
		.arguments = args + 1,
		.entrypoint = options->entrypoint,
		.config = &config,
		.fetch = fetch_flags_apply(cli, &options->fetch, platform),
		.cidfile = options->cidfile,
		.publish_all = options->network.publish_all,
		.no_publish = options->network.no_publish,
	};
	struct engine *engine;
	int r;

	container_config_init(&config);
	create.fetch.pull = pull_policies[options->pull];
	r = apply(cli, options, &config, err);
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	if (r == 0 && ret_snapshot &&
	    engine_image_snapshot(engine, args[0], ret_snapshot, NULL) == 0)
		return 0;
	if (r == 0)
		r = engine_create(engine, &create, ret_id, err);
	progress_finish(cli->progress);
	log_timeline("container created");
	return r;
}
