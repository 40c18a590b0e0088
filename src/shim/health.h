/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the results of a container's health check say of it, as docker's do: healthy with the first
 * that succeeds, unhealthy after so many failures in a row; failures in the start period do not
 * count as long as none has succeeded. The caller runs the checks and keeps the time.
 */
#ifndef SHIM_HEALTH_H
#define SHIM_HEALTH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/containers.h"

#define HEALTH_LOG_MAX 5
#define HEALTH_OUTPUT_MAX 4096    /* bytes of a check's output that are kept */
#define HEALTH_EXIT_NONE (-1)     /* it did not end in time, or could not be started */
#define HEALTH_FILE "health.json" /* in the container's directory: what health_json says */

struct health_result {
	int64_t started_at, ended_at; /* Unix seconds */
	int32_t exit_code;
	char *output; /* owned; text as of health_text */
};

struct health {
	enum container_health status;
	uint32_t failing_streak;
	struct health_result log[HEALTH_LOG_MAX]; /* the oldest first */
	size_t log_count;
};

/* A run begins: starting, nothing known. Frees what was. */
void health_begin(struct health *health);
void health_release(struct health *health);

/* Takes in a result (its output is taken) of a check that began up_ms after the run did. Whether
 * the status is another one now. */
bool health_record(struct health *health, const struct health_config *config, uint64_t up_ms,
		   const struct health_result *result);

/* How long to wait for the next check, up_ms after the run began; and how long for its end. */
uint64_t health_delay_ms(const struct health *health, const struct health_config *config,
			 uint64_t up_ms);
uint64_t health_timeout_ms(const struct health_config *config);

/* The check's argument vector, owned by the caller; NULL: there is no check. */
char **health_command(const struct health_config *config);

/* Output of a guest as text that can be shown: valid UTF-8 without control characters but line
 * ends and tabs, at most HEALTH_OUTPUT_MAX bytes. Owned by the caller. */
char *health_text(const char *data, size_t size);

/* {status, failingStreak, log[]{startDate, endDate, exitCode, output}}; a new reference. */
json_t *health_json(const struct health *health);

#endif
