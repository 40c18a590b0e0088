/* SPDX-License-Identifier: Apache-2.0 */
/* What a container's health check is made of, and what its results say. */
#include "test.h"

#include <errno.h>

#include "base/json.h"
#include "base/str.h"
#include "engine/internal.h"
#include "shim/health.h"

/* Whether the status changed. */
static bool record(struct health *health, const struct health_config *config, uint64_t up_ms,
		   int32_t exit_code)
{
	const struct health_result result = { .exit_code = exit_code,
					      .output = health_text("", 0) };

	return health_record(health, config, up_ms, &result);
}

static void test_failures_in_a_row_make_it_unhealthy(void **state)
{
	const struct health_config config = { .retries = 2 };
	struct health health = { 0 };

	health_begin(&health);
	assert_int_equal(health.status, HEALTH_STARTING);
	assert_false(record(&health, &config, 0, 1));
	assert_true(record(&health, &config, 0, 0));
	assert_int_equal(health.status, HEALTH_HEALTHY);
	assert_false(record(&health, &config, 0, HEALTH_EXIT_NONE));
	assert_false(record(&health, &config, 0, 0));
	assert_false(record(&health, &config, 0, 1));
	assert_true(record(&health, &config, 0, 127));
	assert_int_equal(health.status, HEALTH_UNHEALTHY);
	assert_int_equal(health.failing_streak, 2);
	assert_false(record(&health, &config, 0, 1));
	assert_true(record(&health, &config, 0, 0));
	assert_int_equal(health.failing_streak, 0);
	health_release(&health);
}

static void test_failures_in_the_start_period_do_not_count(void **state)
{
	const struct health_config config = { .start_period_ms = 1000,
					      .interval_ms = 70,
					      .retries = 1 };
	struct health health = { 0 };

	health_begin(&health);
	assert_int_equal(health_delay_ms(&health, &config, 0), 5000);
	assert_false(record(&health, &config, 999, 1));
	assert_int_equal(health.failing_streak, 0);
	assert_int_equal(health_delay_ms(&health, &config, 1000), 70);
	assert_true(record(&health, &config, 1000, 1));
	assert_int_equal(health.status, HEALTH_UNHEALTHY);

	health_begin(&health);
	assert_true(record(&health, &config, 10, 0));
	assert_int_equal(health_delay_ms(&health, &config, 20), 70);
	assert_true(record(&health, &config, 20, 1)); /* it had started */
	assert_int_equal(health.status, HEALTH_UNHEALTHY);
	health_release(&health);
}

static void test_the_last_results_are_kept(void **state)
{
	const struct health_config config = { 0 };
	struct health health = { 0 };
	AUTO_JSON json_t *json = NULL;

	health_begin(&health);
	for (int32_t i = 0; i < 7; i++)
		record(&health, &config, 0, i);
	json = health_json(&health);
	assert_string_equal(json_get_string(json, "status"), "unhealthy");
	assert_int_equal(json_array_size(json_get_array(json, "log")), HEALTH_LOG_MAX);
	assert_int_equal(
		json_get_int(json_array_get(json_get_array(json, "log"), 0), "exitCode", 0), 2);
	assert_int_equal(health_timeout_ms(&config), 30000);
	health_release(&health);
}

static void test_output_can_be_shown(void **state)
{
	static const struct {
		const char *data, *text;
	} cases[] = {
		{ "plain\n\ttext\r\n", "plain\n\ttext\n" },
		{ "\x1b]0;title\x07", "?]0;title?" },
		{ "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80",
		  "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "\xc3", "?" },
		{ "\xc0\xaf", "??" },      /* not the shortest form */
		{ "\xed\xa0\x80", "???" }, /* half of a pair */
		{ "\xc2\x9b!", "?!" },     /* CSI of the second set */
		{ "\xf4\x90\x80\x80", "????" },
	};
	char big[3 * HEALTH_OUTPUT_MAX];
	AUTO_FREE char *cut = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *text = health_text(cases[i].data, strlen(cases[i].data));

		assert_string_equal(text, cases[i].text);
	}
	memset(big, 'x', sizeof(big));
	cut = health_text(big, sizeof(big));
	assert_int_equal(strlen(cut), HEALTH_OUTPUT_MAX);
}

