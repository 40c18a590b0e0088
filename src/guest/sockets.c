/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define BUFFER 16384
#define SOCKETS_MAX 4096 /* ended at once: those that are left have a kernel that gives them up */

struct request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 body;
};

struct found {
	struct inet_diag_sockid ids[SOCKETS_MAX];
	uint8_t families[SOCKETS_MAX];
	size_t count;
};

static bool is_loopback(uint8_t family, const uint32_t address[4])
{
	static const uint32_t mapped[3] = { 0, 0, 0 };

	if (family == AF_INET)
		return (ntohl(address[0]) >> 24) == 127;
	if (memcmp(address, mapped, 8) != 0)
		return false;
	if (address[2] == htonl(0xffff))
		return (ntohl(address[3]) >> 24) == 127;
	return address[2] == 0 && address[3] == htonl(1);
}

static bool leaves_the_machine(const struct inet_diag_msg *socket)
{
	const uint32_t *from = (const uint32_t *)socket->id.idiag_src;
	const uint32_t *to = (const uint32_t *)socket->id.idiag_dst;

	return !is_loopback(socket->idiag_family, from) && !is_loopback(socket->idiag_family, to) &&
	       memcmp(from, to, sizeof(socket->id.idiag_src)) != 0;
}

static bool is_end_of_dump(const struct nlmsghdr *header)
{
	return header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR;
}

static void list(int fd, uint8_t family, struct found *found)
{
	static uint8_t buffer[BUFFER] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct request request = {
		.header = { .nlmsg_len = sizeof(request),
			    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.body = { .sdiag_family = family,
			  .sdiag_protocol = IPPROTO_TCP,
			  .idiag_states = ~((1u << TCP_LISTEN) | (1u << TCP_CLOSE) |
					    (1u << TCP_TIME_WAIT)) },
	};

	if (send(fd, &request, sizeof(request), 0) < 0)
		return;
	for (;;) {
		ssize_t size = recv(fd, buffer, sizeof(buffer), 0);
		const struct nlmsghdr *header = (const void *)buffer;

		if (size < 0 && errno == EINTR)
			continue;
		if (size <= 0)
			return;
		for (; NLMSG_OK(header, (size_t)size); header = NLMSG_NEXT(header, size)) {
			const struct inet_diag_msg *socket = NLMSG_DATA(header);

			if (is_end_of_dump(header))
				return;
			if (found->count == SOCKETS_MAX || !leaves_the_machine(socket))
				continue;
			found->ids[found->count] = socket->id;
			found->families[found->count++] = socket->idiag_family;
		}
	}
}

static void destroy(int fd, uint8_t family, const struct inet_diag_sockid *id)
{
	struct request request = {
		.header = { .nlmsg_len = sizeof(request),
			    .nlmsg_type = SOCK_DESTROY,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.body = { .sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .id = *id },
	};
	uint8_t answer[512];

	if (send(fd, &request, sizeof(request), 0) >= 0)
		(void)!recv(fd, answer, sizeof(answer), 0);
}

void sockets_abort_outside(void)
{
	static struct found found;
	AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	found.count = 0;
	if (fd < 0) {
		log_warning("connections to the outside cannot be ended: %m");
		return;
	}
	list(fd, AF_INET, &found);
	list(fd, AF_INET6, &found);
	for (size_t i = 0; i < found.count; i++)
		destroy(fd, found.families[i], &found.ids[i]);
}
