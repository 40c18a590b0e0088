/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tcp.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "net/names.h"
#include "net/quota.h"
#include "net/tcp_connection.h"

#define CONNECTIONS_MAX 16384
#define BUCKETS 8192
#define ENDING_MS 1000
#define STAND_IN_FIRST 1024 /* ports of the gateway that stand for others: below those that */
#define STAND_IN_LAST 32767 /* systems choose */
#define STAND_IN_TRIES 64
#define PORT_DNS 53
#define NONE UINT32_MAX

struct tcp_stack {
	struct netd *netd;                  /* borrowed */
	struct tcp_connection *connections; /* owned mapping of max: pages that were never used are
					       not there */
	size_t max, count, high;            /* high: from there on none was ever used */
	uint32_t first_free;
	uint32_t buckets[BUCKETS];
	uint64_t secret;
	uint16_t stand_in;
	struct tcp_link turns, blocked, timed;
	struct loop_source *timer;
	uint64_t armed_ms; /* 0: not */
	struct tcp_pool pool;
	struct tcp_batch batch;
	struct tcp_shared shared;
	uint8_t refusal[PACKET_REFUSAL_MAX];
};

#define CONNECTION_OF(link, member) \
	((struct tcp_connection *)((char *)(link)-offsetof(struct tcp_connection, member)))

static void link_init(struct tcp_link *link)
{
	link->next = link->previous = link;
}

static bool link_is_alone(const struct tcp_link *link)
{
	return link->next == link;
}

static void link_leave(struct tcp_link *link)
{
	link->previous->next = link->next;
	link->next->previous = link->previous;
	link_init(link);
}

static void link_append(struct tcp_link *list, struct tcp_link *link)
{
	link->previous = list->previous;
	link->next = list;
	list->previous->next = link;
	list->previous = link;
}

/* All of one list to the end of another. */
static void link_move_all(struct tcp_link *from, struct tcp_link *to)
{
	while (!link_is_alone(from)) {
		struct tcp_link *link = from->next;

		link_leave(link);
		link_append(to, link);
	}
}

static size_t bucket_of(const struct port *member, const struct tcp_ends *ends)
{
	uint64_t hash = hash_fnv1a(HASH_FNV_INIT, &member, sizeof(member));

	hash = hash_fnv1a(hash, &ends->remote, sizeof(ends->remote));
	hash = hash_fnv1a(hash, &ends->remote_port, sizeof(ends->remote_port));
	return hash_fnv1a(hash, &ends->own_port, sizeof(ends->own_port)) % BUCKETS;
}

static bool same_ends(const struct tcp_ends *a, const struct tcp_ends *b)
{
	return a->remote_port == b->remote_port && a->own_port == b->own_port &&
	       IN6_ARE_ADDR_EQUAL(&a->remote, &b->remote) && IN6_ARE_ADDR_EQUAL(&a->own, &b->own);
}

static struct tcp_connection *find(const struct tcp_stack *stack, const struct port *member,
				   const struct tcp_ends *ends)
{
	uint32_t i = stack->buckets[bucket_of(member, ends)];

	while (i != NONE && (stack->connections[i].member != member ||
			     !same_ends(&stack->connections[i].ends, ends)))
		i = stack->connections[i].next;
	return i == NONE ? NULL : &stack->connections[i];
}

static void index_add(struct tcp_stack *stack, struct tcp_connection *connection)
{
	uint32_t *bucket = &stack->buckets[bucket_of(connection->member, &connection->ends)];

	connection->next = *bucket;
	*bucket = (uint32_t)(connection - stack->connections);
}

static void index_remove(struct tcp_stack *stack, struct tcp_connection *connection)
{
	uint32_t index = (uint32_t)(connection - stack->connections);
	uint32_t *link = &stack->buckets[bucket_of(connection->member, &connection->ends)];

	while (*link != index)
		link = &stack->connections[*link].next;
	*link = connection->next;
}

/* One that waits for its port goes on waiting. */
static void give_turn(struct tcp_connection *connection)
{
	if (link_is_alone(&connection->turn))
		link_append(&connection->stack->turns, &connection->turn);
}

/* broken: the other side is to see that it did not end as it should. */
static void close_socket(struct tcp_connection *connection, bool broken)
{
	const struct linger linger = { .l_onoff = 1 };

	connection->source = loop_remove(connection->source);
	if (connection->fd < 0)
		return;
	if (broken)
		setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(connection->fd);
	connection->fd = -1;
}

