/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/net.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sock.h"
#include "base/str.h"
#include "guest/sys.h"
#include "guest/timeline.h"

/* The NICs of every machine have these addresses until a session comes (vm/launch.c); the last byte
 * is the number of the NIC, from 1 on. */
#define TEMPLATE_MAC "52:54:00:00:00:"
#define REQUEST_MAX 8192 /* of all messages of a session */
#define REQUESTS_MAX 64
#define ADDRESSES_MAX 64 /* of an interface that is emptied */
/* The least and the first size of a connection's receive buffer. The kernel's own first size, 128
 * KiB, is full after one frame of 64 KiB. The uplink does not scale windows, so what is left is
 * offered in whole segments, which means no window at all, and connections stop until a timer asks
 * again. */
#define RECEIVE_BUFFERS "4096 1048576"

/* Between hull-init, the process that sets up, and the container's process. */
struct order {
	size_t count;
	struct msg_interface interfaces[MSG_INTERFACES_MAX];
};

static int nics[MSG_INTERFACES_MAX]; /* their interface indexes; 0: there is none */
static int netlink = -1;
static struct msg_interface ordered[MSG_INTERFACES_MAX]; /* as hull-init ordered them */
static int orders = -1;                                  /* where hull-init writes the order */
static int results = -1; /* where the container's process reads a struct err */

static int open_netlink(void)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&kernel, sizeof(kernel)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* The number of the NIC that has this name now, or -1: its address tells. */
static int nic_of(const char *name)
{
	char path[300];
	char text[32];
	unsigned number = 0;
	const char *rest;

	snprintf(path, sizeof(path), "/sys/class/net/%s/address", name);
	if (sys_read_file(path, text, sizeof(text)) <= 0)
		return -1;
	rest = str_after(text, TEMPLATE_MAC);
	if (!rest || sscanf(rest, "%x", &number) != 1 || number < 1 || number > MSG_INTERFACES_MAX)
		return -1;
	return (int)number - 1;
}

static void set_ipv6(const char *name, const char *key, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", name, key);
	sys_write_file(path, value);
}

static void raise_link(int fd, const char *name)
{
	struct ifreq request = { 0 };
	int r;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	r = ioctl(fd, SIOCGIFFLAGS, &request);
	request.ifr_flags |= IFF_UP;
	if (r < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		log_warning("cannot switch on the interface '%s': %m", name);
}

/* Its name, settings and state in the template. Silent: all its addresses are given, none is found
 * out. The first one is up, so that a session need not fill its queues; few use another. */
static void prepare_nic(int fd, const char *old_name, int number)
{
	struct ifreq request = { 0 };
	char name[IFNAMSIZ];

	snprintf(name, sizeof(name), "eth%d", number);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", old_name);
	if (!str_eq(name, old_name)) {
		snprintf(request.ifr_newname, sizeof(request.ifr_newname), "%s", name);
		if (ioctl(fd, SIOCSIFNAME, &request) < 0)
			log_warning("cannot rename the interface '%s': %m", old_name);
		snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	}
	set_ipv6(name, "accept_ra", "0");
	set_ipv6(name, "autoconf", "0");
	set_ipv6(name, "accept_dad", "0");
	set_ipv6(name, "addr_gen_mode", "1"); /* none of its own making: IN6_ADDR_GEN_MODE_NONE */
	if (number == 0)
		raise_link(fd, name);
	if (ioctl(fd, SIOCGIFINDEX, &request) == 0)
		nics[number] = request.ifr_ifindex;
}

/* Out of the way first: a NIC's name may be another's now. */
static void move_aside(int fd, const char *name, int number)
{
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	snprintf(request.ifr_newname, sizeof(request.ifr_newname), "nic%d", number);
	ioctl(fd, SIOCSIFNAME, &request);
}

static bool is_misnamed(const char *name, int number)
{
	char wanted[IFNAMSIZ];

	snprintf(wanted, sizeof(wanted), "eth%d", number);
	return !str_eq(name, wanted);
}

static void each_nic(int fd, void (*fn)(int fd, const char *name, int number), bool misnamed_only)
{
	DIR *dir = opendir("/sys/class/net");
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		int number = nic_of(entry->d_name);

		if (number >= 0 && (!misnamed_only || is_misnamed(entry->d_name, number)))
			fn(fd, entry->d_name, number);
	}
	if (dir)
		closedir(dir);
}

/* --- a session --- */

