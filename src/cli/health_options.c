/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/health_options.h"

#include <errno.h>

#include "base/str.h"

#define FLAGS struct health_flags
#define DURATION_MAX_MS (UINT64_C(365) * 24 * 3600 * 1000)

const struct option_spec health_options[] = {
	OPT_STRING("health-cmd", 0, "COMMAND", FLAGS, command,
		   "run this by its shell now and then: it is healthy while that succeeds"),
	OPT_STRING("health-interval", 0, "TIME", FLAGS, interval,
		   "time between two checks (default 30s)"),
	OPT_STRING("health-timeout", 0, "TIME", FLAGS, timeout,
		   "how long a check may take (default 30s)"),
	OPT_U32("health-retries", 0, "N", FLAGS, retries,
		"failures in a row that make it unhealthy (default 3)", .minimum = 1),
	OPT_STRING("health-start-period", 0, "TIME", FLAGS, start_period,
		   "failures do not count for so long, or until one check succeeds (default 0s)"),
	OPT_STRING("health-start-interval", 0, "TIME", FLAGS, start_interval,
		   "time between two checks in the start period (default 5s)"),
	OPT_FLAG("no-healthcheck", 0, FLAGS, none, "run no health check, not even the image's"),
	OPT_END,
};

static int parse_time(const char *option, const char *text, bool zero, uint64_t *ret_ms,
		      struct err *err)
{
	if (!text || (str_parse_duration_ms(text, ret_ms) == 0 && (zero || *ret_ms) &&
		      *ret_ms <= DURATION_MAX_MS))
		return 0;
	return err_set(err, -EINVAL,
		       "invalid value '%s' for '--%s': it is like 30s, 500ms or 1m30s", text,
		       option);
}

int health_flags_apply(const struct health_flags *flags, struct health_config *health,
		       struct err *err)
{
	const struct {
		const char *option, *text;
		uint64_t *ms;
		bool zero;
	} times[] = {
		{ "health-interval", flags->interval, &health->interval_ms, false },
		{ "health-timeout", flags->timeout, &health->timeout_ms, false },
		{ "health-start-period", flags->start_period, &health->start_period_ms, true },
		{ "health-start-interval", flags->start_interval, &health->start_interval_ms,
		  false },
	};
	bool any = flags->command || flags->retries;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(times); i++) {
		any |= times[i].text != NULL;
		r = parse_time(times[i].option, times[i].text, times[i].zero, times[i].ms, err);
	}
	if (r < 0)
		return r;
	if (flags->none && any)
		return err_set(err, -EINVAL, "'--no-healthcheck' conflicts with '--health-*'");
	if (flags->command && !*flags->command)
		return err_set(err, -EINVAL, "'--health-cmd' is empty; '--no-healthcheck' is none");
	health->retries = flags->retries;
	if (flags->none)
		strv_push(&health->test, "NONE");
	if (!flags->command)
		return 0;
	strv_push(&health->test, "CMD-SHELL");
	strv_push(&health->test, flags->command);
	return 0;
}
