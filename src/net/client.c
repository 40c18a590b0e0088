/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who finds nobody listening starts hull-netd, under the lock run/net/ID/start. The starter makes
 * the listening socket itself and passes it on, so that it can connect and ask at once; what it
 * asked waits there until netd is up. netd holds run/net/ID/lock while it lives, which it inherits
 * too: there is never a moment at which two could run.
 *
 * A netd that is about to end closes its listener first. Who was connected or connecting then gets
 * an end instead of an answer, and begins anew.
 */
#include "net/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "net/config.h"
#include "net/netd.h"
#include "net/wire.h"

#define JOIN_ATTEMPTS 8

struct net_client {
	int sock; /* owned */
};

char *net_dir(const char *run, const char *id)
{
	return path_join(run, "net/%s", id);
}

bool net_is_up(const char *run, const char *id)
{
	AUTO_FREE char *path = path_join(run, "net/%s/lock", id);

	return lock_is_held(path);
}

int net_pair(int ret_fds[2], struct err *err)
{
	int size = 4 * 1024 * 1024; /* capped by net.core.wmem_max */
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return err_set(err, -errno, "cannot create a socket pair: %m");
	for (size_t i = 0; i < 2; i++) {
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		ret_fds[i] = fds[i];
	}
	return 0;
}

/* The specification as a sealed memory file. */
static int write_config(const json_t *config, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = memfd_create("hull-net", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	AUTO_FREE char *text = json_text(config);
	int r;

	if (fd < 0)
		return err_set(err, -errno, "cannot create a memory file: %m");
	r = fd_write_all(fd, text, strlen(text));
	if (r == 0 && (lseek(fd, 0, SEEK_SET) < 0 ||
		       fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) < 0))
		r = -errno;
	if (r < 0)
		return err_set(err, r, "cannot write a memory file: %m");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Starts netd with the start lock held. */
static int spawn(const struct net_spec *spec, const json_t *config, const char *dir,
		 struct err *err)
{
	AUTO_FREE char *self = path_of_self();
	AUTO_FREE char *program =
		spec->program ? xstrdup(spec->program) : path_join(self, "hull-netd");
	AUTO_FREE char *lock_path = path_join(dir, "lock");
	AUTO_FREE char *control_path = path_join(dir, "ctl");
	AUTO_CLOSE int lock = lock_take(lock_path, LOCK_EXCLUSIVE, true, err);
	AUTO_CLOSE int listener = lock < 0 ? -1 : sock_listen_packets(control_path, err);
	AUTO_CLOSE int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int config_fd = -1;
	pid_t pid = -1;
	int r;

	if (lock < 0 || listener < 0)
		return lock < 0 ? lock : listener;
	if (dir_fd < 0)
		return err_set(err, -errno, "cannot open '%s': %m", dir);
	r = write_config(config, &config_fd, err);
	if (r < 0)
		return r;
	char *argv[] = { program, (char *)spec->id, NULL };
	struct proc_fd fds[] = { { config_fd, NETD_FD_CONFIG },
				 { listener, NETD_FD_LISTENER },
				 { lock, NETD_FD_LOCK },
				 { dir_fd, NETD_FD_DIR } };
	struct proc_spec process = {
		.argv = argv,
		.fds = fds,
		.fd_count = ARRAY_SIZE(fds),
		.new_session = true,
		.landlock_fd = spec->landlock_fd,
	};
	r = proc_spawn(&process, &pid, err);
	if (r < 0)
		return r;
	proc_wait(pid); /* it goes on as a child of nobody */
	return 0;
}

/* A connection, to a netd that was started if need be. */
static int reach(const struct net_spec *spec, const json_t *config, struct err *err)
{
	AUTO_FREE char *dir = net_dir(spec->run, spec->id);
	AUTO_FREE char *control_path = path_join(dir, "ctl");
	AUTO_FREE char *start_path = path_join(dir, "start");
	AUTO_CLOSE int start = -1;
	int sock = sock_connect_packets(control_path, NULL);
	int r;

	if (sock >= 0)
		return sock;
	r = path_make_dirs(dir, 0700, err);
	if (r < 0)
		return r;
	start = lock_take(start_path, LOCK_EXCLUSIVE, true, err);
	if (start < 0)
		return start;
	sock = sock_connect_packets(control_path, NULL); /* somebody else may have been faster */
	if (sock >= 0)
		return sock;
	r = spawn(spec, config, dir, err);
	return r < 0 ? r : sock_connect_packets(control_path, err);
}

/* Asks and waits. -EPIPE when netd went away before it answered. */
static int ask(int sock, const json_t *request, int fd, json_t **ret_answer, struct err *err)
{
	AUTO_JSON json_t *answer = NULL;
	AUTO_CLOSE int received = -1;
	int r = wire_send(sock, request, fd);
	const char *message;
	int code;

	if (r == 0) {
		r = fd_wait(sock, POLLIN, NET_TIMEOUT_MS);
		r = r == 0 ? -ETIMEDOUT : r < 0 ? r : wire_receive(sock, &answer, &received);
	}
	if (r == -ECONNRESET || r == -ENOTCONN)
		r = -EPIPE;
	if (r < 0)
		return err_set(err, r,
			       r == -EPIPE ? "the network's process went away"
					   : "cannot talk to the network's process: %m");
	message = json_get_string(answer, "message");
	code = (int)json_get_int(answer, "error", 0);
	if (message)
		return err_set(err, code > 0 && code < 4096 ? -code : -EIO, "%s", message);
	if (ret_answer)
		*ret_answer = TAKE_PTR(answer);
	return 0;
}

static json_t *request_new(const char *what)
{
	return json_pack("{s:s}", "request", what);
}

static void copy_text(const json_t *json, const char *name, char *ret, size_t size)
{
	snprintf(ret, size, "%s", str_or(json_get_string(json, name), ""));
}

static void read_joined(const json_t *json, struct net_joined *joined)
{
	*joined = (struct net_joined){ .mtu = (uint32_t)json_get_int(json, "mtu", 0) };
	copy_text(json, "gateway", joined->gateway, sizeof(joined->gateway));
	copy_text(json, "gateway6", joined->gateway6, sizeof(joined->gateway6));
	copy_text(json, "names", joined->names, sizeof(joined->names));
	copy_text(json, "names6", joined->names6, sizeof(joined->names6));
	copy_text(json, "gatewayMac", joined->gateway_mac, sizeof(joined->gateway_mac));
	copy_text(json, "tap", joined->tap, sizeof(joined->tap));
}

/* Refuses here what netd would refuse, before it is started for nothing. */
static int check(const json_t *config, const json_t *member, struct err *err)
{
	AUTO_FREE struct net_config *parsed = xcalloc(1, sizeof(*parsed));
	AUTO_FREE struct member_config *parsed_member = xcalloc(1, sizeof(*parsed_member));
	int r = config_parse(config, parsed, err);

	return r < 0 ? r : member_parse(member, parsed, parsed_member, err);
}

int net_client_join(const struct net_spec *spec, const struct net_member *member, int link,
		    struct net_client **ret_client, struct net_joined *ret_joined, struct err *err)
{
	AUTO_JSON json_t *config = config_to_json(spec);
	AUTO_JSON json_t *request = request_new("join");
	AUTO_JSON json_t *answer = NULL;
	AUTO_CLOSE int sock = -1;
	int r;

	json_object_set_new(request, "member", member_to_json(member));
	json_set_string(request, "subnet", spec->subnet);
	json_set_string(request, "subnet6", spec->subnet6);
	r = check(config, json_object_get(request, "member"), err);
	if (r < 0)
		return r;
	for (int i = 0; i < JOIN_ATTEMPTS; i++) {
		cleanup_closep(&sock);
		sock = reach(spec, config, err);
		if (sock < 0)
			r = sock;
		else
			r = ask(sock, request, link, &answer, err);
		if (r != -EPIPE && r != -ECONNREFUSED)
			break; /* anything but a netd that ended in between */
	}
	if (r < 0) {
		err_context(err, "cannot join the network '%s'", str_or(spec->name, ""));
		return r;
	}
	if (ret_joined)
		read_joined(answer, ret_joined);
	*ret_client = xmalloc(sizeof(**ret_client));
	**ret_client = (struct net_client){ .sock = TAKE_FD(sock) };
	return 0;
}

int net_client_reach(const struct net_spec *spec, struct err *err)
{
	AUTO_JSON json_t *config = config_to_json(spec);
	AUTO_FREE struct net_config *parsed = xcalloc(1, sizeof(*parsed));
	int r = config_parse(config, parsed, err);

	if (r == 0)
		r = reach(spec, config, err);
	if (r < 0)
		err_context(err, "cannot start the network '%s'", str_or(spec->name, ""));
	return r;
}

struct net_client *net_client_free(struct net_client *client)
{
	if (client)
		close(client->sock);
	free(client);
	return NULL;
}

int net_client_fd(const struct net_client *client)
{
	return client->sock;
}

int net_client_publish(struct net_client *client, struct net_rule *rules, size_t count,
		       struct err *err)
{
	AUTO_JSON json_t *request = request_new("publish");
	AUTO_JSON json_t *answer = NULL;
	json_t *list = json_array();
	const json_t *ports;
	int r;

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, rule_to_json(&rules[i]));
	json_object_set_new(request, "rules", list);
	r = ask(client->sock, request, -1, &answer, err);
	if (r < 0)
		return r;
	ports = json_get_array(answer, "hostPorts");
	if (json_array_size(ports) != count)
		return err_set(err, -EPROTO, "the network's process gave a wrong answer");
	for (size_t i = 0; i < count; i++)
		rules[i].host_port = (uint16_t)json_integer_value(json_array_get(ports, i));
	return 0;
}