static void connection_free(struct tcp_connection *connection, bool broken)
{
	struct tcp_stack *stack = connection->stack;
	struct tcp_share *share = port_share(connection->member);

	close_socket(connection, broken);
	tcp_buffer_release(&stack->pool, &connection->to_member, &share->large_buffers);
	tcp_buffer_release(&stack->pool, &connection->to_socket, &share->large_buffers);
	link_leave(&connection->turn);
	link_leave(&connection->timed);
	index_remove(stack, connection);
	share->connections--;
	stack->count--;
	*connection = (struct tcp_connection){ .next = stack->first_free };
	stack->first_free = (uint32_t)(connection - stack->connections);
}

static struct tcp_connection *take_free(struct tcp_stack *stack)
{
	struct tcp_connection *connection;

	if (stack->first_free == NONE)
		return &stack->connections[stack->high++];
	connection = &stack->connections[stack->first_free];
	stack->first_free = connection->next;
	return connection;
}

static bool has_place(const struct tcp_stack *stack, struct port *member)
{
	return port_share(member)->connections < stack->max - stack->count;
}

/* fd: taken over. There must be a place. */
static struct tcp_connection *connection_new(struct tcp_stack *stack, struct port *member,
					     const struct tcp_ends *ends, int fd)
{
	struct tcp_connection *connection = take_free(stack);

	*connection = (struct tcp_connection){
		.stack = stack, .member = member, .ends = *ends, .fd = fd
	};
	link_init(&connection->turn);
	link_init(&connection->timed);
	index_add(stack, connection);
	port_share(member)->connections++;
	stack->count++;
	return connection;
}

/* RFC 9293, 3.4.1: of a number that a connection between the same ends had lately, a later one. The
 * secret is for those who do not see it; nobody but the member sees segments. */
static uint32_t first_number(const struct tcp_stack *stack, const struct tcp_ends *ends)
{
	uint64_t hash = hash_fnv1a(HASH_FNV_INIT, &stack->secret, sizeof(stack->secret));

	hash = hash_fnv1a(hash, &ends->remote, sizeof(ends->remote));
	hash = hash_fnv1a(hash, &ends->own, sizeof(ends->own));
	hash = hash_fnv1a(hash, &ends->remote_port, sizeof(ends->remote_port));
	hash = hash_fnv1a(hash, &ends->own_port, sizeof(ends->own_port));
	return (uint32_t)(hash >> 32) + (uint32_t)(clock_monotonic_ns() / 4000);
}

static uint16_t segment_size(const struct tcp_stack *stack, const struct tcp_ends *ends)
{
	return (uint16_t)(stack->netd->config.mtu - (ends->v6 ? 60 : 40));
}

static void watch_deadline(struct tcp_connection *connection)
{
	struct tcp_stack *stack = connection->stack;
	uint64_t deadline_ms =
		connection->ends_ms ? connection->ends_ms : connection->tcp.deadline_ms;

	if (deadline_ms == 0)
		return;
	if (link_is_alone(&connection->timed))
		link_append(&stack->timed, &connection->timed);
	if (stack->armed_ms && stack->armed_ms <= deadline_ms)
		return;
	stack->armed_ms = deadline_ms;
	loop_arm(stack->timer,
		 deadline_ms > stack->shared.now_ms ? deadline_ms - stack->shared.now_ms : 0);
}

static void abort_both(struct tcp_connection *connection)
{
	tcp_connection_send_reset(connection, &connection->stack->shared);
	connection_free(connection, true);
}

static void expire(struct tcp_connection *connection)
{
	if (connection->ends_ms)
		connection_free(connection, false);
	else if (tcp_expire(&connection->tcp, connection->stack->shared.now_ms) < 0)
		abort_both(connection);
	else
		give_turn(connection);
}

static void on_timer(void *ctx)
{
	struct tcp_stack *stack = ctx;
	struct tcp_link list;

	stack->armed_ms = 0;
	stack->shared.now_ms = clock_monotonic_ms();
	link_init(&list);
	link_move_all(&stack->timed, &list);
	while (!link_is_alone(&list)) {
		struct tcp_connection *connection = CONNECTION_OF(list.next, timed);
		uint64_t deadline_ms =
			connection->ends_ms ? connection->ends_ms : connection->tcp.deadline_ms;

		link_leave(&connection->timed);
		if (deadline_ms && deadline_ms <= stack->shared.now_ms)
			expire(connection);
		else
			watch_deadline(connection);
	}
}

