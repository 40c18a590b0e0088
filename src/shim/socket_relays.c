/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/socket_relays.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/sock.h"
#include "base/str.h"

struct socket_relays {
	struct sockets *sockets;               /* owned */
	const struct container_config *config; /* borrowed */
	const struct launch *launch;           /* borrowed */
	char **published;                      /* owned: paths that are listened at */
};

size_t socket_relays_list(const struct container_config *config, const struct launch *launch,
			  struct socket_relay relays[SOCKETS_RELAYS_MAX])
{
	size_t count = 0;

	VEC_EACH (&config->mounts, it)
		if (str_eq(it->type, SOCKET_MOUNT) && count < SOCKETS_RELAYS_MAX)
			relays[count++] = (struct socket_relay){ it->source, it->destination };
	if (config->ssh && launch->ssh_socket && count < SOCKETS_RELAYS_MAX)
		relays[count++] = (struct socket_relay){ launch->ssh_socket, SSH_SOCKET_TARGET };
	return count;
}

int socket_relays_check(const struct container_config *config, struct err *err)
{
	size_t count = config->ssh ? 1 : 0;

	VEC_EACH (&config->mounts, it)
		count += str_eq(it->type, SOCKET_MOUNT);
	if (count + config->sockets.count > SOCKETS_RELAYS_MAX)
		return err_set(err, -E2BIG, "a container has at most %d sockets of the host",
			       SOCKETS_RELAYS_MAX);
	return 0;
}

static int connect_host(void *ctx, const struct msg_socket_open *open)
{
	struct socket_relays *relays = ctx;
	struct socket_relay list[SOCKETS_RELAYS_MAX];

	if (open->relay >= socket_relays_list(relays->config, relays->launch, list))
		return -ENOENT;
	return sock_connect_now(list[open->relay].host_path, NULL);
}

/* What is there and is no socket is somebody's, and so is a socket at which somebody listens; one
 * that nobody listens at was left behind by a supervisor that was killed. */
static int check_place(const char *path, struct err *err)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST, "cannot publish a socket at '%s': it is there already",
			       path);
	fd = sock_connect_now(path, NULL);
	if (fd >= 0)
		close(fd);
	if (fd == -ECONNREFUSED || fd == -ENOENT)
		return 0;
	return err_set(err, -EADDRINUSE, "cannot publish a socket at '%s': somebody listens there",
		       path);
}

char *socket_relays_host_path(const struct container_config *config,
			      const struct socket_config *socket)
{
	AUTO_SBUF struct sbuf path = { 0 };
	const char *from = socket->host_path;

	for (const char *word; (word = strstr(from, SOCKET_NAME_WORD));
	     from = word + strlen(SOCKET_NAME_WORD)) {
		sbuf_add_bytes(&path, from, (size_t)(word - from));
		sbuf_add(&path, config->id);
	}
	sbuf_add(&path, from);
	return sbuf_take(&path);
}

static int publish(struct socket_relays *relays, const struct socket_config *socket,
		   struct err *err)
{
	AUTO_FREE char *path = socket_relays_host_path(relays->config, socket);
	int fd = check_place(path, err);

	if (fd < 0)
		return fd;
	fd = sock_listen(path, err);
	if (fd < 0)
		return fd;
	strv_push(&relays->published, path);
	sockets_listen(relays->sockets, fd, 0, socket->container_path);
	return 0;
}

int socket_relays_start(struct loop *loop, struct mux *guest, const struct container_config *config,
			const struct launch *launch, struct socket_relays **ret_relays,
			struct err *err)
{
	static const struct sockets_ops ops = { .connect = connect_host };
	struct socket_relays *relays = xcalloc(1, sizeof(*relays));
	int r = 0;

	*relays = (struct socket_relays){
		.sockets = sockets_new(loop, guest, false, &ops, relays),
		.config = config,
		.launch = launch,
	};
	VEC_EACH (&config->sockets, it)
		r = r < 0 ? r : publish(relays, it, err);
	if (r < 0)
		socket_relays_end(relays);
	else
		*ret_relays = relays;
	return r;
}

struct socket_relays *socket_relays_end(struct socket_relays *relays)
{
	if (!relays)
		return NULL;
	STRV_EACH (relays->published, it)
		unlink(*it);
	strv_free(relays->published);
	sockets_free(relays->sockets);
	free(relays);
	return NULL;
}

struct sockets *socket_relays_sockets(struct socket_relays *relays)
{
	return relays ? relays->sockets : NULL;
}
