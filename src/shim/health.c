/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/health.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#define INTERVAL_MS 30000
#define TIMEOUT_MS 30000
#define START_INTERVAL_MS 5000
#define RETRIES 3

static uint64_t or_default(uint64_t value, uint64_t fallback)
{
	return value ? value : fallback;
}

void health_release(struct health *health)
{
	for (size_t i = 0; i < health->log_count; i++)
		free(health->log[i].output);
	*health = (struct health){ 0 };
}

void health_begin(struct health *health)
{
	health_release(health);
	health->status = HEALTH_STARTING;
}

static void add_to_log(struct health *health, const struct health_result *result)
{
	if (health->log_count == HEALTH_LOG_MAX) {
		free(health->log[0].output);
		memmove(health->log, health->log + 1,
			(HEALTH_LOG_MAX - 1) * sizeof(health->log[0]));
		health->log_count--;
	}
	health->log[health->log_count++] = *result;
}

static bool is_in_start_period(const struct health *health, const struct health_config *config,
			       uint64_t up_ms)
{
	return health->status == HEALTH_STARTING && up_ms < config->start_period_ms;
}

bool health_record(struct health *health, const struct health_config *config, uint64_t up_ms,
		   const struct health_result *result)
{
	enum container_health before = health->status;

	add_to_log(health, result);
	if (result->exit_code == 0) {
		health->failing_streak = 0;
		health->status = HEALTH_HEALTHY;
	} else if (!is_in_start_period(health, config, up_ms)) {
		if (health->failing_streak < UINT32_MAX)
			health->failing_streak++;
		if (health->failing_streak >= or_default(config->retries, RETRIES))
			health->status = HEALTH_UNHEALTHY;
	}
	return health->status != before;
}

uint64_t health_delay_ms(const struct health *health, const struct health_config *config,
			 uint64_t up_ms)
{
	return is_in_start_period(health, config, up_ms)
		       ? or_default(config->start_interval_ms, START_INTERVAL_MS)
		       : or_default(config->interval_ms, INTERVAL_MS);
}

uint64_t health_timeout_ms(const struct health_config *config)
{
	return or_default(config->timeout_ms, TIMEOUT_MS);
}

char **health_command(const struct health_config *config)
{
	char **test = config->test;
	char **command = NULL;

	if (strv_count(test) < 2)
		return NULL;
	if (str_eq(test[0], "CMD"))
		return strv_copy(test + 1);
	strv_push(&command, "/bin/sh");
	strv_push(&command, "-c");
	strv_push(&command, test[1]);
	return command;
}

/* The length of the valid UTF-8 sequence at data (RFC 3629); 0: there is none. */
static size_t sequence(const unsigned char *data, size_t size)
{
	static const struct {
		unsigned char lead_min, lead_max, second_min, second_max;
		size_t length;
	} rules[] = {
		{ 0x00, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		if (data[0] < rules[i].lead_min || data[0] > rules[i].lead_max)
			continue;
		if (rules[i].length > size ||
		    (rules[i].length > 1 &&
		     (data[1] < rules[i].second_min || data[1] > rules[i].second_max)))
			return 0;
		for (size_t k = 2; k < rules[i].length; k++)
			if ((data[k] & 0xc0) != 0x80)
				return 0;
		return rules[i].length;
	}
	return 0;
}

/* Control characters of both sets: a terminal that shows the text would obey them. */
static bool is_control(const unsigned char *data, size_t length)
{
	if (length == 1)
		return (data[0] < 0x20 && data[0] != '\n' && data[0] != '\t') || data[0] == 0x7f;
	return length == 2 && data[0] == 0xc2 && data[1] < 0xa0;
}

char *health_text(const char *data, size_t size)
{
	const unsigned char *bytes = (const unsigned char *)data;
	struct sbuf text = { 0 };

	for (size_t i = 0; i < size;) {
		size_t length = sequence(bytes + i, size - i);
		bool shown = length && !is_control(bytes + i, length);
		size_t step = length ? length : 1;

		if (text.length + step > HEALTH_OUTPUT_MAX)
			break;
		if (shown)
			sbuf_add_bytes(&text, bytes + i, length);
		else if (bytes[i] != '\r')
			sbuf_add(&text, "?");
		i += step;
	}
	return sbuf_take(&text);
}

static json_t *result_json(const struct health_result *result)
{
	AUTO_FREE char *started = str_time(result->started_at);
	AUTO_FREE char *ended = str_time(result->ended_at);
	json_t *json = json_object();

	json_set_string(json, "startDate", started);
	json_set_string(json, "endDate", ended);
	json_object_set_new(json, "exitCode", json_integer(result->exit_code));
	json_set_string(json, "output", result->output);
	return json;
}

json_t *health_json(const struct health *health)
{
	json_t *json = json_object();
	json_t *log = json_array();

	json_set_string(json, "status", container_health_names[health->status]);
	json_object_set_new(json, "failingStreak", json_integer(health->failing_streak));
	for (size_t i = 0; i < health->log_count; i++)
		json_array_append_new(log, result_json(&health->log[i]));
	json_object_set_new(json, "log", log);
	return json;
}