/* Both sides are done; what the member repeats, because it did not hear of it, is answered for a
 * while. */
static void enter_ending(struct tcp_connection *connection)
{
	close_socket(connection, false);
	connection->stage = TCP_ENDING;
	connection->ends_ms = connection->stack->shared.now_ms + ENDING_MS;
}

static void run(struct tcp_connection *connection)
{
	struct tcp_stack *stack = connection->stack;

	switch (tcp_connection_run(connection, &stack->shared)) {
	case TCP_TURN_MORE:
		give_turn(connection);
		break;
	case TCP_TURN_BLOCKED:
		link_append(&stack->blocked, &connection->turn);
		break;
	case TCP_TURN_BROKEN:
		abort_both(connection);
		return;
	case TCP_TURN_OVER:
		enter_ending(connection);
		break;
	case TCP_TURN_DONE:
		break;
	}
	watch_deadline(connection);
}

bool tcp_stack_sync(struct tcp_stack *stack)
{
	struct tcp_link list;

	if (!stack || link_is_alone(&stack->turns))
		return false;
	stack->shared.now_ms = clock_monotonic_ms();
	link_init(&list);
	link_move_all(&stack->turns, &list);
	while (!link_is_alone(&list)) {
		struct tcp_connection *connection = CONNECTION_OF(list.next, turn);

		link_leave(&connection->turn);
		run(connection);
	}
	return !link_is_alone(&stack->turns);
}

void tcp_stack_resume(struct tcp_stack *stack, const struct port *member)
{
	struct tcp_link list;

	if (!stack)
		return;
	link_init(&list);
	link_move_all(&stack->blocked, &list);
	while (!link_is_alone(&list)) {
		struct tcp_connection *connection = CONNECTION_OF(list.next, turn);

		link_leave(&connection->turn);
		link_append(connection->member == member ? &stack->turns : &stack->blocked,
			    &connection->turn);
	}
}

/* The socket is connected, or could not be. */
static void on_connected(struct tcp_connection *connection)
{
	if (connection->broken) {
		abort_both(connection);
		return;
	}
	connection->stage = TCP_PASSING;
	give_turn(connection);
}

