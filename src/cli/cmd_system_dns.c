/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "engine/network.h"

static int dns_create_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	struct engine *engine;
	uint32_t port = 0;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_dns_create(engine, args[0], &port, err);
	if (r < 0)
		return r == -EINVAL ? cli_as_usage(cli, r) : r;
	printf("%s\n", args[0]);
	fprintf(stderr,
		"Names below %s are answered at 127.0.0.1:%u. Tell the host's resolver, as root:\n"
		"  systemd-resolved  printf '[Resolve]\\nDNS=127.0.0.1:%u\\nDomains=~%s\\n' > "
		"/etc/systemd/resolved.conf.d/hull-%s.conf; systemctl restart systemd-resolved\n"
		"  dnsmasq           echo 'server=/%s/127.0.0.1#%u' > /etc/dnsmasq.d/hull-%s.conf; "
		"systemctl restart dnsmasq\n",
		args[0], port, port, args[0], args[0], args[0], port, args[0]);
	return CLI_STATUS_OK;
}

const struct command cmd_system_dns_create = {
	.name = "create",
	.args = "DOMAIN",
	.summary = "let the host know containers by NAME.DOMAIN",
	.min_args = 1,
	.max_args = 1,
	.run = dns_create_run,
};

static int dns_delete_one(struct cli *cli, const void *options, const char *domain, struct err *err)
{
	int r = engine_dns_delete(cli->engine, domain, err);

	if (r == 0)
		printf("%s\n", domain);
	return r;
}

static int dns_delete_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	return r < 0 ? r : cli_each(cli, args, dns_delete_one, options);
}

const struct command cmd_system_dns_delete = {
	.name = "delete",
	.aliases = { "rm" },
	.args = "DOMAIN...",
	.summary = "forget domains",
	.min_args = 1,
	.max_args = ARGS_MANY,
	.run = dns_delete_run,
};

struct dns_list_options {
	int format;
};

static const struct option_spec dns_list_options[] = {
	OPT_CHOICE("format", 0, output_format_names, struct dns_list_options, format,
		   "how to print them (default table: one a line)"),
	OPT_END,
};

static int dns_list_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct dns_list_options *options = values;
	AUTO_STRV char **domains = NULL;
	AUTO_JSON json_t *document = NULL;
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_dns_list(engine, &domains, err);
	if (r < 0)
		return r;
	document = json_from_strv(domains);
	if (options->format != OUTPUT_TABLE)
		return output_document((enum output_format)options->format, document, false, err);
	STRV_EACH (domains, it)
		printf("%s\n", *it);
	return CLI_STATUS_OK;
}

const struct command cmd_system_dns_list = {
	.name = "list",
	.aliases = { "ls" },
	.summary = "list the domains that the host knows containers by",
	.groups = (const struct option_group[]){ { NULL, dns_list_options, 0 }, { 0 } },
	.options_size = sizeof(struct dns_list_options),
	.run = dns_list_run,
};

static const struct command *const dns_commands[] = {
	&cmd_system_dns_create,
	&cmd_system_dns_delete,
	&cmd_system_dns_list,
	NULL,
};

const struct command cmd_system_dns = {
	.name = "dns",
	.summary = "names of containers on the host",
	.max_args = ARGS_MANY,
	.options_first = true,
	.subcommands = dns_commands,
};
