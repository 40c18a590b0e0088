/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/socket_options.h"

#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"

#define FLAGS struct socket_flags
#define SECRETS "/run/secrets"

const struct option_spec socket_options[] = {
	OPT_FLAG("ssh", 0, FLAGS, ssh, "give it your SSH agent, by SSH_AUTH_SOCK"),
	OPT_LIST("publish-socket", 0, "HOST:CONTAINER", FLAGS, published,
		 "make its Unix socket CONTAINER one of the host", .complete = COMPLETE_FILES),
	OPT_LIST("secret", 0, "id=NAME[,src=FILE][,env=VAR][,target=PATH][,mode=M]", FLAGS, secrets,
		 "a file in memory that only it can read (" SECRETS "/NAME)"),
	OPT_END,
};

static char *absolute(const char *path)
{
	AUTO_FREE char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);

	while (str_starts(path, "./"))
		path += 2;
	return cwd ? path_join(cwd, "%s", path) : xstrdup(path);
}

/* Where something is in the container. */
static bool is_place(const char *path)
{
	return path[0] == '/' && path[1] && !strstr(path, "/../") && !str_ends(path, "/..") &&
	       !str_ends(path, "/");
}

int parse_publish_socket(const char *text, struct container_config *config, struct err *err)
{
	AUTO_STRV char **sides = str_split(text, ':', 0);

	if (strv_count(sides) != 2 || !*sides[0] || !is_place(sides[1]))
		return err_set(err, -EINVAL,
			       "invalid socket '%s': it is like host/path:/container/path", text);
	VEC_PUSH(&config->sockets,
		 ((struct socket_config){ absolute(sides[0]), xstrdup(sides[1]) }));
	return 0;
}

static int set_once(char **slot, const char *value)
{
	if (*slot || !*value)
		return -EINVAL;
	*slot = xstrdup(value);
	return 0;
}

static int take_word(const char *key, const char *value, struct secret_config *secret)
{
	if (str_eq(key, "id"))
		return strchr(value, '/') ? -EINVAL : set_once(&secret->id, value);
	if (str_eq(key, "src") || str_eq(key, "source"))
		return set_once(&secret->file, value);
	if (str_eq(key, "env"))
		return set_once(&secret->variable, value);
	if (str_eq(key, "target") || str_eq(key, "dst"))
		return set_once(&secret->target, value);
	if (str_eq(key, "mode"))
		return str_parse_octal(value, &secret->mode) < 0 || secret->mode > 0777 ? -EINVAL
											: 0;
	return str_eq(key, "type") && (str_eq(value, "file") || str_eq(value, "env")) ? 0 : -EINVAL;
}

/* What the words say together. */
static int complete(const char *text, struct secret_config *secret, struct err *err)
{
	AUTO_FREE char *target = secret->target;
	AUTO_FREE char *file = secret->file;

	secret->target = secret->file = NULL;
	if (!secret->id)
		return err_set(err, -EINVAL, "invalid secret '%s': it has no id", text);
	if (file && secret->variable)
		return err_set(err, -EINVAL, "invalid secret '%s': it has both src and env", text);
	if (!file && !secret->variable)
		secret->variable = xstrdup(secret->id);
	secret->file = file ? absolute(file) : NULL;
	secret->target = target && target[0] == '/'
				 ? TAKE_PTR(target)
				 : path_join(SECRETS, "%s", str_or(target, secret->id));
	if (!is_place(secret->target))
		return err_set(err, -EINVAL, "invalid secret '%s': '%s' is no place for a file",
			       text, secret->target);
	return 0;
}

int parse_secret(const char *text, struct container_config *config, struct err *err)
{
	AUTO_STRV char **words = str_split(text, ',', 0);
	struct secret_config secret = { .mode = 0400 };
	int r = 0;

	STRV_EACH (words, it) {
		AUTO_STRV char **sides = str_split(*it, '=', 2);

		if (r == 0 && (!sides[1] || take_word(sides[0], sides[1], &secret) < 0))
			r = err_set(err, -EINVAL,
				    "invalid secret '%s': cannot understand '%s'; it is like "
				    "id=NAME,src=FILE or id=NAME,env=VARIABLE",
				    text, *it);
	}
	if (r == 0)
		r = complete(text, &secret, err);
	VEC_PUSH(&config->secrets, secret); /* what it has is released with config */
	return r;
}

int socket_flags_apply(const struct socket_flags *flags, struct container_config *config,
		       struct err *err)
{
	int r = 0;

	config->ssh = flags->ssh;
	STRV_EACH (flags->published, it)
		r = r < 0 ? r : parse_publish_socket(*it, config, err);
	STRV_EACH (flags->secrets, it)
		r = r < 0 ? r : parse_secret(*it, config, err);
	return r;
}
