/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A member of a network without a virtual machine: a network namespace with a TAP device whose
 * frames go to hull-netd as a NIC's would, and a program in it. For tests and measurements.
 *
 * usage: net-machine [OPTION...] RUN NETD NUMBER PROGRAM [ARG...]
 *
 *   -i            an internal network         -m MTU
 *   -s THIRD      another subnet: 10.99.THIRD.0/24 and fd99:THIRD::/64, network nTHIRD
 *   -p [tcp|udp]:ADDRESS:HOST:CONTAINER[:any] publish; the host's port is told as "published N"
 *                 (write an IPv6 address as [ADDRESS])
 *   -h PORTS      of the host, that members reach  -n SERVER  its own name server
 *   -a NAME       an alias   -d DOMAIN   -t  a TAP device   -D  debug
 *   -4            a network without IPv6
 *   -e            no namespace: the program is an emulator, and has its end of the link as
 * descriptor 3 -w FD         the program starts once FD is at its end
 *
 * The machine is called cNUMBER, and is 10.99.1.NUMBER and fd99:1::NUMBER. It tells "ready" on
 * stdout before the program starts; when hull-netd dies, it joins again and says "rejoined".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "net/client.h"

#define RULES_MAX 64
#define FRAME_MAX 65600
#define BURST 32

static struct net_spec spec = { .linger_ms = 1, .name = "n1", .id = "n1" };
static struct net_member member;
static struct net_rule rules[RULES_MAX];
static size_t rule_count;
static const char *third = "1", *number;
static char **host_ports, **nameservers, **aliases;
static int start_fd = -1;
static bool emulator, ipv4_only;

static void die(const char *what)
{
	perror(what);
	exit(125);
}

static void add_rule(char *text)
{
	struct net_rule *rule = &rules[rule_count++];
	char *address = strchr(text, ':') + 1;
	char *ports = *address == '[' ? strchr(address, ']') + 1 : strchr(address, ':');
	AUTO_STRV char **parts = str_split(ports + 1, ':', 0);
	uint32_t host = 0;
	uint32_t container = 0;

	if (rule_count == RULES_MAX || str_parse_u32(parts[0], &host) < 0 ||
	    str_parse_u32(parts[1], &container) < 0)
		exit(64);
	*rule = (struct net_rule){
		.protocol = str_starts(text, "udp") ? NET_UDP : NET_TCP,
		.host_port = (uint16_t)host,
		.container_port = (uint16_t)container,
		.count = 1,
		.any_port = parts[2] != NULL,
		.address = *address == '[' ? xstrndup(address + 1, (size_t)(ports - address - 2))
					   : xstrndup(address, (size_t)(ports - address))
	};
}

static void run_lines(const char *lines)
{
	char *argv[] = { "sh", "-ec", (char *)lines, NULL };
	AUTO_FREE char *output = NULL;

	if (proc_output(argv, true, 65536, &output, NULL) != 0) {
		fprintf(stderr, "cannot set up the namespace: %s\n", str_or(output, ""));
		exit(125);
	}
}

/* As root in new namespaces; a user of its own if this is not root. */
static void enter_namespaces(void)
{
	AUTO_FREE char *map = xasprintf("0 %u 1", geteuid());

	if (geteuid() == 0) {
		if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
			die("unshare");
	} else {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) < 0)
			die("unshare");
		file_write_atomic("/proc/self/setgroups", "deny", 4, 0600, false, NULL);
		int fd = open("/proc/self/uid_map", O_WRONLY);

		if (fd < 0 || write(fd, map, strlen(map)) < 0)
			die("uid_map");
		close(fd);
	}
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int make_tap(void)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI, .ifr_name = "eth0" };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
		die("tap");
	return fd;
}

/* The child: a namespace, the TAP's descriptor for the parent, the program. */
static void be_program(int sock, const struct net_joined *joined, char **argv)
{
	AUTO_FREE char *lines = NULL;
	AUTO_FREE char *lines6 = NULL;
	AUTO_FREE char *resolv = xasprintf("%s/resolv.%s", spec.run, number);
	AUTO_FREE char *text = xasprintf("nameserver %s\n", joined->names);
	char go;
	int tap;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	enter_namespaces();
	tap = make_tap();
	lines = xasprintf(
		"sysctl -qw net.ipv6.conf.eth0.accept_dad=0 "
		"net.ipv6.conf.eth0.accept_ra=0 net.ipv4.ping_group_range='0 2147483647'\n"
		"ip link set lo up\n"
		"ip link set eth0 address %s mtu %u txqueuelen 1000 up\n"
		"ip addr add %s/24 dev eth0\nip route add default via %s\n",
		member.mac, joined->mtu, member.ipv4, joined->gateway);
	run_lines(lines);
	if (!ipv4_only) {
		lines6 = xasprintf("ip -6 addr add %s/64 dev eth0 nodad\n"
				   "ip -6 route add default via %s\n",
				   member.ipv6, joined->gateway6);
		run_lines(lines6);
	}
	if (file_write_atomic(resolv, text, strlen(text), 0644, false, NULL) == 0)
		mount(resolv, "/etc/resolv.conf", NULL, MS_BIND, NULL);
	if (sock_send_fd(sock, tap) < 0 || read(sock, &go, 1) != 1)
		_exit(125);
	close(tap);
	execvp(argv[0], argv);
	die(argv[0]);
}

/* Frames from one descriptor to the other. */
static void pump(int from, int to)
{
	static char frame[FRAME_MAX];

	for (int i = 0; i < BURST; i++) {
		ssize_t n = read(from, frame, sizeof(frame));

		if (n <= 0)
			return;
		while (write(to, frame, (size_t)n) < 0 && errno == EAGAIN)
			if (fd_wait(to, POLLOUT, 1000) <= 0)
				break;
	}
}

