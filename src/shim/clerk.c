/* SPDX-License-Identifier: Apache-2.0 */
/* Messages are u32 length and JSON, a request and an answer, which has "error" and "message" if it
 * failed. */
#include "shim/clerk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "net/client.h"
#include "shim/confine.h"
#include "shim/net_start.h"
#include "shim/volume_files.h"

#define MESSAGE_MAX (16u << 20) /* a row, with its environment */
#define SOCKET 3                /* the clerk's one descriptor of the shim's */
#define NAME "hull-rows"
#define STARTER_NAME "hull-nets"
#define RESTART_MAX 64

static int send_json(int fd, const json_t *json)
{
	AUTO_FREE char *text = json_text(json);
	uint32_t size = (uint32_t)strlen(text);
	int r = size > MESSAGE_MAX ? -EMSGSIZE : fd_write_all(fd, &size, sizeof(size));

	return r < 0 ? r : fd_write_all(fd, text, size);
}

static int receive_json(int fd, json_t **ret_json)
{
	AUTO_FREE char *text = NULL;
	uint32_t size = 0;
	int r = fd_read_exact(fd, &size, sizeof(size));

	if (r < 0)
		return r;
	if (size > MESSAGE_MAX)
		return -EMSGSIZE;
	text = xmalloc(size + 1);
	r = fd_read_exact(fd, text, size);
	return r < 0 ? r : json_parse(text, size, "a message", ret_json, NULL);
}

/* --- rows and networks as JSON --- */

static json_t *json_of_row(const struct container *row)
{
	json_t *json = json_object();

	json_set_string(json, "uuid", row->uuid);
	json_object_set_new(json, "state", json_integer(row->state));
	json_object_set_new(json, "health", json_integer(row->health));
	json_object_set_new(json, "startedAt", json_integer(row->started_at));
	json_object_set_new(json, "finishedAt", json_integer(row->finished_at));
	if (row->has_exit_code)
		json_object_set_new(json, "exitCode", json_integer(row->exit_code));
	json_set_string(json, "error", row->error);
	return json;
}

/* All but the configuration. */
static int read_row(const json_t *json, struct container *row)
{
	int64_t state = json_get_int(json, "state", -1);
	int64_t health = json_get_int(json, "health", -1);
	int64_t exit_code = json_get_int(json, "exitCode", 0);

	if (state < 0 || state >= CONTAINER_STATE_COUNT || health < 0 ||
	    health >= CONTAINER_HEALTH_COUNT || exit_code < INT32_MIN || exit_code > INT32_MAX)
		return -EINVAL;
	row->state = (enum container_state)state;
	row->health = (enum container_health)health;
	row->started_at = json_get_int(json, "startedAt", 0);
	row->finished_at = json_get_int(json, "finishedAt", 0);
	row->has_exit_code = json_object_get(json, "exitCode");
	row->exit_code = (int32_t)exit_code;
	free(row->error);
	row->error = xstrdup(json_get_string(json, "error"));
	return 0;
}

static json_t *json_of_network(const struct network *network, const struct lease *lease)
{
	json_t *json = json_object();
	char text[SUBNET_TEXT_MAX];

	json_set_string(json, "name", network->name);
	json_object_set_new(json, "internal", json_boolean(network->internal));
	subnet_text(&network->subnet, text);
	json_set_string(json, "subnet", text);
	if (network->subnet6.family) {
		subnet_text(&network->subnet6, text);
		json_set_string(json, "subnet6", text);
	}
	json_object_set(json, "labels", network->labels);
	json_object_set(json, "options", network->options);
	json_object_set_new(json, "createdAt", json_integer(network->created_at));
	json_set_string(json, "uuid", lease->uuid);
	json_set_string(json, "containerId", lease->container_id);
	json_object_set_new(json, "host", json_integer(lease->host));
	json_set_string(json, "mac", lease->mac);
	return json;
}

