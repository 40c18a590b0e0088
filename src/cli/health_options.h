/* SPDX-License-Identifier: Apache-2.0 */
/* The options of run and create for the container's health check. */
#ifndef CLI_HEALTH_OPTIONS_H
#define CLI_HEALTH_OPTIONS_H

#include "cli/cli.h"

struct health_flags {
	const char *command, *interval, *timeout, *start_period, *start_interval;
	uint32_t retries;
	bool none;
};

extern const struct option_spec health_options[];
#define HEALTH_GROUP(container, member)                                     \
	{                                                                   \
		"Health check", health_options, offsetof(container, member) \
	}

/* Checks the words and fills them into health; -EINVAL with what is wrong. */
int health_flags_apply(const struct health_flags *flags, struct health_config *health,
		       struct err *err);

#endif
