/* SPDX-License-Identifier: Apache-2.0 */
#include "net/member.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sock.h"
#include "base/str.h"
#include "base/vec.h"
#include "net/gateway.h"
#include "net/names.h"
#include "net/publish.h"
#include "net/tap.h"
#include "net/tcp.h"
#include "net/uplink.h"
#include "net/wire.h"

#define CONNECTIONS_MAX (SWITCH_PORTS_MAX + 64)

struct member {
	struct members *members;    /* borrowed */
	int sock;                   /* owned */
	struct loop_source *source; /* owned */
	bool joined;
	struct member_config config;
	struct port *port; /* owned; NULL until joined */
};

struct members {
	struct netd *netd;          /* borrowed */
	struct loop_source *accept; /* owned */
	struct loop_source *idle;   /* owned: fires when nobody came for a while */
	VEC(struct member *) list;  /* owned */
};

static void member_free(struct member *member)
{
	if (!member)
		return;
	if (member->port) {
		publisher_remove(member->members->netd->publisher, member->port);
		names_forget(member->members->netd->names, member->port);
		gateway_forget(member->members->netd->gateway, member->port);
		tcp_stack_forget(member->members->netd->tcp, member->port);
	}
	switch_remove(member->port);
	loop_remove(member->source);
	close(member->sock);
	free(member);
}

static void leave(struct member *member)
{
	struct members *members = member->members;

	for (size_t i = 0; i < members->list.count; i++)
		if (members->list.items[i] == member) {
			VEC_REMOVE(&members->list, i);
			break;
		}
	if (member->joined) {
		const struct port_counters *counters = port_counters(member->port);

		log_debug("network=%s container=%s left: received=%llu sent=%llu dropped=%llu "
			  "refused=%llu",
			  members->netd->config.name, member->config.uuid,
			  (unsigned long long)counters->received_frames,
			  (unsigned long long)counters->sent_frames,
			  (unsigned long long)counters->dropped,
			  (unsigned long long)counters->refused);
	}
	member_free(member);
	if (members->list.count == 0)
		loop_arm(members->idle, members->netd->config.linger_ms);
}

static void set_address(json_t *json, const char *name, int family, const void *address)
{
	char text[INET6_ADDRSTRLEN];

	if (inet_ntop(family, address, text, sizeof(text)))
		json_set_string(json, name, text);
}

static json_t *joined_to_json(const struct netd *netd)
{
	const struct net_config *config = &netd->config;
	const uint8_t *mac = config->gateway_mac;
	json_t *json = json_object();
	char text[18];

	set_address(json, "gateway", AF_INET, &config->gateway);
	set_address(json, "names", AF_INET, &config->names);
	if (config->has6) {
		set_address(json, "gateway6", AF_INET6, &config->gateway6);
		set_address(json, "names6", AF_INET6, &config->names6);
	}
	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	json_set_string(json, "gatewayMac", text);
	if (netd->tap)
		json_set_string(json, "tap", tap_name(netd->tap));
	json_object_set_new(json, "mtu", json_integer(config->mtu));
	return json;
}

/* The client believes that the network is as it told; it may run as it was before. */
static int check_subnets(const struct netd *netd, const json_t *request, struct err *err)
{
	AUTO_FREE struct net_config *asked = xcalloc(1, sizeof(*asked));
	AUTO_JSON json_t *json = json_pack("{s:s, s:O?, s:O?}", "name", netd->config.name, "subnet",
					   json_object_get(request, "subnet"), "subnet6",
					   json_object_get(request, "subnet6"));
	const struct net_config *config = &netd->config;
	int r;

	if (!json)
		return err_set(err, -ENOMEM, "out of memory");
	r = config_parse(json, asked, err);
	if (r < 0)
		return r;
	if (asked->subnet.s_addr != config->subnet.s_addr ||
	    asked->mask.s_addr != config->mask.s_addr || asked->has6 != config->has6 ||
	    memcmp(&asked->subnet6, &config->subnet6, sizeof(asked->subnet6)) != 0)
		return err_set(err, -EEXIST,
			       "it runs with another subnet until its last container leaves");
	return 0;
}