int net_client_unpublish(struct net_client *client, struct err *err)
{
	AUTO_JSON json_t *request = request_new("unpublish");

	return ask(client->sock, request, -1, NULL, err);
}

int net_client_update(struct net_client *client, const struct net_member *member, struct err *err)
{
	AUTO_JSON json_t *request = request_new("update");

	json_object_set_new(request, "member", member_to_json(member));
	return ask(client->sock, request, -1, NULL, err);
}

int net_client_stats(struct net_client *client, struct net_stats *ret_stats, struct err *err)
{
	AUTO_JSON json_t *request = request_new("stats");
	AUTO_JSON json_t *answer = NULL;
	int r = ask(client->sock, request, -1, &answer, err);

	if (r < 0)
		return r;
	*ret_stats = (struct net_stats){
		.received_bytes = (uint64_t)json_get_int(answer, "receivedBytes", 0),
		.received_frames = (uint64_t)json_get_int(answer, "receivedFrames", 0),
		.sent_bytes = (uint64_t)json_get_int(answer, "sentBytes", 0),
		.sent_frames = (uint64_t)json_get_int(answer, "sentFrames", 0),
		.dropped = (uint64_t)json_get_int(answer, "dropped", 0),
		.refused = (uint64_t)json_get_int(answer, "refused", 0),
	};
	return 0;
}