static int read_network(const json_t *json, struct network *network, struct lease *lease,
			struct err *err)
{
	const char *subnet6 = json_get_string(json, "subnet6");
	int r = subnet_parse(str_or(json_get_string(json, "subnet"), ""), &network->subnet, err);

	if (r == 0 && subnet6)
		r = subnet_parse(subnet6, &network->subnet6, err);
	if (r < 0)
		return r;
	network->name = xstrdup(json_get_string(json, "name"));
	network->internal = json_get_bool(json, "internal", true);
	network->labels = json_incref(json_get_object(json, "labels"));
	network->options = json_incref(json_get_object(json, "options"));
	network->created_at = json_get_int(json, "createdAt", 0);
	snprintf(lease->uuid, sizeof(lease->uuid), "%s", str_or(json_get_string(json, "uuid"), ""));
	snprintf(lease->mac, sizeof(lease->mac), "%s", str_or(json_get_string(json, "mac"), ""));
	lease->container_id = xstrdup(json_get_string(json, "containerId"));
	lease->network = xstrdup(network->name);
	lease->host = (uint32_t)json_get_int(json, "host", 0);
	return 0;
}

/* --- the clerk --- */

struct desk {
	struct store *store;   /* owned */
	const char *root;      /* borrowed */
	struct container *own; /* owned: the row, its configuration as it was in the beginning */
	const struct launch *launch; /* borrowed; of a starter, NULL for the clerk of the row */
};

/* *ret_answer is made by those that have something to say. */
typedef int (*request_fn)(struct desk *desk, const json_t *request, json_t **ret_answer,
			  struct err *err);

static int on_get(struct desk *desk, const json_t *request, json_t **ret_answer, struct err *err)
{
	CLEANUP(container_freep) struct container *row = NULL;
	int r = containers_get_uuid(desk->store, desk->own->uuid, &row, err);

	if (r < 0)
		return r;
	*ret_answer = json_of_row(row);
	json_object_set_new(*ret_answer, "config", container_config_to_json(&row->config));
	return 0;
}

static int on_state(struct desk *desk, const json_t *request, json_t **ret_answer, struct err *err)
{
	if (read_row(request, desk->own) < 0)
		return err_set(err, -EINVAL, "no such state");
	return containers_update(desk->store, desk->own, err);
}

void clerk_apply_limits(const struct ctl_update *update, struct container_config *config)
{
	if (update->cpus)
		config->cpus = update->cpus;
	if (update->memory_bytes)
		config->memory_bytes = update->memory_bytes;
	if (update->pids_limit)
		config->pids_limit = update->pids_limit;
	if (!update->restart[0])
		return;
	free(config->restart);
	config->restart = xstrdup(update->restart);
}

/* A container_change_fn. */
static int change_limits(void *ctx, struct container *row, struct err *err)
{
	const json_t *request = ctx;
	const char *restart = str_or(json_get_string(request, "restart"), "");
	int64_t cpus = json_get_int(request, "cpus", 0);
	int64_t memory = json_get_int(request, "memory", 0);
	int64_t pids = json_get_int(request, "pids", 0);

	if (cpus < 0 || cpus > UINT32_MAX || memory < 0 || pids < 0 ||
	    strlen(restart) > RESTART_MAX)
		return err_set(err, -EINVAL, "no such limits");
	clerk_apply_limits(&(struct ctl_update){ .cpus = (uint32_t)cpus,
						 .memory_bytes = (uint64_t)memory,
						 .pids_limit = (uint64_t)pids,
						 .restart = restart },
			   &row->config);
	return 0;
}

static int on_limits(struct desk *desk, const json_t *request, json_t **ret_answer, struct err *err)
{
	return containers_change_config(desk->store, desk->own->uuid, change_limits,
					(void *)request, err);
}

