/* SPDX-License-Identifier: Apache-2.0 */
#include "net/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

int wire_send(int sock, const json_t *json, int fd)
{
	AUTO_FREE char *text = json_text(json);
	union control control = { 0 };
	struct iovec iov = { .iov_base = text, .iov_len = strlen(text) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (iov.iov_len > WIRE_MAX)
		return -EMSGSIZE;
	if (fd >= 0) {
		control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
						   .cmsg_level = SOL_SOCKET,
						   .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.space);
	}
	do
		n = sendmsg(sock, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int wire_receive(int sock, json_t **ret_json, int *ret_fd)
{
	AUTO_FREE char *text = malloc(WIRE_MAX + 1);
	union control control = { 0 };
	struct iovec iov = { .iov_base = text, .iov_len = WIRE_MAX + 1 };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control.space) };
	const struct cmsghdr *header;
	AUTO_JSON json_t *json = NULL;
	AUTO_CLOSE int fd = -1;
	ssize_t n;

	if (!text)
		return -ENOMEM;
	do
		n = recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	if (n == 0)
		return -EPIPE;
	if (n > WIRE_MAX || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ||
	    json_parse(text, (size_t)n, "a message", &json, NULL) < 0 || !json_is_object(json))
		return -EBADMSG;
	*ret_json = TAKE_PTR(json);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