/* Messages to the kernel, sent together. */
struct requests {
	alignas(NLMSG_ALIGNTO) uint8_t bytes[REQUEST_MAX];
	size_t size;
	size_t start; /* of the message that is being built */
	uint32_t count;
	const char *what[REQUESTS_MAX]; /* for errors */
	bool may_fail[REQUESTS_MAX];
	bool overflow;
};

static void *add(struct requests *requests, size_t size)
{
	size_t aligned = NLMSG_ALIGN(size);
	void *place = requests->bytes + requests->size;

	if (aligned > sizeof(requests->bytes) - requests->size) {
		requests->overflow = true;
		return requests->bytes; /* is not sent */
	}
	memset(place, 0, aligned);
	requests->size += aligned;
	return place;
}

static struct nlmsghdr *current(struct requests *requests)
{
	return (struct nlmsghdr *)(void *)(requests->bytes + requests->start);
}

/* Begins a message; returns the place of its body. */
static void *begin(struct requests *requests, const char *what, uint16_t type, uint16_t flags,
		   size_t body_size)
{
	struct nlmsghdr *header;
	void *body;

	if (requests->count == REQUESTS_MAX) {
		requests->overflow = true;
		requests->count--;
	}
	requests->start = requests->size;
	header = add(requests, NLMSG_HDRLEN);
	body = add(requests, body_size);
	requests->what[requests->count] = what;
	requests->may_fail[requests->count] = type == RTM_DELADDR; /* the container may have */
	header->nlmsg_type = type;
	header->nlmsg_flags = NLM_F_REQUEST | flags;
	header->nlmsg_seq = requests->count++;
	return body;
}

static void add_attribute(struct requests *requests, uint16_t type, const void *data, size_t size)
{
	struct rtattr *attribute = add(requests, RTA_LENGTH(size));

	if (requests->overflow)
		return;
	attribute->rta_type = type;
	attribute->rta_len = (uint16_t)RTA_LENGTH(size);
	memcpy(RTA_DATA(attribute), data, size);
}

static void end(struct requests *requests)
{
	if (!requests->overflow)
		current(requests)->nlmsg_len = (uint32_t)(requests->size - requests->start);
}

static bool is_zero(const uint8_t *data, size_t size)
{
	return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* interface NULL: it keeps its identity. */
static void add_link(struct requests *requests, int index, bool up,
		     const struct msg_interface *interface)
{
	struct ifinfomsg *info = begin(requests, "set up the link", RTM_SETLINK, 0, sizeof(*info));

	info->ifi_index = index;
	info->ifi_change = IFF_UP;
	info->ifi_flags = up ? IFF_UP : 0;
	if (interface) {
		add_attribute(requests, IFLA_ADDRESS, interface->mac, sizeof(interface->mac));
		if (interface->mtu)
			add_attribute(requests, IFLA_MTU, &interface->mtu, sizeof(interface->mtu));
	}
	end(requests);
}

static void add_address(struct requests *requests, int index, bool remove, uint8_t family,
			const uint8_t *address, uint8_t prefix)
{
	size_t size = family == AF_INET ? 4 : 16;
	struct ifaddrmsg *info = begin(
		requests, remove ? "remove the address" : "set the address",
		remove ? RTM_DELADDR : RTM_NEWADDR,
		remove ? (uint16_t)0 : (uint16_t)(NLM_F_CREATE | NLM_F_REPLACE), sizeof(*info));
	uint32_t broadcast;

	*info = (struct ifaddrmsg){ .ifa_family = family,
				    .ifa_prefixlen = prefix,
				    .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
				    .ifa_index = (uint32_t)index };
	add_attribute(requests, IFA_LOCAL, address, size);
	add_attribute(requests, IFA_ADDRESS, address, size);
	if (family == AF_INET && prefix < 31) {
		memcpy(&broadcast, address, sizeof(broadcast));
		broadcast |= htonl(UINT32_MAX >> prefix);
		add_attribute(requests, IFA_BROADCAST, &broadcast, sizeof(broadcast));
	}
	end(requests);
}

static void add_default_route(struct requests *requests, int index, uint8_t family,
			      const uint8_t *gateway)
{
	struct rtmsg *info = begin(requests, "set the route", RTM_NEWROUTE,
				   NLM_F_CREATE | NLM_F_REPLACE, sizeof(*info));

	*info = (struct rtmsg){ .rtm_family = family,
				.rtm_table = RT_TABLE_MAIN,
				.rtm_protocol = RTPROT_BOOT,
				.rtm_scope = RT_SCOPE_UNIVERSE,
				.rtm_type = RTN_UNICAST };
	add_attribute(requests, RTA_GATEWAY, gateway, family == AF_INET ? 4 : 16);
	add_attribute(requests, RTA_OIF, &index, sizeof(index));
	end(requests);
}

/* fe80:: and the address of the NIC, as RFC 4291, appendix A, makes one of the other. */
static void add_link_local(struct requests *requests, int index, bool remove, const uint8_t mac[6])
{
	const uint8_t address[16] = { 0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2],
				      0xff, 0xfe, mac[3],           mac[4], mac[5] };

	add_address(requests, index, remove, AF_INET6, address, 64);
}