/* A container_change_fn. */
static int change_ports(void *ctx, struct container *row, struct err *err)
{
	const json_t *ports = json_get_array(ctx, "ports");
	size_t i = 0;

	if (json_array_size(ports) != row->config.ports.count)
		return err_set(err, -EINVAL, "its row has other ports");
	VEC_EACH (&row->config.ports, it) {
		json_int_t port = json_integer_value(json_array_get(ports, i++));

		if (port < 0 || port > UINT16_MAX ||
		    (!it->automatic && it->host_port && it->host_port != (uint32_t)port))
			return err_set(err, -EINVAL, "its row has other ports");
		it->host_port = (uint32_t)port;
	}
	return 0;
}

static int on_ports(struct desk *desk, const json_t *request, json_t **ret_answer, struct err *err)
{
	return containers_change_config(desk->store, desk->own->uuid, change_ports, (void *)request,
					err);
}

static bool is_in_network(const struct container *row, const char *name)
{
	VEC_EACH (&row->config.networks, it)
		if (str_eq(it->network, name))
			return true;
	return false;
}

/* One that the row is in. */
static int get_network(const struct desk *desk, const char *name, struct network *ret_network,
		       struct err *err)
{
	CLEANUP(container_freep) struct container *row = NULL;
	int r = containers_get_uuid(desk->store, desk->own->uuid, &row, err);

	if (r == 0 && !is_in_network(row, name))
		r = err_set(err, -EPERM, "the container is not in network %s", name);
	return r < 0 ? r : networks_get(desk->store, name, ret_network, err);
}

static int on_network(struct desk *desk, const json_t *request, json_t **ret_answer,
		      struct err *err)
{
	CLEANUP(lease_list_release) struct lease_list leases = { 0 };
	CLEANUP(network_release) struct network network = { 0 };
	const char *name = str_or(json_get_string(request, "name"), "");
	int r = get_network(desk, name, &network, err);

	if (r == 0)
		r = leases_list(desk->store, desk->own->uuid, name, &leases, err);
	if (r == 0 && !leases.count)
		r = err_set(err, -ENOENT, "the container has no address in network %s", name);
	if (r == 0)
		*ret_answer = json_of_network(&network, &leases.items[0]);
	return r;
}

/* It waits for members for a moment (NET_LINGER_MS), also without this connection. */
static int on_start_network(struct desk *desk, const json_t *request, json_t **ret_answer,
			    struct err *err)
{
	CLEANUP(network_release) struct network network = { 0 };
	struct net_start start;
	int r = get_network(desk, str_or(json_get_string(request, "name"), ""), &network, err);

	if (r < 0)
		return r;
	net_start_init(&start, desk->launch, &network);
	r = net_client_reach(&start.spec, err);
	net_start_release(&start);
	if (r < 0)
		return r;
	close(r);
	return 0;
}

static int on_delete(struct desk *desk, const json_t *request, json_t **ret_answer, struct err *err)
{
	if (!desk->own->config.auto_remove)
		return err_set(err, -EPERM, "the container does not remove itself");
	return containers_delete(desk->store, desk->own->uuid, err);
}

/* Nothing is removed that a row mounts; its own has to be gone. */
static int on_volumes(struct desk *desk, const json_t *request, json_t **ret_answer,
		      struct err *err)
{
	volumes_remove_anonymous(desk->store, desk->root, &desk->own->config);
	return 0;
}

static const struct {
	const char *name;
	request_fn handle;
	bool of_starter;
} requests[] = {
	{ "get", on_get },         { "state", on_state },
	{ "limits", on_limits },   { "ports", on_ports },
	{ "network", on_network }, { "delete", on_delete },
	{ "volumes", on_volumes }, { "start network", on_start_network, .of_starter = true },
};

static int handle(struct desk *desk, const json_t *request, json_t **ret_answer, struct err *err)
{
	const char *name = json_get_string(request, "do");

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		if (str_eq(requests[i].name, name) && requests[i].of_starter == !!desk->launch)
			return requests[i].handle(desk, request, ret_answer, err);
	return err_set(err, -ENOSYS, "no such request");
}

