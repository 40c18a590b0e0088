/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fetch_options.h"

#include "base/mem.h"
#include "base/str.h"
#include "image/platform.h"

const char *const scheme_names[] = { "auto", "http", "https", NULL };

const struct option_spec fetch_options[] = {
	OPT_STRING("platform", 0, "OS/ARCH[/VARIANT]", struct fetch_flags, platform,
		   "take the image for this platform", .warmth = WARM_FIND),
	OPT_STRING("arch", 'a', "ARCH", struct fetch_flags, arch,
		   "take the image for this architecture", .warmth = WARM_FIND),
	OPT_STRING("os", 0, "OS", struct fetch_flags, os, "take the image for this system",
		   .warmth = WARM_FIND),
	OPT_CHOICE("scheme", 0, scheme_names, struct fetch_flags, scheme,
		   "how to speak to the registry (default auto: HTTP to local ones)",
		   .warmth = WARM_FIND),
	OPT_CHOICE("progress", 0, progress_mode_names, struct fetch_flags, progress,
		   "how to show progress (default auto: ansi on a terminal, else plain)",
		   .warmth = WARM_FIND),
	OPT_U32("max-concurrent-downloads", 0, "N", struct fetch_flags, concurrency,
		"layers to fetch at a time (default 3)", .initial = 3, .minimum = 1,
		.warmth = WARM_FIND),
	OPT_END,
};

char *fetch_flags_platform(const struct fetch_flags *flags)
{
	struct platform host;

	if (flags->platform)
		return xstrdup(flags->platform);
	if (!flags->arch && !flags->os)
		return NULL;
	host = platform_host();
	return xasprintf("%s/%s", str_or(flags->os, host.os),
			 str_or(flags->arch, host.architecture));
}

struct fetch_options fetch_flags_apply(struct cli *cli, const struct fetch_flags *flags,
				       const char *platform)
{
	cli->progress_mode = (enum progress_mode)flags->progress;
	return (struct fetch_options){
		.platform = platform,
		.scheme = scheme_names[flags->scheme],
		.concurrency = flags->concurrency,
	};
}