static int join(struct member *member, const json_t *request, int *link, json_t **ret_answer,
		struct err *err)
{
	struct members *members = member->members;
	struct netd *netd = members->netd;
	int r;

	if (member->joined)
		return err_set(err, -EALREADY, "joined already");
	if (*link < 0)
		return err_set(err, -EINVAL, "no descriptor came with the request");
	r = check_subnets(netd, request, err);
	if (r == 0)
		r = member_parse(json_object_get(request, "member"), &netd->config, &member->config,
				 err);
	if (r < 0)
		return r;
	VEC_EACH (&members->list, it)
		if ((*it)->joined && str_eq((*it)->config.uuid, member->config.uuid))
			return err_set(err, -EADDRINUSE, "container '%s' is a member already",
				       member->config.uuid);
	r = switch_add(netd->sw, *link, false, &member->config.binding, &member->port, err);
	if (r < 0)
		return r;
	*link = -1; /* the switch's now */
	member->joined = true;
	uplink_introduce(netd->uplink, &member->config.binding);
	log_debug("network=%s container=%s joined", netd->config.name, member->config.uuid);
	*ret_answer = joined_to_json(netd);
	return 0;
}

static bool same_binding(const struct binding *a, const struct binding *b)
{
	return memcmp(a->mac, b->mac, sizeof(a->mac)) == 0 && a->ipv4.s_addr == b->ipv4.s_addr &&
	       a->has6 == b->has6 && IN6_ARE_ADDR_EQUAL(&a->ipv6, &b->ipv6) &&
	       IN6_ARE_ADDR_EQUAL(&a->link_local, &b->link_local);
}

static int update(struct member *member, const json_t *request, json_t **ret_answer,
		  struct err *err)
{
	AUTO_FREE struct member_config *config = calloc(1, sizeof(*config));
	int r = config ? member_parse(json_object_get(request, "member"),
				      &member->members->netd->config, config, err)
		       : err_set(err, -ENOMEM, "out of memory");

	if (r < 0)
		return r;
	if (!str_eq(config->uuid, member->config.uuid) ||
	    !same_binding(&config->binding, &member->config.binding))
		return err_set(err, -EINVAL, "the addresses of a member do not change");
	member->config = *config;
	return 0;
}

static int publish(struct member *member, const json_t *request, json_t **ret_answer,
		   struct err *err)
{
	const json_t *list = json_get_array(request, "rules");
	size_t count = json_array_size(list);
	struct rule rules[CONFIG_RULES_MAX];
	uint16_t ports[CONFIG_RULES_MAX] = { 0 };
	json_t *numbers;
	int r = 0;

	if (count > CONFIG_RULES_MAX)
		return err_set(err, -E2BIG, "more than %d rules to publish", CONFIG_RULES_MAX);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = rule_parse(json_array_get(list, i), &rules[i], err);
	if (r == 0)
		r = publisher_add(member->members->netd->publisher, member->port, rules, count,
				  ports, err);
	if (r < 0)
		return r;
	numbers = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(numbers, json_integer(ports[i]));
	*ret_answer = json_pack("{s:o}", "hostPorts", numbers);
	return 0;
}

static int stats(struct member *member, json_t **ret_answer)
{
	const struct port_counters *counters = port_counters(member->port);

	*ret_answer = json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I}", "receivedBytes",
		(json_int_t)counters->received_bytes, "receivedFrames",
		(json_int_t)counters->received_frames, "sentBytes",
		(json_int_t)counters->sent_bytes, "sentFrames", (json_int_t)counters->sent_frames,
		"dropped", (json_int_t)counters->dropped, "refused", (json_int_t)counters->refused);
	return 0;
}

static int handle(struct member *member, const json_t *request, int *link, json_t **ret_answer,
		  struct err *err)
{
	const char *what = str_or(json_get_string(request, "request"), "");

