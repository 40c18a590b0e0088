/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar is that of the distribution project ("reference" there):
 *	name      = [registry "/"] component *("/" component)
 *	component = alphanum+ *(("." | "_" | "__" | "-"+) alphanum+), lower case
 *	tag       = [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}
 */
#include "image/ref.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/content.h"

#define NAME_MAX_LENGTH 255
#define TAG_MAX_LENGTH 128
#define LOWER_ALNUM "abcdefghijklmnopqrstuvwxyz0123456789"
#define ALNUM LOWER_ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static int invalid(struct err *err, const char *text, const char *reason)
{
	return err_set(err, -EINVAL, "invalid image reference '%s': %s", text, reason);
}

static bool component_valid(const char *c, size_t length)
{
	const char *end = c + length;

	for (;;) {
		size_t n = strspn(c, LOWER_ALNUM);

		if (n == 0 || c + n > end)
			return false;
		c += n;
		if (c == end)
			return true;
		if (c[0] == '_' && c[1] == '_')
			c += 2;
		else if (*c == '.' || *c == '_')
			c++;
		else if (*c == '-')
			c += strspn(c, "-");
		else
			return false;
		if (c >= end)
			return false;
	}
}

static bool repository_valid(const char *text)
{
	if (strlen(text) > NAME_MAX_LENGTH)
		return false;
	for (;;) {
		size_t n = strcspn(text, "/");

		if (!component_valid(text, n))
			return false;
		if (text[n] == '\0')
			return true;
		text += n + 1;
	}
}

/* host, host:port, [v6]:port. What stands here becomes part of URLs and of paths of CA directories.
 */
static bool registry_valid(const char *text)
{
	const char *port = strrchr(text, ':');
	uint32_t number;
	size_t n;

	if (text[0] == '[') {
		n = 1 + strspn(text + 1, "0123456789abcdefABCDEF:.");
		if (n < 3 || text[n] != ']')
			return false;
		port = text[n + 1] ? text + n + 1 : NULL;
		if (port && *port != ':')
			return false;
	} else {
		n = port ? (size_t)(port - text) : strlen(text);
		if (n == 0 || n > 253 || strspn(text, ALNUM ".-") != n || text[0] == '.' ||
		    text[0] == '-' || strstr(text, ".."))
			return false;
	}
	return !port || (str_parse_u32(port + 1, &number) == 0 && number > 0 && number < 65536);
}

static bool tag_valid(const char *text)
{
	size_t n = strlen(text);

	return n > 0 && n <= TAG_MAX_LENGTH && strspn(text, ALNUM "_.-") == n && text[0] != '.' &&
	       text[0] != '-';
}

static bool is_registry(const char *component)
{
	return strpbrk(component, ".:[") || str_eq(component, "localhost");
}

/* Splits "name" (without tag and digest) into registry and repository. */
static void split_name(const char *name, const char *default_registry, struct image_ref *ref)
{
	const char *slash = strchr(name, '/');
	AUTO_FREE char *first = slash ? xstrndup(name, (size_t)(slash - name)) : NULL;

	if (first && is_registry(first)) {
		ref->registry = TAKE_PTR(first);
		name = slash + 1;
	} else {
		ref->registry = xstrdup(str_or(default_registry, "docker.io"));
	}
	if (str_eq(ref->registry, "index.docker.io") ||
	    str_eq(ref->registry, "registry-1.docker.io")) {
		free(ref->registry);
		ref->registry = xstrdup("docker.io");
	}
	ref->repository = str_eq(ref->registry, "docker.io") && !strchr(name, '/')
				  ? xasprintf("library/%s", name)
				  : xstrdup(name);
}

int image_ref_parse(const char *text, const char *default_registry, struct image_ref *ret_ref,
		    struct err *err)
{
	CLEANUP(image_ref_release) struct image_ref ref = { 0 };
	AUTO_FREE char *name = xstrdup(text);
	char *at;
	char *colon;

	if (text[0] == '\0')
		return invalid(err, text, "it is empty");
	if (strlen(text) > 2 * NAME_MAX_LENGTH + TAG_MAX_LENGTH)
		return err_set(err, -EINVAL, "invalid image reference: it is too long");
	at = strchr(name, '@');
	if (at) {
		*at = '\0';
		ref.digest = xstrdup(at + 1);
		if (!content_digest_valid(ref.digest))
			return invalid(err, text, "the digest must be sha256:<64 hex digits>");
	}
	colon = strrchr(name, ':');
	if (colon && !strchr(colon, '/')) {
		*colon = '\0';
		ref.tag = xstrdup(colon + 1);
		if (!tag_valid(ref.tag))
			return invalid(err, text, "the tag has characters that tags cannot have");
	}
	split_name(name, default_registry, &ref);
	if (!registry_valid(ref.registry))
		return invalid(err, text, "the registry is not a host name");
	if (!repository_valid(ref.repository))
		return invalid(
			err, text,
			"a name is made of lower-case letters, digits and . _ - between them");
	if (!ref.tag && !ref.digest)
		ref.tag = xstrdup("latest");
	*ret_ref = ref;
	ref = (struct image_ref){ 0 };
	return 0;
}

void image_ref_release(struct image_ref *ref)
{
	free(ref->registry);
	free(ref->repository);
	free(ref->tag);
	free(ref->digest);
	*ref = (struct image_ref){ 0 };
}

char *image_ref_text(const struct image_ref *ref)
{
	return xasprintf("%s/%s%s%s%s%s", ref->registry, ref->repository, ref->tag ? ":" : "",
			 str_or(ref->tag, ""), ref->digest ? "@" : "", str_or(ref->digest, ""));
}

char *image_ref_short(const char *normalised)
{
	const char *rest = str_after(normalised, "docker.io/");

	if (!rest)
		return xstrdup(normalised);
	return xstrdup(str_or(str_after(rest, "library/"), rest));
}
