/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/mount_options.h"

#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"

static void mount_release(struct mount_config *mount)
{
	free(mount->type);
	free(mount->source);
	free(mount->destination);
	strv_free(mount->options);
}

/* "/a//b/" is "/a/b". NULL with err set when it is no place for a mount. */
static char *plain_destination(const char *text, struct err *err)
{
	AUTO_STRV char **parts = str_split(text, '/', 0);
	AUTO_SBUF struct sbuf plain = { 0 };

	if (text[0] != '/') {
		err_set(err, -EINVAL, "invalid mount point '%s': it is not an absolute path", text);
		return NULL;
	}
	STRV_EACH (parts, it) {
		if (str_eq(*it, "..")) {
			err_set(err, -EINVAL, "invalid mount point '%s': it has '..' in it", text);
			return NULL;
		}
		if (**it && !str_eq(*it, "."))
			sbuf_addf(&plain, "/%s", *it);
	}
	if (!plain.length) {
		err_set(err, -EINVAL, "invalid mount point '%s': the root is the image's", text);
		return NULL;
	}
	return sbuf_take(&plain);
}

/* A path of the host as it is from anywhere. Whether it is there is the engine's to see. */
static char *absolute_source(const char *text)
{
	AUTO_FREE char *cwd = text[0] == '/' ? NULL : getcwd(NULL, 0);

	return cwd ? path_join(cwd, "%s", text) : xstrdup(text);
}

static bool is_path(const char *source)
{
	return source[0] == '/' || str_eq(source, ".") || str_eq(source, "..") ||
	       str_starts(source, "./") || str_starts(source, "../");
}

static int add(struct mount_config *mount, struct container_config *config)
{
	VEC_PUSH(&config->mounts, *mount);
	*mount = (struct mount_config){ 0 };
	return 0;
}

/* What the guest's kernel would refuse only when the container starts is refused here. */
static int add_tmpfs_option(const char *text, char ***options, struct err *err)
{
	static const char *const words[] = { "ro",         "rw",       "exec",       "noexec",
					     "suid",       "nosuid",   "dev",        "nodev",
					     "sync",       "async",    "atime",      "noatime",
					     "nodiratime", "relatime", "strictatime" };
	static const char *const numbers[] = { "uid=", "gid=", "nr_inodes=", "nr_blocks=" };
	const char *size = str_after(text, "size=");
	const char *mode = str_after(text, "mode=");
	AUTO_FREE char *in_bytes = NULL;
	uint64_t number;
	uint32_t bits;
	bool good = false;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		good |= str_eq(words[i], text);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		good |= str_starts(text, numbers[i]) &&
			str_parse_size(strchr(text, '=') + 1, &number) == 0;
	if (mode)
		good = str_parse_octal(mode, &bits) == 0 && bits <= 07777;
	if (size && str_ends(size, "%"))
		good = strspn(size, "0123456789") == strlen(size) - 1 && size[0] != '%';
	else if (size && str_parse_size(size, &number) == 0)
		in_bytes = xasprintf("size=%llu", (unsigned long long)number);
	if (!good && !in_bytes)
		return err_set(err, -EINVAL, "invalid option '%s' of a tmpfs", text);
	strv_push(options, in_bytes ? in_bytes : text);
	return 0;
}

int mount_parse_tmpfs(const char *text, struct container_config *config, struct err *err)
{
	AUTO_STRV char **sides = str_split(text, ':', 2);
	AUTO_STRV char **options = sides[1] ? str_split(sides[1], ',', 0) : NULL;
	CLEANUP(mount_release)
	struct mount_config mount = { .type = xstrdup("tmpfs"),
				      .destination = plain_destination(sides[0], err) };
	int r = mount.destination ? 0 : -EINVAL;

	STRV_EACH (options, it)
		if (r == 0)
			r = add_tmpfs_option(*it, &mount.options, err);
	return r < 0 ? r : add(&mount, config);
}

/* What people write for other systems (labels of SELinux, propagation) is accepted where it makes
 * no difference. */
static int add_volume_options(const char *text, char ***options, struct err *err)
{
	static const char *const known[] = { "ro", "rw", "nocopy" };
	static const char *const ignored[] = { "z",          "Z",        "delegated", "cached",
					       "consistent", "rprivate", "private" };
	AUTO_STRV char **words = str_split(text, ',', 0);

	STRV_EACH (words, it) {
		bool is_known = false;
		bool is_ignored = false;

		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			is_known |= str_eq(known[i], *it);
		for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
			is_ignored |= str_eq(ignored[i], *it);
		if (is_known && !str_eq(*it, "rw"))
			strv_push(options, *it);
		else if (!is_known && !is_ignored)
			return err_set(err, -EINVAL,
				       "unknown option '%s' of a volume; there are: ro, rw, nocopy",
				       *it);
	}
	return 0;
}

int mount_parse_volume(const char *text, struct container_config *config, struct err *err)
{
	AUTO_STRV char **fields = str_split(text, ':', 3);
	size_t count = strv_count(fields);
	/* "/data:ro" has no source; "name:/data" has. */
	bool has_source = count > 1 && (count > 2 || fields[1][0] == '/' || fields[0][0] != '/');
	const char *source = has_source ? fields[0] : NULL;
	const char *options = fields[has_source ? 2 : 1];
	CLEANUP(mount_release)
	struct mount_config mount = {
		.type = xstrdup(source && is_path(source) ? "bind" : "volume"),
		.destination = plain_destination(fields[has_source ? 1 : 0], err),
	};
	int r;

	if (!mount.destination || (source && !*source)) {
		if (mount.destination)
			err_set(err, -EINVAL, "invalid volume '%s': its source is empty", text);
		return -EINVAL;
	}
	if (source)
		mount.source = is_path(source) ? absolute_source(source) : xstrdup(source);
	r = count > (has_source ? 2u : 1u) ? add_volume_options(options, &mount.options, err) : 0;
	return r < 0 ? r : add(&mount, config);
}