static void on_socket(void *ctx, int fd, uint32_t events)
{
	struct tcp_connection *connection = ctx;
	int error = 0;
	socklen_t size = sizeof(error);

	if (events & EPOLLERR && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error)
		connection->broken = true;
	connection->may_read |= (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0;
	connection->may_write |= (events & (EPOLLOUT | EPOLLHUP)) != 0;
	connection->hung_up |= (events & (EPOLLRDHUP | EPOLLHUP)) != 0;
	if (connection->stage == TCP_CONNECTING)
		on_connected(connection);
	else
		give_turn(connection);
}

static void watch_socket(struct tcp_connection *connection)
{
	int yes = 1;

	setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	setsockopt(connection->fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
	connection->source =
		loop_add_fd(connection->stack->netd->loop, connection->fd,
			    EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, on_socket, connection);
}

static void refuse(struct tcp_stack *stack, struct port *member, const struct packet *packet)
{
	size_t size = packet_make_refusal(stack->refusal, packet);

	if (size)
		port_send(member, stack->refusal, size);
}

/* Nobody takes it; what is asked in IPv6 is asked again in IPv4. */
static void on_refused(struct tcp_connection *connection);

static void respond(struct tcp_connection *connection, const struct tcp_effect *effect,
		    const struct packet *packet)
{
	struct tcp_stack *stack = connection->stack;

	if (effect->stray)
		refuse(stack, connection->member, packet);
	if (effect->forgotten)
		tcp_buffer_drop(&connection->to_member, effect->forgotten);
	if (effect->unknown &&
	    tcp_open_again(&connection->tcp, first_number(stack, &connection->ends),
			   clock_monotonic_ms())) {
		give_turn(connection); /* for its deadline */
	} else if (effect->reset) {
		connection_free(connection, true);
	} else if (effect->refused) {
		on_refused(connection);
	} else {
		if ((effect->size || effect->last) && connection->stage == TCP_PASSING &&
		    tcp_connection_take(connection, &stack->shared, effect) < 0)
			connection->broken = true;
		give_turn(connection);
	}
}

bool tcp_stack_input(struct tcp_stack *stack, struct port *member, const struct packet *packet)
{
	struct tcp_ends ends = tcp_ends_of(packet);
	struct tcp_connection *connection = find(stack, member, &ends);
	struct tcp_segment segment;
	struct tcp_effect effect;

	if (!connection)
		return false;
	tcp_parse(packet, &segment);
	/* A port that is used again. */
	if (connection->stage == TCP_ENDING && (segment.flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		connection_free(connection, false);
		return false;
	}
	if (connection->stage == TCP_CONNECTING) {
		if (segment.flags & TCP_RST && segment.seq == connection->tcp.received)
			connection_free(connection, true);
		return true; /* it is answered once that is known */
	}
	tcp_receive(&connection->tcp, &segment, clock_monotonic_ms(), &effect);
	respond(connection, &effect, packet);
	return true;
}

/* Where a member's connection goes. */
static union endpoint target_of(const struct net_config *config, const struct tcp_ends *ends)
{
	union endpoint to = { 0 };

	if (ends->v6) {
		bool host = IN6_ARE_ADDR_EQUAL(&ends->remote, &config->gateway6);

		to.v6 = (struct sockaddr_in6){
			.sin6_family = AF_INET6,
			.sin6_addr = host ? in6addr_loopback : ends->remote,
		};
	} else {
		struct in_addr address = tcp_unmap4(&ends->remote);
		bool host = address.s_addr == config->gateway.s_addr;

		to.v4 = (struct sockaddr_in){
			.sin_family = AF_INET,
			.sin_addr.s_addr = host ? htonl(INADDR_LOOPBACK) : address.s_addr,
		};
	}
	endpoint_set_port(&to, ends->remote_port);
	return to;
}

static bool is_names(const struct net_config *config, const struct tcp_ends *ends)
{
	if (ends->remote_port != PORT_DNS)
		return false;
	return ends->v6 ? IN6_ARE_ADDR_EQUAL(&ends->remote, &config->names6)
			: tcp_unmap4(&ends->remote).s_addr == config->names.s_addr;
}

/* A socket that is connected, or about to be; negative errno. */
static int call(struct tcp_stack *stack, const struct port *member, const struct tcp_ends *ends)
{
	const struct net_config *config = &stack->netd->config;
	union endpoint to = target_of(config, ends);
	AUTO_CLOSE int fd = -1;

	if (is_names(config, ends))
		return names_connect(stack->netd->names, member);
	fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || (connect(fd, &to.any, endpoint_size(&to)) < 0 && errno != EINPROGRESS))
		return -errno;
	return TAKE_FD(fd);
}

void tcp_stack_open(struct tcp_stack *stack, struct port *member, const struct packet *packet)
{
	struct tcp_ends ends = tcp_ends_of(packet);
	struct tcp_connection *connection;
	struct tcp_segment segment;
	int fd;

	if (!has_place(stack, member) || !port_may_open(member, packet, stack->count, stack->max)) {
		port_refuse(member); /* it tries again */
		return;
	}
	fd = call(stack, member, &ends);
	if (fd < 0) {
		refuse(stack, member, packet);
		return;
	}
	tcp_parse(packet, &segment);
	connection = connection_new(stack, member, &ends, fd);
	tcp_answer(&connection->tcp, &segment, first_number(stack, &ends),
		   segment_size(stack, &ends), TCP_WINDOW, clock_monotonic_ms());
	watch_socket(connection);
}

static bool is_told_as_it_is4(const struct net_config *config, struct in_addr client)
{
	uint32_t address = ntohl(client.s_addr);

	return address >> 24 != 127 && address >> 24 != 0 && !config_in_subnet(config, client);
}

static bool is_told_as_it_is6(const struct net_config *config, const struct in6_addr *client)
{
	return !IN6_IS_ADDR_LOOPBACK(client) && !IN6_IS_ADDR_LINKLOCAL(client) &&
	       !config_in_subnet6(config, client);
}

/* Between the client, or the gateway that stands for it, and a member's port. */
static struct tcp_ends ends_for(const struct net_config *config, const struct binding *binding,
				const union endpoint *client, uint16_t port)
{
	struct tcp_ends ends = { .remote = tcp_map4(config->gateway),
				 .own = tcp_map4(binding->ipv4),
				 .remote_port = endpoint_port(client),
				 .own_port = port };

	if (client->any.sa_family == AF_INET) {
		if (is_told_as_it_is4(config, client->v4.sin_addr))
			ends.remote = tcp_map4(client->v4.sin_addr);
	} else if (config->has6 && binding->has6) {
		ends.v6 = true;
		ends.own = binding->ipv6;
		ends.remote = is_told_as_it_is6(config, &client->v6.sin6_addr)
				      ? client->v6.sin6_addr
				      : config->gateway6;
	}
	return ends;
}

/* The client's own port, or another if somebody has that. */
static bool choose_port(struct tcp_stack *stack, struct port *member, struct tcp_ends *ends)
{
	for (int i = 0; i < STAND_IN_TRIES; i++) {
		struct tcp_connection *other = find(stack, member, ends);

		if (other && other->stage == TCP_ENDING) {
			connection_free(other, false);
			other = NULL;
		}
		if (!other)
			return true;
		if (stack->stand_in < STAND_IN_FIRST || stack->stand_in >= STAND_IN_LAST)
			stack->stand_in = STAND_IN_FIRST;
		ends->remote_port = stack->stand_in++;
	}
	return false;
}

static void ask(struct tcp_connection *connection)
{
	struct tcp_stack *stack = connection->stack;

	tcp_open(&connection->tcp, first_number(stack, &connection->ends),
		 segment_size(stack, &connection->ends), TCP_WINDOW, clock_monotonic_ms());
	give_turn(connection);
}

static void on_refused(struct tcp_connection *connection)
{
	struct tcp_stack *stack = connection->stack;
	struct tcp_ends ends = { .remote = tcp_map4(stack->netd->config.gateway),
				 .own = tcp_map4(port_binding(connection->member)->ipv4),
				 .remote_port = connection->ends.remote_port,
				 .own_port = connection->ends.own_port };

	if (!connection->ends.v6 || !choose_port(stack, connection->member, &ends)) {
		connection_free(connection, true);
		return;
	}
	index_remove(stack, connection);
	connection->ends = ends;
	index_add(stack, connection);
	ask(connection);
}

void tcp_stack_serve(struct tcp_stack *stack, struct port *member, uint16_t port, int client,
		     const union endpoint *address)
{
	const struct net_config *config = &stack->netd->config;
	struct tcp_ends ends = ends_for(config, port_binding(member), address, port);
	struct tcp_connection *connection;

	if (!has_place(stack, member) || !choose_port(stack, member, &ends)) {
		port_refuse(member);
		close(client);
		return;
	}
	connection = connection_new(stack, member, &ends, client);
	connection->stage = TCP_PASSING;
	watch_socket(connection);
	ask(connection);
}

void tcp_stack_forget(struct tcp_stack *stack, struct port *member)
{
	if (!stack)
		return;
	for (size_t i = 0; i < stack->high; i++)
		if (stack->connections[i].member == member)
			connection_free(&stack->connections[i], false);
}

struct tcp_stack *tcp_stack_new(struct netd *netd)
{
	struct tcp_stack *stack = xcalloc(1, sizeof(*stack));

	stack->netd = netd;
	stack->max = quota_sockets(2, CONNECTIONS_MAX); /* the other half is for all else */
	stack->connections = mmap(NULL, stack->max * sizeof(stack->connections[0]),
				  PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack->connections == MAP_FAILED)
		abort();
	stack->first_free = NONE;
	memset(stack->buckets, 0xff, sizeof(stack->buckets));
	hash_random(&stack->secret, sizeof(stack->secret));
	link_init(&stack->turns);
	link_init(&stack->blocked);
	link_init(&stack->timed);
	stack->timer = loop_add_timer(netd->loop, on_timer, stack);
	stack->shared = (struct tcp_shared){ .config = &netd->config,
					     .pool = &stack->pool,
					     .batch = &stack->batch,
					     .now_ms = clock_monotonic_ms() };
	return stack;
}

struct tcp_stack *tcp_stack_free(struct tcp_stack *stack)
{
	if (!stack)
		return NULL;
	for (size_t i = 0; i < stack->high; i++)
		if (stack->connections[i].member)
			connection_free(&stack->connections[i], false);
	loop_remove(stack->timer);
	tcp_pool_release(&stack->pool);
	munmap(stack->connections, stack->max * sizeof(stack->connections[0]));
	free(stack);
	return NULL;
}
