/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/client.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/sock.h"
#include "proto/frame.h"
#include "proto/mux.h"
#include "shim/launch.h"

int client_connect(const char *root, const char *uuid, struct err *err)
{
	AUTO_FREE char *path = launch_socket_path(root, uuid);

	return sock_connect(path, err);
}

void client_window_size(uint32_t *ret_rows, uint32_t *ret_columns)
{
	struct winsize size = { 0 };

	if (ioctl(1, TIOCGWINSZ, &size) < 0)
		ioctl(0, TIOCGWINSZ, &size);
	*ret_rows = size.ws_row;
	*ret_columns = size.ws_col;
}

struct request {
	struct loop *loop; /* borrowed */
	struct client_reply reply;
	struct err *err;
	bool answered;
	int result;
};

static int on_reply(void *ctx, uint16_t type, const uint8_t *data, size_t size)
{
	struct request *request = ctx;
	struct ctl_error error;
	int r = 0;

	request->reply.type = type;
	switch (type) {
	case CTL_OK:
		break;
	case CTL_EXITED:
		r = ctl_exited_decode(data, size, &request->reply.exited);
		break;
	case CTL_TOP_REPLY:
		free(request->reply.top);
		request->reply.top = xmemdup(data, size);
		request->reply.top_size = size;
		break;
	case CTL_STATS_REPLY:
		r = msg_stats_decode(data, size, &request->reply.stats);
		break;
	case CTL_SAVED:
		r = ctl_saved_decode(data, size, &request->reply.saved);
		break;
	case CTL_ERROR:
		r = ctl_error_decode(data, size, &error);
		if (r == 0)
			request->result = err_set(request->err, error.code, "%s", error.message);
		break;
	default:
		r = -EPROTO;
	}
	if (r < 0)
		return r;
	request->answered = true;
	loop_quit(request->loop, 0);
	return 0;
}

static void on_closed(void *ctx, int error)
{
	struct request *request = ctx;

	if (!request->answered)
		request->result =
			err_set(request->err, -EPIPE, "the container's supervisor went away");
	loop_quit(request->loop, 0);
}

static void ignore_data(void *ctx, uint32_t stream, const uint8_t *data, size_t size)
{
}

static void ignore_stream(void *ctx, uint32_t stream)
{
}

int client_tell(int fd, uint16_t type, const struct sbuf *payload)
{
	AUTO_CLOSE int owned = fd;
	uint8_t header[FRAME_HEADER_SIZE];
	int r;

	frame_encode(&(struct frame_header){ .length = (uint32_t)payload->length, .type = type },
		     header);
	r = fd_write_all(owned, header, sizeof(header));
	return r < 0 ? r : fd_write_all(owned, payload->text, payload->length);
}

int client_request(int fd, uint16_t type, const struct sbuf *payload,
		   struct client_reply *ret_reply, struct err *err)
{
	static const struct mux_ops ops = {
		.control = on_reply,
		.data = ignore_data,
		.eof = ignore_stream,
		.reset = ignore_stream,
		.writable = ignore_stream,
		.closed = on_closed,
	};
	CLEANUP(loop_freep) struct loop *loop = loop_new();
	struct request request = { .loop = loop, .err = err };
	CLEANUP(mux_freep) struct mux *mux = mux_new(loop, fd, false, &ops, &request);
	int r = mux_send_control(mux, type, payload ? payload->text : NULL,
				 payload ? payload->length : 0);

	if (r < 0)
		return err_set(err, r, "cannot talk to the container's supervisor: %m");
	r = loop_run(loop);
	if (r < 0)
		return err_set(err, r, "cannot wait for the container's supervisor: %m");
	if (request.result == 0 && ret_reply)
		*ret_reply = request.reply;
	else
		free(request.reply.top);
	return request.result;
}