/* --- --mount --- */

static int set_text(char **slot, const char *value)
{
	if (!*value || *slot)
		return -EINVAL;
	*slot = xstrdup(value);
	return 0;
}

static int set_type(struct mount_config *mount, const char *value)
{
	return set_text(&mount->type, value);
}

static int set_source(struct mount_config *mount, const char *value)
{
	return set_text(&mount->source, value);
}

static int set_target(struct mount_config *mount, const char *value)
{
	return set_text(&mount->destination, value);
}

static int set_flag(struct mount_config *mount, const char *value, const char *option)
{
	bool on = !*value || str_eq(value, "true") || str_eq(value, "1");

	if (!on && !str_eq(value, "false") && !str_eq(value, "0"))
		return -EINVAL;
	if (on)
		strv_push(&mount->options, option);
	return 0;
}

static int set_read_only(struct mount_config *mount, const char *value)
{
	return set_flag(mount, value, "ro");
}

static int set_nocopy(struct mount_config *mount, const char *value)
{
	return set_flag(mount, value, "nocopy");
}

static int set_tmpfs_size(struct mount_config *mount, const char *value)
{
	AUTO_FREE char *option = NULL;
	uint64_t bytes;

	if (str_parse_size(value, &bytes) < 0)
		return -EINVAL;
	option = xasprintf("size=%llu", (unsigned long long)bytes);
	strv_push(&mount->options, option);
	return 0;
}

static int set_tmpfs_mode(struct mount_config *mount, const char *value)
{
	AUTO_FREE char *option = xasprintf("mode=%s", value);
	uint32_t mode;

	if (str_parse_octal(value, &mode) < 0 || mode > 07777)
		return -EINVAL;
	strv_push(&mount->options, option);
	return 0;
}

static int set_nothing(struct mount_config *mount, const char *value)
{
	return 0;
}

static const struct {
	const char *name;
	int (*set)(struct mount_config *mount, const char *value);
	const char *type; /* that it is for; NULL: any */
} mount_words[] = {
	{ "type", set_type, NULL },
	{ "source", set_source, NULL },
	{ "src", set_source, NULL },
	{ "target", set_target, NULL },
	{ "destination", set_target, NULL },
	{ "dst", set_target, NULL },
	{ "readonly", set_read_only, NULL },
	{ "ro", set_read_only, NULL },
	{ "consistency", set_nothing, NULL },
	{ "volume-nocopy", set_nocopy, "volume" },
	{ "tmpfs-size", set_tmpfs_size, "tmpfs" },
	{ "tmpfs-mode", set_tmpfs_mode, "tmpfs" },
};

/* *ret_type: the type that the word is for, if any. */
static int parse_word(const char *text, struct mount_config *mount, const char **ret_type,
		      struct err *err)
{
	AUTO_STRV char **sides = str_split(text, '=', 2);
	size_t i = 0;

	while (i < ARRAY_SIZE(mount_words) && !str_eq(mount_words[i].name, sides[0]))
		i++;
	if (i == ARRAY_SIZE(mount_words))
		return err_set(err, -EINVAL,
			       "unknown word '%s' in a mount; there are: type, source, target, "
			       "readonly, volume-nocopy, tmpfs-size, tmpfs-mode",
			       sides[0]);
	if (mount_words[i].set(mount, str_or(sides[1], "")) < 0)
		return err_set(err, -EINVAL, "invalid or repeated '%s' in a mount", text);
	if (mount_words[i].type)
		*ret_type = mount_words[i].type;
	return 0;
}

/* What the words say together. */
static int check(const char *text, struct mount_config *mount, const char *type, struct err *err)
{
	char *plain;

	if (!mount->type)
		mount->type = xstrdup("volume");
	if (!str_eq(mount->type, "bind") && !str_eq(mount->type, "volume") &&
	    !str_eq(mount->type, "tmpfs"))
		return err_set(err, -EINVAL,
			       "unknown type '%s' of a mount; there are: bind, volume, tmpfs",
			       mount->type);
	if (type && !str_eq(type, mount->type))
		return err_set(err, -EINVAL, "mount '%s' mixes '%s' with type %s", text, type,
			       mount->type);
	if (!mount->destination)
		return err_set(err, -EINVAL, "mount '%s' has no target", text);
	if (str_eq(mount->type, "bind") && !mount->source)
		return err_set(err, -EINVAL, "mount '%s' has no source", text);
	if (str_eq(mount->type, "tmpfs") && mount->source)
		return err_set(err, -EINVAL, "mount '%s': a tmpfs has no source", text);
	plain = plain_destination(mount->destination, err);
	if (!plain)
		return -EINVAL;
	free(mount->destination);
	mount->destination = plain;
	if (str_eq(mount->type, "bind") && mount->source) {
		char *absolute = absolute_source(mount->source);

		free(mount->source);
		mount->source = absolute;
	}
	return 0;
}

int mount_parse(const char *text, struct container_config *config, struct err *err)
{
	AUTO_STRV char **words = str_split(text, ',', 0);
	CLEANUP(mount_release) struct mount_config mount = { 0 };
	const char *type = NULL;
	int r = 0;

	STRV_EACH (words, it)
		if (r == 0)
			r = parse_word(*it, &mount, &type, err);
	if (r == 0)
		r = check(text, &mount, type, err);
	return r < 0 ? r : add(&mount, config);
}
