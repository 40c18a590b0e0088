/* SPDX-License-Identifier: Apache-2.0 */
/* What the caller gives to a container at its start and nobody keeps: secrets, the SSH agent. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/internal.h"
#include "shim/launch.h"

static const char *variable(const struct engine *engine, const char *name)
{
	size_t length = strlen(name);

	STRV_EACH (engine->environment, it)
		if (strncmp(*it, name, length) == 0 && (*it)[length] == '=')
			return *it + length + 1;
	return NULL;
}

static int read_secret(const struct engine *engine, const struct secret_config *secret,
		       struct launch_secret *ret_secret, struct err *err)
{
	const char *value = secret->variable ? variable(engine, secret->variable) : NULL;
	int r = 0;

	*ret_secret =
		(struct launch_secret){ .path = xstrdup(secret->target), .mode = secret->mode };
	if (secret->variable && !value)
		return err_set(err, -ENOENT, "secret '%s': the variable %s is not set", secret->id,
			       secret->variable);
	if (value) {
		ret_secret->data = xstrdup(value);
		ret_secret->size = strlen(value);
	} else {
		AUTO_CLOSE int fd = open(secret->file, O_RDONLY | O_CLOEXEC | O_NOCTTY);

		r = fd < 0 ? -errno
			   : fd_read_text(fd, LAUNCH_SECRET_MAX, &ret_secret->data,
					  &ret_secret->size);
	}
	if (r == 0 && ret_secret->size > LAUNCH_SECRET_MAX)
		r = -EFBIG;
	if (r == -EFBIG)
		return err_set(err, r, "secret '%s' is larger than %d KiB", secret->id,
			       LAUNCH_SECRET_MAX / 1024);
	return r < 0 ? err_set(err, r, "cannot read secret '%s' of '%s': %m", secret->id,
			       secret->file)
		     : 0;
}

char *secrets_agent(const struct engine *engine)
{
	const char *path = variable(engine, "SSH_AUTH_SOCK");

	return path && *path ? xstrdup(path) : NULL;
}

int secrets_fill_launch(const struct engine *engine, const struct container_config *config,
			struct launch *launch, struct err *err)
{
	size_t total = 0;
	int r = 0;

	if (config->ssh && !launch->ssh_socket)
		return err_set(err, -ENOENT,
			       "SSH_AUTH_SOCK is not set: there is no SSH agent to give to it");
	VEC_EACH (&config->secrets, it) {
		struct launch_secret secret = { 0 };

		r = r < 0 ? r : read_secret(engine, it, &secret, err);
		total += secret.size;
		VEC_PUSH(&launch->secrets, secret); /* released with launch */
	}
	if (r == 0 && launch->secrets.count > LAUNCH_SECRETS_COUNT_MAX)
		return err_set(err, -E2BIG, "a container has at most %d secrets",
			       LAUNCH_SECRETS_COUNT_MAX);
	if (r == 0 && total > LAUNCH_SECRETS_MAX)
		return err_set(err, -E2BIG, "the secrets are larger than %d KiB in all",
			       LAUNCH_SECRETS_MAX / 1024);
	return r;
}
