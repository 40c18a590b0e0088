/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/parse.h"
#include "engine/volume.h"

struct volume_create_options {
	uint64_t size_bytes;
	char **options, **labels;
};

static const struct option_spec volume_create_options[] = {
	OPT_SIZE("size", 's', "SIZE", struct volume_create_options, size_bytes,
		 "how much it can hold (default: as the host's disk, 64g to 512g); takes only what "
		 "is in it",
		 .minimum = 1),
	OPT_LIST("opt", 'o', "KEY=VALUE", struct volume_create_options, options,
		 "size=SIZE, journal=ordered|writeback|journal[:SIZE], type=disk|directory"),
	OPT_LIST("label", 'l', "KEY[=VALUE]", struct volume_create_options, labels,
		 "attach a label"),
	OPT_END,
};

static int volume_create_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct volume_create_options *given = values;
	AUTO_JSON json_t *labels = json_object();
	AUTO_FREE char *name = NULL;
	struct volume_options options = { .name = args[0],
					  .size_bytes = given->size_bytes,
					  .options = given->options,
					  .labels = labels };
	struct engine *engine;
	int r = 0;

	STRV_EACH (given->labels, it)
		r = r < 0 ? r : parse_label(*it, labels, err);
	if (r < 0)
		return cli_as_usage(cli, r);
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_volume_create(engine, &options, &name, err);
	if (r < 0)
		return r;
	printf("%s\n", name);
	return CLI_STATUS_OK;
}

const struct command cmd_volume_create = {
	.name = "create",
	.args = "[NAME]",
	.summary = "make a volume",
	.groups = (const struct option_group[]){ { NULL, volume_create_options, 0 }, { 0 } },
	.options_size = sizeof(struct volume_create_options),
	.max_args = 1,
	.run = volume_create_run,
};
