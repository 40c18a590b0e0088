/* SPDX-License-Identifier: Apache-2.0 */
/* The options that describe how an image is fetched. */
#ifndef CLI_FETCH_OPTIONS_H
#define CLI_FETCH_OPTIONS_H

#include "cli/cli.h"

struct fetch_flags {
	const char *platform, *arch, *os;
	int scheme, progress;
	uint32_t concurrency;
};

extern const struct option_spec fetch_options[];
extern const char *const scheme_names[]; /* of --scheme */
#define FETCH_GROUP(container, member)                                      \
	{                                                                   \
		"Image options", fetch_options, offsetof(container, member) \
	}

/* The platform asked for, or NULL for the default: --platform wins over --os and --arch. Owned by
 * the caller. */
char *fetch_flags_platform(const struct fetch_flags *flags);
/* Sets the way progress is shown; platform (of fetch_flags_platform) is borrowed. */
struct fetch_options fetch_flags_apply(struct cli *cli, const struct fetch_flags *flags,
				       const char *platform);

#endif