/* --- what a container gets --- */

static int resolve(const struct health_config *given, const char *image,
		   struct health_config *health)
{
	AUTO_JSON json_t *json = image ? json_loads(image, 0, NULL) : NULL;
	struct err err = { 0 };

	*health = (struct health_config){ 0 };
	return container_resolve_health(given, json, "web", health, &err);
}

static void test_the_image_has_a_check(void **state)
{
	static const char image[] =
		"{\"Test\":[\"CMD\",\"/bin/ok\",\"-q\"],\"Interval\":1500000000,"
		"\"Timeout\":1,\"StartPeriod\":0,\"Retries\":7}";
	struct health_config given = { 0 };
	struct health_config health;
	AUTO_STRV char **command = NULL;

	assert_int_equal(resolve(&given, image, &health), 0);
	command = health_command(&health);
	assert_string_equal(command[0], "/bin/ok");
	assert_string_equal(command[1], "-q");
	assert_null(command[2]);
	assert_int_equal(health.interval_ms, 1500);
	assert_int_equal(health.timeout_ms, 1);
	assert_int_equal(health.retries, 7);
	strv_free(health.test);

	given.interval_ms = 100;
	assert_int_equal(resolve(&given, image, &health), 0);
	assert_int_equal(health.interval_ms, 100);
	assert_int_equal(health.retries, 7);
	assert_string_equal(health.test[0], "CMD");
	strv_free(health.test);
	assert_int_equal(resolve(&given, NULL, &health), -EINVAL); /* how often, but not what */
}

static void test_what_is_given_wins(void **state)
{
	static const char image[] = "{\"Test\":[\"CMD-SHELL\",\"false\"],\"Retries\":7}";
	struct health_config given = { 0 };
	struct health_config health;
	AUTO_STRV char **command = NULL;

	strv_push(&given.test, "CMD-SHELL");
	strv_push(&given.test, "true || x");
	assert_int_equal(resolve(&given, image, &health), 0);
	command = health_command(&health);
	assert_string_equal(command[0], "/bin/sh");
	assert_string_equal(command[1], "-c");
	assert_string_equal(command[2], "true || x");
	assert_int_equal(health.retries, 7);
	strv_free(health.test);
	given.test = strv_free(given.test);

	strv_push(&given.test, "NONE");
	assert_int_equal(resolve(&given, image, &health), 0);
	assert_null(health.test);
	assert_int_equal(health.retries, 0);
	strv_free(given.test);
}

static void test_odd_checks_of_images(void **state)
{
	static const char *const none[] = { "{}", "{\"Test\":[]}", "{\"Test\":[\"NONE\"]}",
					    "{\"Test\":null,\"Interval\":5}" };
	static const char *const bad[] = { "{\"Test\":[\"CMD\"]}",
					   "{\"Test\":[\"CMD-SHELL\"]}",
					   "{\"Test\":[\"CMD-SHELL\",\"a\",\"b\"]}",
					   "{\"Test\":[\"sh\",\"-c\"]}",
					   "{\"Test\":[\"CMD\",3]}",
					   "{\"Test\":[\"CMD\",\"a\"],\"Interval\":-1}",
					   "{\"Test\":[\"CMD\",\"a\"],\"Retries\":-1}" };
	const struct health_config given = { 0 };
	struct health_config health;

	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		assert_int_equal(resolve(&given, none[i], &health), 0);
		assert_null(health.test);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(resolve(&given, bad[i], &health), -EBADMSG);
		strv_free(health.test);
	}
	assert_int_equal(resolve(&given,
				 "{\"Test\":[\"CMD\",\"a\"],\"Interval\":9223372036854775807}",
				 &health),
			 0);
	assert_true(health.interval_ms <= UINT64_C(365) * 24 * 3600 * 1000);
	strv_free(health.test);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failures_in_a_row_make_it_unhealthy),
		cmocka_unit_test(test_failures_in_the_start_period_do_not_count),
		cmocka_unit_test(test_the_last_results_are_kept),
		cmocka_unit_test(test_output_can_be_shown),
		cmocka_unit_test(test_the_image_has_a_check),
		cmocka_unit_test(test_what_is_given_wins),
		cmocka_unit_test(test_odd_checks_of_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
