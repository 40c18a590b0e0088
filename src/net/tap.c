/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

#define FLOWS 4096
#define FLOW_MS 120000
#define ICMP_ERROR_UNREACHABLE 3
#define ICMP_ERROR_TIME 11
#define ICMPV6_ECHO_REPLY 129

/* RTM_NEWADDR with an IPv6 address and its answer (rtnetlink(7)). */
struct address_message {
	struct nlmsghdr header;
	struct ifaddrmsg body;
	struct rtattr attribute;
	struct in6_addr address;
};
struct address_answer {
	struct nlmsghdr header;
	struct nlmsgerr error;
	char rest[256]; /* the request again, or why not */
};

struct tap {
	struct netd *netd; /* borrowed */
	struct port *port; /* owned */
	char name[IFNAMSIZ];
	/* UDP that the host sent, by what it was: when; the newest of those of one hash. */
	struct {
		uint64_t key, sent_ms;
	} flows[FLOWS];
};

/* Nobody else can have it: without the second of duplicate address detection, in which the host
 * would speak from its link-local one, which is let in nowhere. Hence not by SIOCSIFADDR. */
static int set_address6(const struct net_config *config, const struct ifreq *request)
{
	AUTO_CLOSE int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	const struct address_message message = {
		.header = { .nlmsg_len = sizeof(message),
			    .nlmsg_type = RTM_NEWADDR,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE },
		.body = { .ifa_family = AF_INET6,
			  .ifa_prefixlen = (uint8_t)config->prefix6,
			  .ifa_flags = IFA_F_NODAD,
			  .ifa_index = if_nametoindex(request->ifr_name) },
		.attribute = { .rta_len = RTA_LENGTH(sizeof(message.address)),
			       .rta_type = IFA_LOCAL },
		.address = config->host6,
	};
	struct address_answer answer;

	if (sock < 0 || send(sock, &message, sizeof(message), 0) < 0)
		return -errno;
	if (recv(sock, &answer, sizeof(answer), 0) < (ssize_t)NLMSG_LENGTH(sizeof(answer.error)) ||
	    answer.header.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return answer.error.error;
}

static int set_address(int sock, unsigned long what, struct ifreq *request, struct in_addr address)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = address };

	memcpy(&request->ifr_addr, &in, sizeof(in));
	return ioctl(sock, what, request) < 0 ? -errno : 0;
}

static int configure(const struct net_config *config, struct ifreq *request)
{
	AUTO_CLOSE int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r;

	if (sock < 0)
		return -errno;
	r = set_address(sock, SIOCSIFADDR, request, config->host);
	if (r == 0)
		r = set_address(sock, SIOCSIFNETMASK, request, config->mask);
	if (r < 0)
		return r;
	request->ifr_mtu = (int)config->mtu;
	if (ioctl(sock, SIOCSIFMTU, request) < 0)
		return -errno;
	request->ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(sock, SIOCSIFFLAGS, request) < 0)
		return -errno;
	return config->has6 ? set_address6(config, request) : 0;
}

static int make_binding(const struct net_config *config, struct ifreq *request,
			struct binding *ret_binding)
{
	AUTO_CLOSE int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (sock < 0 || ioctl(sock, SIOCGIFHWADDR, request) < 0)
		return -errno;
	*ret_binding = (struct binding){ .ipv4 = config->host,
					 .has6 = config->has6,
					 .ipv6 = config->host6 };
	memcpy(ret_binding->mac, request->ifr_hwaddr.sa_data, ETH_ALEN);
	ret_binding->link_local = config_link_local(ret_binding->mac);
	return 0;
}

int tap_new(struct netd *netd, struct tap **ret_tap, struct err *err)
{
	AUTO_CLOSE int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI,
				 .ifr_name = TAP_NAME_PREFIX "%d" };
	struct binding binding;
	struct port *port = NULL;
	struct tap *tap;
	int r = 0;

	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
		return err_set(err, -errno, "cannot make a TAP device: %m");
	r = make_binding(&netd->config, &request, &binding);
	if (r == 0)
		r = configure(&netd->config, &request);
	if (r < 0)
		return err_set(err, r, "cannot set up a TAP device: %m");
	r = switch_add(netd->sw, fd, true, &binding, &port, err);
	if (r < 0)
		return r;
	fd = -1;
	tap = xcalloc(1, sizeof(*tap));
	tap->netd = netd;
	tap->port = port;
	memcpy(tap->name, request.ifr_name, sizeof(tap->name));
	*ret_tap = tap;
	return 0;
}

struct tap *tap_free(struct tap *tap)
{
	if (!tap)
		return NULL;
	switch_remove(tap->port);
	free(tap);
	return NULL;
}

const char *tap_name(const struct tap *tap)
{
	return tap->name;
}

/* Of a member's address and port, and a port of the host. */
static uint64_t flow_key(const struct packet *packet, bool from_host)
{
	uint16_t ports[2] = { from_host ? packet->source_port : packet->destination_port,
			      from_host ? packet->destination_port : packet->source_port };
	uint64_t hash = hash_fnv1a(HASH_FNV_INIT, ports, sizeof(ports));

	if (packet->kind == PACKET_IPV4)
		return hash_fnv1a(hash, from_host ? &packet->destination4 : &packet->source4, 4);
	return hash_fnv1a(hash, from_host ? &packet->destination6 : &packet->source6, 16);
}

bool tap_passes_out(struct tap *tap, const struct packet *packet)
{
	uint64_t key;

	/* What the host's own services shout is not for containers. */
	if (packet_destination(packet)[0] & 1)
		return packet->kind == PACKET_ARP || packet->protocol == IPPROTO_ICMPV6;
	if (packet->kind == PACKET_ARP || packet->protocol != IPPROTO_UDP || !packet->first)
		return true;
	key = flow_key(packet, true);
	tap->flows[key % FLOWS].key = key;
	tap->flows[key % FLOWS].sent_ms = clock_monotonic_ms();
	return true;
}

bool tap_passes_in(struct tap *tap, const struct packet *packet)
{
	uint64_t key;

	if (packet->kind != PACKET_IPV4 && packet->kind != PACKET_IPV6)
		return false;
	if (!packet->first)
		return true; /* of use only behind a first one */
	switch (packet->protocol) {
	case IPPROTO_TCP:
		return (packet->tcp_flags & (PACKET_TCP_SYN | PACKET_TCP_ACK)) != PACKET_TCP_SYN;
	case IPPROTO_UDP:
		key = flow_key(packet, false);
		return tap->flows[key % FLOWS].key == key &&
		       tap->flows[key % FLOWS].sent_ms + FLOW_MS > clock_monotonic_ms();
	case IPPROTO_ICMP:
		return packet->icmp_type == 0 || packet->icmp_type == ICMP_ERROR_UNREACHABLE ||
		       packet->icmp_type == ICMP_ERROR_TIME;
	case IPPROTO_ICMPV6:
		return packet->icmp_type == ICMPV6_ECHO_REPLY ||
		       (packet->icmp_type >= 1 && packet->icmp_type <= 4);
	default:
		return false;
	}
}
