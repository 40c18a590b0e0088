/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/table.h"

#define INTERVAL_MS 1000

struct stats_options {
	bool no_stream;
	int format;
};

static const struct option_spec stats_options[] = {
	OPT_FLAG("no-stream", 0, struct stats_options, no_stream, "print once"),
	OPT_CHOICE("format", 0, output_format_names, struct stats_options, format,
		   "how to print it (default table); json and yaml are printed once"),
	OPT_END,
};

struct sample {
	char *id; /* owned */
	struct container_stats stats;
	uint64_t time_ns;
	bool known; /* it runs and answered */
};

struct samples {
	struct sample *items;
	size_t count, capacity;
};

static void samples_release(struct samples *samples)
{
	VEC_EACH (samples, it)
		free(it->id);
	VEC_FREE(samples);
}

/* One sample of each: of ids, or of all that run when there are none. Containers that are named
 * must exist; one that does not run is just unknown. */
static int take_samples(struct engine *engine, char *const *ids, struct samples *ret_samples,
			struct err *err)
{
	CLEANUP(samples_release) struct samples samples = { 0 };
	CLEANUP(container_list_release) struct container_list list = { 0 };
	int r = 0;

	STRV_EACH (ids, it) {
		struct container *container = NULL;

		r = engine_get(engine, *it, &container, err);
		if (r < 0)
			return r;
		VEC_PUSH(&list, container);
	}
	if (!*ids)
		r = engine_list(engine, &list, err);
	for (size_t i = 0; r == 0 && i < list.count; i++) {
		struct sample sample = { 0 };

		if (!*ids && !cli_fits_active(list.items[i]))
			continue;
		sample.known =
			cli_fits_active(list.items[i]) &&
			engine_stats(engine, list.items[i]->config.id, &sample.stats, NULL) == 0;
		sample.time_ns = clock_monotonic_ns();
		sample.id = xstrdup(list.items[i]->config.id);
		VEC_PUSH(&samples, sample);
	}
	if (r < 0)
		return r;
	*ret_samples = samples;
	samples = (struct samples){ 0 };
	return 0;
}

/* 100 % is one core, busy all the time; negative when unknown. */
static double cpu_percent(const struct samples *earlier, const struct sample *now)
{
	VEC_EACH (earlier, it) {
		double used_ns;

		if (!str_eq(it->id, now->id) || !it->known || !now->known ||
		    now->time_ns <= it->time_ns ||
		    now->stats.cpu_usage_usec < it->stats.cpu_usage_usec)
			continue;
		used_ns = (double)(now->stats.cpu_usage_usec - it->stats.cpu_usage_usec) * 1000;
		return used_ns * 100 / (double)(now->time_ns - it->time_ns);
	}
	return -1;
}

static void add_pair(struct table *table, uint64_t a, uint64_t b)
{
	AUTO_FREE char *left = str_size(a);
	AUTO_FREE char *right = str_size(b);

	table_cellf(table, "%s / %s", left, right);
}

static void print_table(const struct samples *earlier, const struct samples *now)
{
	static const char *const headings[] = {
		"Container ID", "Cpu %", "Memory Usage", "Net Rx/Tx", "Block I/O", "Pids", NULL
	};
	CLEANUP(table_freep) struct table *table = table_new(headings);

	VEC_EACH (now, it) {
		double percent = cpu_percent(earlier, it);

		table_row(table);
		table_cell(table, it->id);
		if (percent < 0)
			table_cell(table, "--");
		else
			table_cellf(table, "%.2f%%", percent);
		if (!it->known) {
			for (int i = 0; i < 4; i++)
				table_cell(table, "--");
			continue;
		}
		add_pair(table, it->stats.memory_usage_bytes, it->stats.memory_limit_bytes);
		add_pair(table, it->stats.network_rx_bytes, it->stats.network_tx_bytes);
		add_pair(table, it->stats.block_read_bytes, it->stats.block_write_bytes);
		table_cellf(table, "%llu", (unsigned long long)it->stats.processes);
	}
	table_print(table);
}

static json_t *document_of(const struct sample *sample)
{
	const struct {
		const char *name;
		uint64_t value;
	} members[] = {
		{ "memoryUsageBytes", sample->stats.memory_usage_bytes },
		{ "memoryLimitBytes", sample->stats.memory_limit_bytes },
		{ "cpuUsageUsec", sample->stats.cpu_usage_usec },
		{ "networkRxBytes", sample->stats.network_rx_bytes },
		{ "networkTxBytes", sample->stats.network_tx_bytes },
		{ "blockReadBytes", sample->stats.block_read_bytes },
		{ "blockWriteBytes", sample->stats.block_write_bytes },
		{ "numProcesses", sample->stats.processes },
	};
	json_t *document = json_object();

	json_set_string(document, "id", sample->id);
	for (size_t i = 0; sample->known && i < ARRAY_SIZE(members); i++)
		json_object_set_new(document, members[i].name,
				    json_integer((json_int_t)members[i].value));
	return document;
}

static int print_documents(const struct samples *samples, enum output_format format,
			   struct err *err)
{
	AUTO_JSON json_t *documents = json_array();

	VEC_EACH (samples, it)
		json_array_append_new(documents, document_of(it));
	return output_document(format, documents, false, err);
}

/* Tables need two samples for each line: what the CPU did between them. */
static int stream(struct engine *engine, bool once, char *const *ids, struct samples *earlier,
		  struct err *err)
{
	bool terminal = isatty(STDOUT_FILENO);

	do {
		CLEANUP(samples_release) struct samples now = { 0 };
		struct samples swap;
		int r;

		poll(NULL, 0, INTERVAL_MS);
		r = take_samples(engine, ids, &now, err);
		if (r < 0)
			return r;
		if (terminal && !once)
			printf("\033[H\033[J");
		print_table(earlier, &now);
		if (fflush(stdout) == EOF)
			break;
		swap = *earlier;
		*earlier = now;
		now = swap;
	} while (!once);
	return CLI_STATUS_OK;
}

static int stats_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct stats_options *options = values;
	CLEANUP(samples_release) struct samples first = { 0 };
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = take_samples(engine, args, &first, err);
	if (r < 0)
		return r;
	if (options->format != OUTPUT_TABLE)
		return print_documents(&first, (enum output_format)options->format, err);
	return stream(engine, options->no_stream, args, &first, err);
}

const struct command cmd_stats = {
	.name = "stats",
	.args = "[CONTAINER...]",
	.summary = "show what running containers use",
	.groups = (const struct option_group[]){ { NULL, stats_options, 0 }, { 0 } },
	.options_size = sizeof(struct stats_options),
	.max_args = ARGS_MANY,
	.complete = COMPLETE_RUNNING,
	.run = stats_run,
};
