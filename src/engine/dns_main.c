/* SPDX-License-Identifier: Apache-2.0 */
/* hull-dns: started by `hull system dns create` (engine/host_names.c), never by hand. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/sock.h"
#include "base/str.h"
#include "engine/host_names.h"
#include "net/dns_server.h"

#define BATCH 64 /* questions in a row */

struct service {
	struct loop *loop;   /* owned */
	struct store *store; /* owned */
	char **domains;      /* owned */
};

/* Without a domain there is nothing to do. */
static void read_domains(struct service *service)
{
	char **domains = NULL;

	if (host_names_domains(service->store, &domains, NULL) < 0)
		return;
	strv_free(service->domains);
	service->domains = domains;
	if (!domains)
		loop_quit(service->loop, 0);
}

static void on_control(void *ctx, int fd, uint32_t events)
{
	int client = sock_accept(fd);

	if (client < 0)
		return;
	close(client);
	read_domains(ctx);
}

/* reply: DNS_UDP_MAX bytes. 0: it is not worth an answer. */
static size_t answer(struct service *service, const uint8_t *message, size_t size, uint8_t *reply)
{
	struct dns_answer found;
	struct dns_query query;
	int r = dns_parse(message, size, &query);

	if (r == -EBADMSG)
		return 0;
	if (r < 0)
		return dns_build_code(message, NULL,
				      r == -EINVAL ? DNS_FORMAT_ERROR : DNS_NOT_IMPLEMENTED, reply);
	host_names_answer(service->store, service->domains, &query, &found);
	return dns_build(message, &query, &found, reply);
}

static int on_stream_question(void *ctx, struct dns_connection *connection, const uint8_t *message,
			      size_t size)
{
	size_t answered = answer(ctx, message, size, dns_connection_room(connection) + 2);

	if (!answered)
		return -EBADMSG;
	dns_connection_answer(connection, answered);
	return 0;
}

static void on_question(void *ctx, int fd, uint32_t events)
{
	for (int i = 0; i < BATCH; i++) {
		struct sockaddr_in from;
		socklen_t from_size = sizeof(from);
		uint8_t message[DNS_QUERY_MAX];
		uint8_t reply[DNS_UDP_MAX];
		ssize_t n = recvfrom(fd, message, sizeof(message), 0, (struct sockaddr *)&from,
				     &from_size);
		size_t size = n < 0 ? 0 : answer(ctx, message, (size_t)n, reply);

		if (n < 0)
			return;
		if (size)
			sendto(fd, reply, size, 0, (struct sockaddr *)&from, from_size);
	}
}

int main(int argc, char **argv)
{
	static const struct dns_server_ops ops = { .question = on_stream_question };
	struct service service = { .loop = loop_new() };
	struct dns_server *streams;
	struct err err = { 0 };
	int r;

	log_init("hull-dns", LOG_LEVEL_WARNING);
	if (argc != 2 || fcntl(DNS_FD_SOCKET, F_GETFD) < 0 || fcntl(DNS_FD_CONTROL, F_GETFD) < 0 ||
	    fcntl(DNS_FD_LISTENER, F_GETFD) < 0) {
		fputs("hull-dns is started by hull, not by hand\n", stderr);
		return 64;
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	if (store_open(argv[1], &service.store, &err) < 0) {
		log_error("%s", err.message);
		return 1;
	}
	loop_add_fd(service.loop, DNS_FD_SOCKET, EPOLLIN, on_question, &service);
	streams = dns_server_new(service.loop, DNS_FD_LISTENER, &ops, &service);
	loop_add_fd(service.loop, DNS_FD_CONTROL, EPOLLIN, on_control, &service);
	read_domains(&service);
	r = service.domains ? loop_run(service.loop) : 0;
	dns_server_free(streams);
	store_close(service.store);
	strv_free(service.domains);
	loop_free(service.loop);
	return r < 0;
}
