/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The health check of the container: a command that is run in it once in a while, as exec would,
 * while it runs and is not on hold. Its status is in the row, where `events` sees it change; its
 * last results are in a file beside the log. A container without a check has no timer.
 *
 * A check that does not end in time has failed, and is killed. One that cannot even be killed (the
 * guest hangs) fails anew each time the next one would be due: no two run at once.
 */
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "proto/msg.h"
#include "shim/health.h"
#include "shim/session.h"
#include "shim/shim.h"

#define SAVING_MS 200 /* until it is tried again, while the machine is saved */

struct healthcheck {
	struct health health;
	char **command;            /* owned */
	struct loop_source *timer; /* owned: the next check is due, or the one that runs is late */
	uint32_t process;          /* of the check that runs; 0: none */
	bool late;                 /* its failure has been told already */
	struct sbuf output;        /* owned; of it, at most HEALTH_OUTPUT_MAX bytes */
	int64_t started_at;
	uint64_t started_up_ms; /* since the run began */
};

static uint64_t up_ms(const struct shim *shim)
{
	return clock_monotonic_ms() - shim->started_ms;
}

static void arm(struct shim *shim)
{
	struct healthcheck *check = shim->healthcheck;

	loop_arm(check->timer,
		 health_delay_ms(&check->health, &shim->container->config.health, up_ms(shim)));
}

static void write_file(const struct shim *shim)
{
	AUTO_FREE char *dir = launch_container_dir(shim->launch.root, shim->launch.uuid);
	AUTO_FREE char *path = path_join(dir, HEALTH_FILE);
	AUTO_JSON json_t *json = health_json(&shim->healthcheck->health);
	AUTO_FREE char *text = json_text(json);
	struct err err = { 0 };

	if (file_write_atomic(path, text, strlen(text), 0600, false, &err) < 0)
		log_warning("container=%s %s", shim->container->config.id, err.message);
}

/* text is taken. */
static void record(struct shim *shim, int32_t exit_code, char *text)
{
	struct healthcheck *check = shim->healthcheck;
	const struct health_result result = {
		.started_at = check->started_at,
		.ended_at = time(NULL),
		.exit_code = exit_code,
		.output = text,
	};
	bool changed = health_record(&check->health, &shim->container->config.health,
				     check->started_up_ms, &result);

	write_file(shim);
	if (!changed)
		return;
	shim->container->health = check->health.status;
	shim_set_state(shim, shim->container->state);
}

/* --- a check --- */

static int encode_check(const struct shim *shim, uint32_t id, struct sbuf *out, struct err *err)
{
	const struct container_config *config = &shim->container->config;
	struct process_config process = config->process; /* borrows all */
	uint64_t capabilities = 0;
	int r = session_capabilities(config->privileged, config->cap_add, config->cap_drop,
				     &capabilities, err);

	if (r < 0)
		return r;
	process.executable = shim->healthcheck->command[0];
	process.arguments = shim->healthcheck->command + 1;
	process.terminal = process.stdin_open = false;
	return session_encode_process(&process, id, config->privileged, false, capabilities, 0, 0,
				      out, err);
}

static void start_check(struct shim *shim)
{
	struct healthcheck *check = shim->healthcheck;
	AUTO_SBUF struct sbuf out = { 0 };
	struct err err = { 0 };

	check->started_at = time(NULL);
	check->started_up_ms = up_ms(shim);
	check->late = false;
	check->output.length = 0;
	if (relay_is_full(shim)) {
		record(shim, HEALTH_EXIT_NONE, xstrdup("too many commands run in the container"));
		arm(shim);
		return;
	}
	if (encode_check(shim, shim->next_process_id, &out, &err) < 0) {
		record(shim, HEALTH_EXIT_NONE, xstrdup(err.message));
		arm(shim);
		return;
	}
	check->process = shim->next_process_id++;
	relay_add(shim, check->process, 0);
	mux_send_control(shim->guest, MSG_EXEC, out.text, out.length);
	loop_arm(check->timer, health_timeout_ms(&shim->container->config.health));
}

static void on_timer(void *ctx)
{
	struct shim *shim = ctx;
	struct healthcheck *check = shim->healthcheck;

	if (shim->saving) { /* the guest is to be told nothing now */
		loop_arm(check->timer, SAVING_MS);
		return;
	}
	if (!check->process) {
		start_check(shim);
		return;
	}
	relay_kill(shim, shim->healthcheck->process);
	record(shim, HEALTH_EXIT_NONE,
	       xasprintf("it did not end within %.3g s",
			 (double)health_timeout_ms(&shim->container->config.health) / 1e3));
	check->late = true;
	check->started_at = time(NULL);
	check->started_up_ms = up_ms(shim);
	arm(shim);
}

/* --- told by the rest of the shim --- */

static bool is_check(const struct shim *shim, uint32_t process)
{
	return shim->healthcheck && shim->healthcheck->process &&
	       shim->healthcheck->process == process;
}

void healthcheck_output(struct shim *shim, uint32_t process, const uint8_t *data, size_t size)
{
	struct sbuf *output;

	if (!is_check(shim, process))
		return;
	output = &shim->healthcheck->output;
	if (size > HEALTH_OUTPUT_MAX - output->length)
		size = HEALTH_OUTPUT_MAX - output->length;
	sbuf_add_bytes(output, data, size);
}

static void check_ended(struct shim *shim, int32_t exit_code, const char *text, size_t size)
{
	struct healthcheck *check = shim->healthcheck;

	check->process = 0;
	if (check->late)
		return; /* the next one is due already */
	record(shim, exit_code, health_text(text, size));
	arm(shim);
}

void healthcheck_exited(struct shim *shim, uint32_t process, uint32_t status)
{
	if (is_check(shim, process))
		check_ended(shim, (int32_t)status, shim->healthcheck->output.text,
			    shim->healthcheck->output.length);
}

void healthcheck_failed(struct shim *shim, uint32_t process, const struct failure *failure)
{
	if (is_check(shim, process))
		check_ended(shim, (int32_t)failure->status, failure->message,
			    strlen(failure->message));
}

void healthcheck_begin(struct shim *shim)
{
	const struct health_config *config = &shim->container->config.health;
	struct healthcheck *check;

	if (strv_count(config->test) < 2)
		return;
	check = xcalloc(1, sizeof(*check));
	check->timer = loop_add_timer(shim->loop, on_timer, shim);
	check->command = health_command(config);
	health_begin(&check->health);
	shim->healthcheck = check;
	shim->container->health = HEALTH_STARTING;
	write_file(shim);
}

void healthcheck_follow(struct shim *shim)
{
	struct healthcheck *check = shim->healthcheck;

	if (!check)
		return;
	if (shim->phase != PHASE_RUNNING || shim->container->state != CONTAINER_RUNNING)
		loop_disarm(check->timer);
	else if (check->process && !check->late)
		loop_arm(check->timer, health_timeout_ms(&shim->container->config.health));
	else
		arm(shim);
}

void healthcheck_end(struct shim *shim)
{
	struct healthcheck *check = TAKE_PTR(shim->healthcheck);

	if (!check)
		return;
	shim->container->health = HEALTH_NONE;
	loop_remove(check->timer);
	health_release(&check->health);
	strv_free(check->command);
	sbuf_release(&check->output);
	free(check);
}
