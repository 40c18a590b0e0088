/* SPDX-License-Identifier: Apache-2.0 */
/* os/architecture[/variant], with Go's names. */
#ifndef IMAGE_PLATFORM_H
#define IMAGE_PLATFORM_H

#include <stdbool.h>

#include "base/err.h"

struct platform {
	char os[32];
	char architecture[32]; /* "amd64", "arm64" */
	char variant[32];      /* "" none */
};

/* Normalises (x86_64 → amd64, aarch64 → arm64/v8 …). -EINVAL. */
int platform_parse(const char *text, struct platform *ret_platform, struct err *err);
/* linux and this machine's architecture. */
struct platform platform_host(void);
/* Whether content for `have` runs where `want` is asked for (an empty variant matches the default).
 */
bool platform_matches(const struct platform *want, const struct platform *have);
/* "linux/arm64/v8"; owned by the caller. */
char *platform_text(const struct platform *platform);

#endif
