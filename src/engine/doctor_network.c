/* SPDX-License-Identifier: Apache-2.0 */
/* What `system doctor` finds out about networks. */
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "engine/networks.h"
#include "engine/routes.h"

#define FILE_MAX (1 << 16)

/* proc(5): the effective set as hexadecimal digits. */
static bool has_net_admin(void)
{
	AUTO_FREE char *text = NULL;
	unsigned long long set = 0;
	const char *line;

	if (file_read("/proc/self/status", FILE_MAX, &text, NULL, NULL) < 0)
		return false;
	line = strstr(text, "\nCapEff:");
	return line && sscanf(line, "\nCapEff: %llx", &set) == 1 && (set & 1ull << CAP_NET_ADMIN);
}

static void examine_reach(struct engine *engine, struct doctor_report *report)
{
	AUTO_FREE char *netd = path_join(engine->programs, "hull-netd");

	if (access(netd, X_OK) < 0)
		doctor_add(
			report, "network", true, "hull-netd is missing",
			"install hull as a whole; without it containers run with --network none");
	else if (!engine->config.network_tap)
		doctor_add(report, "network", false,
			   "containers are reached by published ports (tap is off in [network])",
			   NULL);
	else if (has_net_admin() && access("/dev/net/tun", R_OK | W_OK) == 0)
		doctor_add(report, "network", false,
			   "the host reaches containers by their addresses (TAP)", NULL);
	else
		/* Nothing that has to be repaired: most users are here. */
		doctor_add(report, "network", false,
			   "containers are reached by published ports; by their addresses only "
			   "with CAP_NET_ADMIN and /dev/net/tun",
			   NULL);
}

static void examine_resolver(struct engine *engine, struct doctor_report *report)
{
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *finding = NULL;
	AUTO_STRV char **lines = NULL;
	char server[64];

	if (strv_count(engine->config.dns_nameservers)) {
		finding = xasprintf("%s, of the configuration", engine->config.dns_nameservers[0]);
		doctor_add(report, "names", false, finding, NULL);
		return;
	}
	file_read("/etc/resolv.conf", FILE_MAX, &text, NULL, NULL);
	lines = str_split(str_or(text, ""), '\n', 0);
	STRV_EACH (lines, it) {
		if (sscanf(*it, " nameserver %63s", server) != 1)
			continue;
		finding = xasprintf("%s, of /etc/resolv.conf", server);
		doctor_add(report, "names", false, finding, NULL);
		return;
	}
	doctor_add(report, "names", false, "/etc/resolv.conf names no server",
		   "containers resolve only each other: set nameservers in [dns]");
}

static void examine_ports(struct doctor_report *report)
{
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *finding = NULL;
	int first = 1024;

	if (geteuid() == 0 ||
	    file_read("/proc/sys/net/ipv4/ip_unprivileged_port_start", 64, &text, NULL, NULL) < 0)
		return;
	sscanf(text, "%d", &first);
	finding = xasprintf("this user may publish from port %d on", first);
	doctor_add(report, "ports", false, finding,
		   first > 80 ? "for port 80: sysctl net.ipv4.ip_unprivileged_port_start=80"
			      : NULL);
}

/* A VPN may have come up since the network was made. */
static void examine_subnets(struct engine *engine, struct doctor_report *report)
{
	CLEANUP(network_list_release) struct network_list list = { 0 };
	CLEANUP(subnets_release) struct subnets routes = { 0 };

	if (networks_list(engine->store, &list, NULL) < 0)
		return;
	routes_read(&routes);
	VEC_EACH (&list, it) {
		AUTO_FREE char *finding = NULL;
		char theirs[SUBNET_TEXT_MAX];
		char ours[SUBNET_TEXT_MAX];
		struct subnet route;

		if (it->internal || net_is_up(engine->root, it->name) ||
		    !subnets_overlap(&routes, &it->subnet, &route))
			continue; /* with a TAP, the route may be its own */
		subnet_text(&it->subnet, ours);
		subnet_text(&route, theirs);
		finding = xasprintf("%s (%s) overlaps the host's route to %s", it->name, ours,
				    theirs);
		doctor_add(report, "subnet", false, finding,
			   "its containers do not reach what is there: make another network");
	}
}

void doctor_examine_networks(struct engine *engine, struct doctor_report *report)
{
	examine_reach(engine, report);
	examine_resolver(engine, report);
	examine_ports(report);
	examine_subnets(engine, report);
}