static void add_addresses(struct requests *requests, int index, bool remove,
			  const struct msg_interface *interface)
{
	if (interface->ipv4_prefix)
		add_address(requests, index, remove, AF_INET, interface->ipv4,
			    interface->ipv4_prefix);
	if (!interface->ipv6_prefix)
		return;
	add_link_local(requests, index, remove, interface->mac);
	add_address(requests, index, remove, AF_INET6, interface->ipv6, interface->ipv6_prefix);
}

static void add_routes(struct requests *requests, int index, const struct msg_interface *interface)
{
	if (!is_zero(interface->ipv4_gateway, sizeof(interface->ipv4_gateway)))
		add_default_route(requests, index, AF_INET, interface->ipv4_gateway);
	if (!is_zero(interface->ipv6_gateway, sizeof(interface->ipv6_gateway)))
		add_default_route(requests, index, AF_INET6, interface->ipv6_gateway);
}

static void add_interface(struct requests *requests, int index,
			  const struct msg_interface *interface)
{
	add_link(requests, index, true, interface);
	add_addresses(requests, index, false, interface);
	add_routes(requests, index, interface);
}

/* Its addresses are there before it is up. Those of IPv6 go when it goes down. */
static void add_replacement(struct requests *requests, int index,
			    const struct msg_interface *interface)
{
	add_link(requests, index, false, interface);
	add_addresses(requests, index, false, interface);
	add_link(requests, index, true, NULL);
	add_routes(requests, index, interface);
}
/* The kernel carries them out in order and answers only those that fail, and the last. */
static int carry_out(struct requests *requests, struct err *err)
{
	char answer[4096];
	int first = 0;

	if (requests->overflow)
		return err_set(err, -E2BIG, "cannot set up the network: %m");
	current(requests)->nlmsg_flags |= NLM_F_ACK;
	if (send(netlink, requests->bytes, requests->size, 0) < 0)
		return err_set(err, -errno, "cannot set up the network: %m");
	for (;;) {
		ssize_t size = recv(netlink, answer, sizeof(answer), 0);
		const struct nlmsghdr *header = (const void *)answer;
		const struct nlmsgerr *error = NLMSG_DATA(header);

		if (size < 0 && errno == EINTR)
			continue;
		if (size < (ssize_t)NLMSG_LENGTH(sizeof(*error)) ||
		    header->nlmsg_type != NLMSG_ERROR || header->nlmsg_seq >= requests->count)
			return err_set(err, -EPROTO, "cannot set up the network: %m");
		if (error->error && !first && !requests->may_fail[header->nlmsg_seq])
			first = err_set(err, error->error, "cannot %s of the network: %m",
					requests->what[header->nlmsg_seq]);
		if (header->nlmsg_seq == requests->count - 1)
			return first;
	}
}

static int begin_requests(struct requests *requests, struct err *err)
{
	requests->size = requests->count = 0;
	requests->overflow = false;
	return netlink < 0 ? err_set(err, -ENOTSUP, "the guest has no network: %m") : 0;
}

static int configure(const struct msg_interface *interfaces, size_t count, struct err *err)
{
	static struct requests requests;

	if (begin_requests(&requests, err) < 0)
		return err->code;
	for (size_t i = 0; i < MSG_INTERFACES_MAX; i++) {
		if (i < count && !nics[i])
			return err_set(err, -ENODEV, "the machine has no network interface %zu", i);
		if (nics[i] && i < count)
			add_interface(&requests, nics[i], &interfaces[i]);
		else if (i == 0 && nics[i])
			add_link(&requests, nics[i], false, NULL);
	}
	return requests.count ? carry_out(&requests, err) : 0;
}

/* Whatever addresses of IPv4 somebody has given it. */
static void flush_addresses(int fd, int index)
{
	struct ifreq request = { 0 };

	if (!if_indextoname((unsigned)index, request.ifr_name))
		return;
	for (int i = 0; i < ADDRESSES_MAX && ioctl(fd, SIOCGIFADDR, &request) == 0; i++) {
		request.ifr_addr = (struct sockaddr){ .sa_family = AF_INET };
		if (ioctl(fd, SIOCSIFADDR, &request) < 0)
			return;
	}
}

