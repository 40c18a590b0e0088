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
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "shim/clerk_desk.h"
#include "shim/clerk_words.h"
#include "shim/confine.h"

#define MESSAGE_MAX (16u << 20) /* a row, with its environment */
#define SOCKET 3                /* the clerk's one descriptor of the shim's */
#define NAME "hull-rows"
#define STARTER_NAME "hull-nets"

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

/* --- the clerk --- */

static int answer(const json_t *ok, int code, const char *message)
{
	AUTO_JSON json_t *failed = NULL;
	json_t *text;

	if (code == 0)
		return send_json(SOCKET, ok);
	text = json_string(message); /* NULL for what is not UTF-8 */
	failed = json_pack("{s:i, s:o}", "error", code, "message",
			   text ? text : json_string("it failed"));
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
		r = failed ? failed : desk_answer(desk, request, &ok, &err);
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
	CLEANUP(desk_closep) struct desk *desk = NULL;
	struct err err = { 0 };
	int networks = 0;
	char *name = program ? strstr(program, "hull-shim") : NULL;
	char first;
	int r;

	if (dup2(socket, SOCKET) < 0 || syscall(SYS_close_range, SOCKET + 1, ~0u, 0) < 0)
		_exit(1);
	prctl(PR_SET_NAME, own_name);
	for (size_t i = 0; name && i < strlen(own_name); i++)
		name[i] = own_name[i];
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	/* Few are ever asked to start a network: it costs the start of their container a fork. */
	if (launch && recv(SOCKET, &first, sizeof(first), MSG_PEEK) <= 0)
		_exit(0);
	r = desk_open(root, uuid, launch, &desk, &err);
	if (r == 0 && launch)
		r = confine_starter(launch, &networks, &err);
	else if (r == 0)
		r = confine_clerk(root,
				  desk_config(desk)->auto_remove && has_volumes(desk_config(desk)),
				  &err);
	if (r == 0)
		desk_confine_networks(desk, networks);
	serve(desk, r, &err);
	desk = desk_close(desk);
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
	if (r == 0 && clerk_row_from_json(answer, row) < 0)
		r = err_set(err, -EBADMSG, "not a row");
	if (r < 0)
		return r;
	snprintf(row->uuid, sizeof(row->uuid), "%s", str_or(json_get_string(answer, "uuid"), ""));
	*ret_container = TAKE_PTR(row);
	return 0;
}

int clerk_set_state(struct clerk *clerk, const struct container *container, struct err *err)
{
	json_t *request = clerk_row_to_json(container);

	json_set_string(request, "do", "state");
	return ask(clerk, request, NULL, err);
}

int clerk_set_limits(struct clerk *clerk, const struct config_limits *limits, struct err *err)
{
	return ask(clerk,
		   json_pack("{s:s, s:I, s:I, s:I, s:s}", "do", "limits", "cpuHundredths",
			     (json_int_t)limits->cpu_hundredths, "memory",
			     (json_int_t)limits->memory_bytes, "pids",
			     (json_int_t)limits->pids_limit, "restart",
			     str_or(limits->restart, "")),
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
		r = clerk_network_from_json(answer, &network, ret_lease, err);
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