static struct net_client *join(int link, struct net_joined *joined)
{
	struct err err = { 0 };
	struct net_client *client = NULL;

	uint64_t start = clock_monotonic_ns();

	if (net_client_join(&spec, &member, link, &client, joined, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		exit(125);
	}
	if (spec.debug)
		fprintf(stderr, "joined in %llu us\n",
			(unsigned long long)(clock_monotonic_ns() - start) / 1000);
	return client;
}

static void publish(struct net_client *client)
{
	struct err err = { 0 };

	if (rule_count && net_client_publish(client, rules, rule_count, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		exit(126);
	}
}

static void tell(const char *word)
{
	for (size_t i = 0; i < rule_count; i++)
		printf("published %u\n", rules[i].host_port);
	printf("%s\n", word);
	fflush(stdout);
}

static struct net_client *rejoin(struct net_client *client, int link)
{
	struct net_joined joined;

	net_client_free(client);
	client = join(link, &joined);
	publish(client);
	tell("rejoined");
	return client;
}

static void wait_for_start(void)
{
	char byte;

	while (start_fd >= 0 && read(start_fd, &byte, 1) > 0)
		;
}

static int serve(struct net_client *client, int link, int nic, int tap, pid_t program)
{
	int pidfd = proc_pidfd(program);

	for (;;) {
		struct pollfd fds[] = { { .fd = nic, .events = POLLIN },
					{ .fd = tap, .events = POLLIN },
					{ .fd = pidfd, .events = POLLIN },
					{ .fd = net_client_fd(client), .events = POLLIN } };

		if (poll(fds, 4, -1) < 0)
			die("poll");
		if (fds[0].revents)
			pump(nic, tap);
		if (fds[1].revents)
			pump(tap, nic);
		if (fds[2].revents)
			return proc_wait(program);
		if (fds[3].revents)
			client = rejoin(client, link);
	}
}

static void parse(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "+4eim:s:p:h:n:a:d:tDw:")) >= 0) {
		uint32_t value = 0;

		switch (option) {
		case '4':
			ipv4_only = true;
			break;
		case 'e':
			emulator = true;
			break;
		case 'i':
			spec.internal = true;
			break;
		case 'm':
			str_parse_u32(optarg, &spec.mtu);
			break;
		case 's':
			third = optarg;
			break;
		case 'p':
			add_rule(optarg);
			break;
		case 'h':
			strv_push(&host_ports, optarg);
			break;
		case 'n':
			strv_push(&nameservers, optarg);
			break;
		case 'a':
			strv_push(&aliases, optarg);
			break;
		case 'd':
			spec.domain = optarg;
			break;
		case 't':
			spec.tap = true;
			break;
		case 'D':
			spec.debug = true;
			break;
		case 'w':
			str_parse_u32(optarg, &value);
			start_fd = (int)value;
			break;
		default:
			exit(64);
		}
	}
	if (argc - optind < 4)
		exit(64);
	spec.run = argv[optind];
	spec.program = argv[optind + 1];
	number = argv[optind + 2];
	spec.id = spec.name = xasprintf("n%s", third);
	spec.subnet = xasprintf("10.99.%s.0/24", third);
	spec.subnet6 = ipv4_only ? NULL : xasprintf("fd99:%s::/64", third);
	spec.host_ports = host_ports;
	member.nameservers = nameservers;
	member.uuid = member.name = xasprintf("c%s", number);
	member.aliases = aliases;
	member.mac =
		xasprintf("02:00:00:00:0%c:%02x", third[0], (unsigned)strtoul(number, NULL, 10));
	member.ipv4 = xasprintf("10.99.%s.%s", third, number);
	member.ipv6 = ipv4_only ? NULL : xasprintf("fd99:%s::%s", third, number);
}

/* Becomes the program, with descriptor 3; the link's other end is its parent's. */
static void be_emulator(int nic, char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if ((nic != 3 && dup2(nic, 3) < 0) || fd_set_cloexec(3, false) < 0)
		die("dup2");
	execvp(argv[0], argv);
	die(argv[0]);
}

/* Joins again as serve does, for as long as the program runs. */
static int serve_emulator(struct net_client *client, int link, pid_t program)
{
	int pidfd = proc_pidfd(program);

	for (;;) {
		struct pollfd fds[] = { { .fd = pidfd, .events = POLLIN },
					{ .fd = net_client_fd(client), .events = POLLIN } };

		if (poll(fds, 2, -1) < 0)
			die("poll");
		if (fds[0].revents)
			return proc_wait(program);
		client = rejoin(client, link);
	}
}

int main(int argc, char **argv)
{
	struct net_client *client;
	struct net_joined joined;
	int nic[2], sock[2], tap;
	pid_t pid;

	parse(argc, argv);
	if (net_pair(nic, NULL) < 0 || sock_pair(sock, NULL) < 0)
		die("pair");
	client = join(nic[1], &joined);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0 && emulator)
		be_emulator(nic[0], argv + optind + 3);
	if (emulator) {
		publish(client);
		tell("ready");
		return serve_emulator(client, nic[1], pid);
	}
	if (pid == 0)
		be_program(sock[1], &joined, argv + optind + 3);
	close(sock[1]);
	tap = sock_receive_fd(sock[0]);
	if (tap < 0)
		return 125;
	publish(client);
	tell("ready");
	wait_for_start();
	if (write(sock[0], "", 1) < 0)
		die("start");
	return serve(client, nic[1], nic[0], tap, pid);
}