static int answer(const json_t *ok, int code, const char *message)
{
	AUTO_JSON json_t *failed = NULL;

	if (code == 0)
		return send_json(SOCKET, ok);
	failed = json_pack("{s:i, s:o}", "error", code, "message",
			   json_string(message) ? json_string(message) : json_string("it failed"));
	return send_json(SOCKET, failed);
}

static void serve(struct desk *desk, int failed, const struct err *why)
{
	for (;;) {
		AUTO_JSON json_t *request = NULL;
		AUTO_JSON json_t *ok = NULL;
		struct err err = { 0 };
		int r;

		if (receive_json(SOCKET, &request) < 0)
			return;
		r = failed ? failed : handle(desk, request, &ok, &err);
		if (!ok)
			ok = json_object();
		if (answer(ok, r, failed ? why->message : err.message) < 0)
			return;
	}
}

static bool has_volumes(const struct container_config *config)
{
	VEC_EACH (&config->mounts, it)
		if (str_eq(it->type, "volume"))
			return true;
	return false;
}

/* What the shim has open is not the clerk's: its lock least of all. */
static _Noreturn void be_clerk(int socket, const char *root, const char *uuid, char *program,
			       const struct launch *launch)
{
	static const int ignored[] = { SIGHUP, SIGINT, SIGTERM, SIGPIPE };
	const char *own_name = launch ? STARTER_NAME : NAME;
	struct desk desk = { .root = root, .launch = launch };
	struct err err = { 0 };
	char *name = program ? strstr(program, "hull-shim") : NULL;
	int r;

	if (dup2(socket, SOCKET) < 0 || syscall(SYS_close_range, SOCKET + 1, ~0u, 0) < 0)
		_exit(1);
	prctl(PR_SET_NAME, own_name);
	for (size_t i = 0; name && i < strlen(own_name); i++)
		name[i] = own_name[i];
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	r = store_open(root, &desk.store, &err);
	if (r == 0)
		r = containers_get_uuid(desk.store, uuid, &desk.own, &err);
	if (r == 0 && launch)
		r = confine_starter(launch, &err);
	else if (r == 0)
		r = confine_clerk(
			root, desk.own->config.auto_remove && has_volumes(&desk.own->config), &err);
	serve(&desk, r, &err);
	container_free(desk.own);
	store_close(desk.store);
	_exit(0);
}

/* --- the shim's side --- */

struct clerk {
	int fd; /* owned */
	pid_t pid;
	struct loop_source *source; /* owned; NULL: nobody watches, or it is known to be gone */
	void (*gone)(void *ctx);
	void *gone_ctx;
};

static int start(const char *root, const char *uuid, char *program, const struct launch *launch,
		 struct clerk **ret_clerk, struct err *err)
{
	int fds[2];
	int r = sock_pair(fds, err);
	pid_t pid;

	if (r < 0)
		return r;
	pid = fork();
	if (pid == 0)
		be_clerk(fds[1], root, uuid, program, launch);
	r = pid < 0 ? -errno : 0;
	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		return err_set(err, r, "cannot start another process: %m");
	}
	*ret_clerk = xcalloc(1, sizeof(**ret_clerk));
	**ret_clerk = (struct clerk){ .fd = fds[0], .pid = pid };
	return 0;
}

int clerk_start(const char *root, const char *uuid, char *program, struct clerk **ret_clerk,
		struct err *err)
{
	return start(root, uuid, program, NULL, ret_clerk, err);
}

int clerk_start_starter(const struct launch *launch, char *program, struct clerk **ret_starter,
			struct err *err)
{
	return start(launch->root, launch->uuid, program, launch, ret_starter, err);
}

static void on_socket(void *ctx, int fd, uint32_t events)
{
	struct clerk *clerk = ctx;

	clerk->source = loop_remove(clerk->source);
	clerk->gone(clerk->gone_ctx);
}

/* Answers are read by who asked, before the loop goes on: only an end is news. */
void clerk_watch(struct clerk *clerk, struct loop *loop, void (*gone)(void *ctx), void *ctx)
{
	clerk->gone = gone;
	clerk->gone_ctx = ctx;
	clerk->source = loop_add_fd(loop, clerk->fd, EPOLLRDHUP, on_socket, clerk);
}

