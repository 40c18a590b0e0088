/* SPDX-License-Identifier: Apache-2.0 */
/* Health checks: what a container gets of its image's and of the flags, and what its shim says. */
#include "engine/internal.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "shim/health.h"

#define TEST_BYTES_MAX (64 * 1024) /* it goes to the guest in one message */
#define TEST_WORDS_MAX 1024
#define DURATION_MAX_MS (UINT64_C(365) * 24 * 3600 * 1000)
#define FILE_MAX (256 * 1024)

/* Docker's durations are nanoseconds. */
static int read_duration(const json_t *check, const char *name, uint64_t *ret_ms)
{
	int64_t ns = json_get_int(check, name, 0);
	uint64_t ms = (uint64_t)ns / 1000000;

	if (ns < 0)
		return -EBADMSG;
	if (ns && !ms)
		ms = 1;
	*ret_ms = ms < DURATION_MAX_MS ? ms : DURATION_MAX_MS;
	return 0;
}

static bool is_test(char *const *test)
{
	size_t count = strv_count(test);

	if (count == 0 || str_eq(test[0], "NONE"))
		return true;
	return (str_eq(test[0], "CMD") && count > 1 && *test[1]) ||
	       (str_eq(test[0], "CMD-SHELL") && count == 2);
}

static int read_check(const json_t *check, struct health_config *ret_health)
{
	const json_t *test = json_get_array(check, "Test");
	int64_t retries = json_get_int(check, "Retries", 0);
	int r = 0;

	if (json_array_size(test) > TEST_WORDS_MAX || retries < 0 || retries > UINT32_MAX)
		return -EBADMSG;
	ret_health->test = json_get_strv(check, "Test");
	ret_health->retries = (uint32_t)retries;
	if (strv_count(ret_health->test) != json_array_size(test) || !is_test(ret_health->test))
		return -EBADMSG;
	r = read_duration(check, "Interval", &ret_health->interval_ms);
	if (r == 0)
		r = read_duration(check, "Timeout", &ret_health->timeout_ms);
	if (r == 0)
		r = read_duration(check, "StartPeriod", &ret_health->start_period_ms);
	return r < 0 ? r : read_duration(check, "StartInterval", &ret_health->start_interval_ms);
}

static void override(const struct health_config *given, struct health_config *health)
{
	if (given->test) {
		strv_free(health->test);
		health->test = strv_copy(given->test);
	}
	if (given->interval_ms)
		health->interval_ms = given->interval_ms;
	if (given->timeout_ms)
		health->timeout_ms = given->timeout_ms;
	if (given->start_period_ms)
		health->start_period_ms = given->start_period_ms;
	if (given->start_interval_ms)
		health->start_interval_ms = given->start_interval_ms;
	if (given->retries)
		health->retries = given->retries;
}

static bool is_any_given(const struct health_config *given)
{
	return given->interval_ms || given->timeout_ms || given->start_period_ms ||
	       given->start_interval_ms || given->retries;
}

static size_t test_bytes(const struct health_config *health)
{
	size_t bytes = 0;

	STRV_EACH (health->test, it)
		bytes += strlen(*it);
	return bytes;
}

static void no_check(struct health_config *health)
{
	strv_free(health->test);
	*health = (struct health_config){ 0 };
}

int container_resolve_health(const struct health_config *given, const json_t *image_check,
			     const char *image, struct health_config *health, struct err *err)
{
	bool none = given->test && str_eq(given->test[0], "NONE");

	if (image_check && !none && read_check(image_check, health) < 0 && !given->test)
		return err_set(err, -EBADMSG,
			       "the health check of image '%s' makes no sense; give another with "
			       "--health-cmd, or --no-healthcheck",
			       image);
	override(given, health);
	none = !strv_count(health->test) || str_eq(health->test[0], "NONE");
	if (none && is_any_given(given))
		return err_set(err, -EINVAL,
			       "image '%s' has no health check; give one with --health-cmd", image);
	if (none)
		no_check(health);
	if (test_bytes(health) > TEST_BYTES_MAX)
		return err_set(err, -E2BIG, "the health check is longer than %d bytes",
			       TEST_BYTES_MAX);
	return 0;
}

/* A file that a shim wrote, which talks to a guest: only what it should hold is passed on. */
static json_t *checked_log(const json_t *document)
{
	json_t *log = json_array();
	size_t i;
	json_t *item;

	json_array_foreach (json_get_array(document, "log"), i, item) {
		json_t *entry = json_object();

		json_set_string(entry, "startDate", json_get_string(item, "startDate"));
		json_set_string(entry, "endDate", json_get_string(item, "endDate"));
		json_object_set_new(entry, "exitCode",
				    json_integer(json_get_int(item, "exitCode", -1)));
		json_set_string(entry, "output", json_get_string(item, "output"));
		json_array_append_new(log, entry);
	}
	return log;
}

json_t *engine_container_health(struct engine *engine, const struct container *container)
{
	AUTO_FREE char *dir = launch_container_dir(engine->root, container->uuid);
	AUTO_FREE char *path = path_join(dir, HEALTH_FILE);
	AUTO_FREE char *text = NULL;
	AUTO_JSON json_t *document = NULL;
	size_t size = 0;
	json_t *health;

	if (!container->health || !container_is_active(container))
		return NULL;
	if (file_read(path, FILE_MAX, &text, &size, NULL) == 0)
		json_parse(text, size, path, &document, NULL);
	health = json_object();
	json_set_string(health, "status", container_health_names[container->health]);
	json_object_set_new(health, "failingStreak",
			    json_integer(json_get_int(document, "failingStreak", 0)));
	json_object_set_new(health, "log", checked_log(document));
	return health;
}
