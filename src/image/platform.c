/* SPDX-License-Identifier: Apache-2.0 */
#include "image/platform.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/utsname.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"

/* Other names of architectures, and the variant that no variant means. */
static const struct {
	const char *name, *architecture, *variant;
} aliases[] = {
	{ "x86_64", "amd64", "" },    { "x86-64", "amd64", "" },
	{ "i386", "386", "" },        { "i486", "386", "" },
	{ "i586", "386", "" },        { "i686", "386", "" },
	{ "aarch64", "arm64", "v8" }, { "armhf", "arm", "v7" },
	{ "armel", "arm", "v6" },     { "armv7l", "arm", "v7" },
	{ "armv6l", "arm", "v6" },    { "arm64", "arm64", "v8" },
	{ "arm", "arm", "v7" },       { "ppc64el", "ppc64le", "" },
	{ "amd64", "amd64", "" },     { "loongarch64", "loong64", "" },
};

static const char *default_variant(const char *architecture)
{
	if (str_eq(architecture, "arm64"))
		return "v8";
	return str_eq(architecture, "arm") ? "v7" : "";
}

static bool part_valid(const char *text, size_t max)
{
	size_t n = strlen(text);

	return n > 0 && n < max &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
		       n;
}

static void set(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", text);
	for (char *c = out; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
}

/* Fills architecture and variant of any of an architecture's names. */
static void normalise(struct platform *platform, const char *name, const char *variant)
{
	const char *architecture = name;

	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
		if (strcasecmp(aliases[i].name, name) == 0) {
			architecture = aliases[i].architecture;
			if (variant[0] == '\0')
				variant = aliases[i].variant;
			break;
		}
	set(platform->architecture, sizeof(platform->architecture), architecture);
	if (str_eq(platform->architecture, "arm64") && str_eq(variant, "8"))
		variant = "v8";
	if (str_eq(platform->architecture, "amd64") && str_eq(variant, "v1"))
		variant = "";
	set(platform->variant, sizeof(platform->variant), variant);
}

int platform_parse(const char *text, struct platform *ret_platform, struct err *err)
{
	AUTO_STRV char **parts = str_split(text, '/', 0);
	size_t count = strv_count(parts);
	struct platform platform = { 0 };

	for (size_t i = 0; i < count; i++)
		if (!part_valid(parts[i], sizeof(platform.os)))
			return err_set(err, -EINVAL,
				       "invalid platform '%s': expected os/architecture[/variant]",
				       text);
	if (count < 1 || count > 3)
		return err_set(err, -EINVAL,
			       "invalid platform '%s': expected os/architecture[/variant]", text);
	if (count == 1) { /* "linux" or "arm64" alone */
		platform = platform_host();
		if (!str_eq(parts[0], "linux"))
			normalise(&platform, parts[0], "");
	} else {
		set(platform.os, sizeof(platform.os), parts[0]);
		normalise(&platform, parts[1], count == 3 ? parts[2] : "");
	}
	*ret_platform = platform;
	return 0;
}

struct platform platform_host(void)
{
	struct platform platform = { .os = "linux" };
	struct utsname name = { 0 };

	uname(&name);
	normalise(&platform, name.machine, "");
	return platform;
}

bool platform_matches(const struct platform *want, const struct platform *have)
{
	struct platform a = { 0 };
	struct platform b = { 0 };

	if (strcasecmp(want->os, have->os) != 0)
		return false;
	normalise(&a, want->architecture, want->variant);
	normalise(&b, have->architecture, have->variant);
	if (!str_eq(a.architecture, b.architecture))
		return false;
	if (a.variant[0] == '\0')
		set(a.variant, sizeof(a.variant), default_variant(a.architecture));
	if (b.variant[0] == '\0')
		set(b.variant, sizeof(b.variant), default_variant(b.architecture));
	return str_eq(a.variant, b.variant);
}

char *platform_text(const struct platform *platform)
{
	return xasprintf("%s/%s%s%s", platform->os, platform->architecture,
			 platform->variant[0] ? "/" : "", platform->variant);
}