void clerk_stop(struct clerk *clerk)
{
	if (!clerk)
		return;
	loop_remove(clerk->source);
	close(clerk->fd);
	proc_wait(clerk->pid);
	free(clerk);
}

/* ret_answer may be NULL. */
static int ask(struct clerk *clerk, json_t *taken, json_t **ret_answer, struct err *err)
{
	AUTO_JSON json_t *request = taken;
	AUTO_JSON json_t *answer = NULL;
	int code;
	int r = clerk ? send_json(clerk->fd, request) : -EPIPE;

	if (r == 0)
		r = receive_json(clerk->fd, &answer);
	if (r < 0)
		return err_set(err, -EPIPE, "the process that writes its row is gone");
	code = (int)json_get_int(answer, "error", 0);
	if (code < 0)
		return err_set(err, code, "%s", str_or(json_get_string(answer, "message"), ""));
	if (ret_answer)
		*ret_answer = TAKE_PTR(answer);
	return 0;
}

int clerk_get(struct clerk *clerk, struct container **ret_container, struct err *err)
{
	CLEANUP(container_freep) struct container *row = xcalloc(1, sizeof(*row));
	AUTO_JSON json_t *answer = NULL;
	int r = ask(clerk, json_pack("{s:s}", "do", "get"), &answer, err);

	if (r < 0)
		return r;
	r = container_config_from_json(json_get_object(answer, "config"), &row->config, err);
	if (r == 0 && read_row(answer, row) < 0)
		r = err_set(err, -EBADMSG, "not a row");
	if (r < 0)
		return r;
	snprintf(row->uuid, sizeof(row->uuid), "%s", str_or(json_get_string(answer, "uuid"), ""));
	*ret_container = TAKE_PTR(row);
	return 0;
}

int clerk_set_state(struct clerk *clerk, const struct container *container, struct err *err)
{
	json_t *request = json_of_row(container);

	json_set_string(request, "do", "state");
	return ask(clerk, request, NULL, err);
}

int clerk_set_limits(struct clerk *clerk, const struct ctl_update *update, struct err *err)
{
	return ask(clerk,
		   json_pack("{s:s, s:I, s:I, s:I, s:s}", "do", "limits", "cpus",
			     (json_int_t)update->cpus, "memory", (json_int_t)update->memory_bytes,
			     "pids", (json_int_t)update->pids_limit, "restart", update->restart),
		   NULL, err);
}

int clerk_set_ports(struct clerk *clerk, const struct container_config *config, struct err *err)
{
	json_t *ports = json_array();

	VEC_EACH (&config->ports, it)
		json_array_append_new(ports, json_integer(it->host_port));
	return ask(clerk, json_pack("{s:s, s:o}", "do", "ports", "ports", ports), NULL, err);
}

int clerk_get_network(struct clerk *clerk, const char *name, struct network *ret_network,
		      struct lease *ret_lease, struct err *err)
{
	CLEANUP(network_release) struct network network = { 0 };
	AUTO_JSON json_t *answer = NULL;
	int r = ask(clerk, json_pack("{s:s, s:s}", "do", "network", "name", name), &answer, err);

	if (r == 0)
		r = read_network(answer, &network, ret_lease, err);
	if (r < 0)
		return r;
	*ret_network = network;
	network = (struct network){ 0 };
	return 0;
}

int clerk_start_network(struct clerk *starter, const char *name, struct err *err)
{
	return ask(starter, json_pack("{s:s, s:s}", "do", "start network", "name", name), NULL,
		   err);
}

int clerk_delete(struct clerk *clerk, struct err *err)
{
	return ask(clerk, json_pack("{s:s}", "do", "delete"), NULL, err);
}

void clerk_remove_volumes(struct clerk *clerk)
{
	ask(clerk, json_pack("{s:s}", "do", "volumes"), NULL, NULL);
}