int net_replace(const struct msg_interface *interfaces, size_t count, struct err *err)
{
	static struct requests requests;
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (begin_requests(&requests, err) < 0)
		return err->code;
	for (size_t i = 0; i < MSG_INTERFACES_MAX; i++) {
		if (i < count && !nics[i])
			return err_set(err, -ENODEV, "the machine has no network interface %zu", i);
		if (!nics[i])
			continue;
		flush_addresses(fd, nics[i]);
		ordered[i] = i < count ? interfaces[i] : (struct msg_interface){ 0 };
		if (i < count)
			add_replacement(&requests, nics[i], &interfaces[i]);
		else
			add_link(&requests, nics[i], false, NULL);
	}
	return requests.count ? carry_out(&requests, err) : 0;
}

/* The process on the second CPU. */
static void work(int orders_fd, int results_fd)
{
	struct order order;
	struct err err = { 0 };

	if (sys_cpu_count() > 1)
		sys_use_cpu(1);
	if (fd_read_exact(orders_fd, &order, sizeof(order)) == 0) {
		configure(order.interfaces, order.count, &err);
		timeline_point("network: set up");
		fd_write_all(results_fd, &err, sizeof(err));
	}
	_exit(0);
}

static void start_worker(void)
{
	int order_pair[2];
	int result_pair[2];
	pid_t pid;

	if (sock_pair(order_pair, NULL) < 0 || sock_pair(result_pair, NULL) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		close(order_pair[0]);
		close(result_pair[0]);
		work(order_pair[1], result_pair[1]);
	}
	close(order_pair[1]);
	close(result_pair[1]);
	orders = order_pair[0];
	results = result_pair[0];
}

void net_prepare(void)
{
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	/* What is allowed to everybody in a container: the machine is its own. */
	sys_write_file("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
	sys_write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
	sys_write_file("/proc/sys/net/ipv4/tcp_rmem", RECEIVE_BUFFERS);
	raise_link(fd, "lo");
	each_nic(fd, move_aside, true);
	each_nic(fd, prepare_nic, false);
	netlink = open_netlink();
	start_worker();
}

void net_order(const struct msg_interface *interfaces, size_t count)
{
	struct order order = { .count = count };

	for (size_t i = 0; i < count; i++)
		ordered[i] = order.interfaces[i] = interfaces[i];
	/* One that fails is noticed by who waits for the result. */
	fd_write_all(orders, &order, sizeof(order));
	close(TAKE_FD(orders));
	close(TAKE_FD(results));
}

int net_await(struct err *err)
{
	struct err result;
	int r = fd_read_exact(results, &result, sizeof(result));

	if (r < 0)
		return err_set(err, r, "cannot set up the network: %m");
	return result.code < 0 ? err_set(err, result.code, "%s", result.message) : 0;
}

/* What it had goes first; that of the process that set up the session is gone by now, which leaves
 * the socket to hull-init. */
int net_change(const struct msg_interface_change *change, struct err *err)
{
	static struct requests requests;
	struct msg_interface *now = &ordered[change->nic];
	int index = nics[change->nic];

	if (!index)
		return err_set(err, -ENODEV, "the machine has no network interface %u",
			       change->nic);
	if (begin_requests(&requests, err) < 0)
		return err->code;
	add_addresses(&requests, index, true, now);
	*now = (struct msg_interface){ 0 };
	if (change->up)
		add_interface(&requests, index, &change->interface);
	else
		add_link(&requests, index, false, NULL);
	if (carry_out(&requests, err) < 0)
		return err->code;
	if (change->up)
		*now = change->interface;
	return 0;
}

void net_stats(struct msg_stats *stats)
{
	char text[8192];

	if (sys_read_file("/proc/net/dev", text, sizeof(text)) <= 0)
		return;
	AUTO_STRV char **lines = str_split(text, '\n', 0);
	STRV_EACH (lines, it) {
		unsigned long long rx;
		unsigned long long tx;
		char name[32];

		if (sscanf(*it, " %31[^:]: %llu %*u %*u %*u %*u %*u %*u %*u %llu", name, &rx,
			   &tx) != 3 ||
		    str_eq(name, "lo"))
			continue;
		stats->network_rx_bytes += rx;
		stats->network_tx_bytes += tx;
	}
}