	if (str_eq(what, "join"))
		return join(member, request, link, ret_answer, err);
	if (!member->joined)
		return err_set(err, -EPERM, "not joined");
	if (str_eq(what, "update"))
		return update(member, request, ret_answer, err);
	if (str_eq(what, "publish"))
		return publish(member, request, ret_answer, err);
	if (str_eq(what, "unpublish"))
		return publisher_remove(member->members->netd->publisher, member->port), 0;
	if (str_eq(what, "stats"))
		return stats(member, ret_answer);
	return err_set(err, -EOPNOTSUPP, "no such request: '%s'", what);
}

static void on_member(void *ctx, int sock, uint32_t events)
{
	struct member *member = ctx;
	AUTO_JSON json_t *request = NULL;
	AUTO_JSON json_t *answer = NULL;
	AUTO_CLOSE int link = -1;
	struct err err = { 0 };
	int r = wire_receive(sock, &request, &link);

	if (r == -EAGAIN)
		return;
	if (r < 0) {
		leave(member);
		return;
	}
	r = handle(member, request, &link, &answer, &err);
	if (r < 0)
		answer = json_pack("{s:i, s:s}", "error", -r, "message", err.message);
	if (!answer)
		answer = json_object();
	if (wire_send(sock, answer, -1) < 0)
		leave(member); /* it asks, but does not read */
}

static void on_accept(void *ctx, int listener, uint32_t events)
{
	struct members *members = ctx;
	AUTO_CLOSE int sock = sock_accept(listener);
	struct member *member;

	if (sock < 0 || members->list.count >= CONNECTIONS_MAX || fd_set_nonblock(sock, true) < 0)
		return;
	member = xcalloc(1, sizeof(*member));
	member->members = members;
	member->sock = TAKE_FD(sock);
	member->source = loop_add_fd(members->netd->loop, member->sock, EPOLLIN, on_member, member);
	VEC_PUSH(&members->list, member);
	loop_disarm(members->idle);
}

static void on_idle(void *ctx)
{
	struct members *members = ctx;

	/* Whoever connected in the meantime is accepted first; what connects later finds the
	 * listener closed, and begins anew. */
	if (members->list.count == 0)
		members->netd->done = true;
}

void members_find_name(const struct members *members, const char *name, members_found_fn found,
		       void *ctx)
{
	VEC_EACH (&members->list, it) {
		const struct member *member = *it;

		for (size_t i = 0; member->joined && i < member->config.name_count; i++)
			if (str_eq(member->config.names[i], name)) {
				found(ctx, &member->config.binding);
				break;
			}
	}
}

const char *members_name_of(const struct members *members, const struct in_addr *ipv4,
			    const struct in6_addr *ipv6)
{
	VEC_EACH (&members->list, it) {
		const struct member_config *config = &(*it)->config;

		if (!(*it)->joined || config->name_count == 0)
			continue;
		if (ipv4 ? config->binding.ipv4.s_addr == ipv4->s_addr
			 : config->binding.has6 &&
				    memcmp(&config->binding.ipv6, ipv6, sizeof(*ipv6)) == 0)
			return config->names[0];
	}
	return NULL;
}

const struct resolvers *members_resolvers(const struct members *members, const struct port *port)
{
	VEC_EACH (&members->list, it)
		if ((*it)->port == port)
			return &(*it)->config.resolvers;
	return NULL;
}

bool members_has_others(const struct members *members, const struct port *port)
{
	VEC_EACH (&members->list, it)
		if ((*it)->port == port)
			return (*it)->config.has_others;
	return false;
}

struct members *members_new(struct netd *netd, int listener)
{
	struct members *members = xcalloc(1, sizeof(*members));

	members->netd = netd;
	members->accept = loop_add_fd(netd->loop, listener, EPOLLIN, on_accept, members);
	members->idle = loop_add_timer(netd->loop, on_idle, members);
	/* Whoever started this is about to come. */
	loop_arm(members->idle, NET_TIMEOUT_MS);
	return members;
}

struct members *members_free(struct members *members)
{
	if (!members)
		return NULL;
	VEC_EACH (&members->list, it)
		member_free(*it);
	VEC_FREE(&members->list);
	loop_remove(members->accept);
	loop_remove(members->idle);
	free(members);
	return NULL;
}
