/* SPDX-License-Identifier: Apache-2.0 */
/* hull-netd: started by whoever joins a network first (net/client.c), never by hand. */
#include "net/netd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "net/confine.h"
#include "net/gateway.h"
#include "net/member.h"
#include "net/names.h"
#include "net/neighbours.h"
#include "net/publish.h"
#include "net/resolv_conf.h"
#include "net/tap.h"
#include "net/tcp.h"
#include "net/uplink.h"

#define CONFIG_MAX (256 * 1024)

/* Goes on as a child of nobody, so that whoever started it need not wait for it. */
static void leave_parent(void)
{
	pid_t pid = fork();

	if (pid < 0)
		_exit(1);
	if (pid > 0)
		_exit(0);
}

static int read_config(struct net_config *ret_config, struct err *err)
{
	AUTO_JSON json_t *json = NULL;
	AUTO_FREE char *text = NULL;
	size_t size = 0;
	int r = fd_read_text(NETD_FD_CONFIG, CONFIG_MAX, &text, &size);

	close(NETD_FD_CONFIG);
	if (r < 0)
		return err_set(err, r, "cannot read the specification of the network: %m");
	r = json_parse(text, size, "the specification of the network", &json, err);
	return r < 0 ? r : config_parse(json, ret_config, err);
}

/* Published connections take a descriptor each. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	limit = (struct rlimit){ 0, 0 };
	setrlimit(RLIMIT_CORE, &limit); /* frames of machines do not belong in a file */
}

static int run(struct netd *netd, struct err *err)
{
	int r = read_config(&netd->config, err);
	bool more = false;

	if (r < 0)
		return r;
	if (netd->config.debug)
		log_init("hull-netd", LOG_LEVEL_DEBUG);
	netd->resolv_helper = netd->config.internal ? -1 : resolv_conf_start_helper();
	netd->loop = loop_new();
	netd->names = names_new(netd);
	if (!netd->config.internal) {
		netd->uplink = uplink_new(netd, err);
		if (!netd->uplink)
			return -EINVAL;
		netd->tcp = tcp_stack_new(netd);
		netd->neighbours = neighbours_new(netd->loop, &netd->config, err);
		if (!netd->neighbours)
			return err->code;
	}
	netd->gateway = gateway_new(netd);
	netd->sw = switch_new(netd->loop, &netd->config, gateway_input, gateway_tap_passes,
			      gateway_ready, netd->gateway);
	netd->publisher = publisher_new(netd);
	netd->members = members_new(netd, NETD_FD_LISTENER);
	if (netd->config.tap && tap_new(netd, &netd->tap, err) < 0)
		log_debug("network=%s %s", netd->config.name, err->message);
	r = confine(err);
	if (r < 0)
		return r;
	log_debug("network=%s up", netd->config.name);
	while (!netd->done && (r = loop_run_once(netd->loop, more ? 0 : -1)) >= 0) {
		uplink_sync(netd->uplink);
		more = tcp_stack_sync(netd->tcp);
	}
	/* First of all, so that whoever comes now starts another one. */
	close(NETD_FD_LISTENER);
	netd->members = members_free(netd->members);
	netd->tap = tap_free(netd->tap);
	netd->publisher = publisher_free(netd->publisher);
	netd->tcp = tcp_stack_free(netd->tcp);
	netd->uplink = uplink_free(netd->uplink);
	netd->neighbours = neighbours_free(netd->neighbours);
	netd->names = names_free(netd->names);
	netd->sw = switch_free(netd->sw);
	netd->gateway = gateway_free(netd->gateway);
	loop_free(netd->loop);
	log_debug("network=%s down", netd->config.name);
	return r < 0 ? err_set(err, r, "cannot wait for frames: %m") : 0;
}

int main(int argc, char **argv)
{
	static struct netd netd;
	struct err err = { 0 };

	log_init("hull-netd", LOG_LEVEL_WARNING);
	if (argc != 2)
		return fputs("hull-netd is started by hull, not by hand\n", stderr), 64;
	for (int fd = NETD_FD_CONFIG; fd <= NETD_FD_DIR; fd++)
		if (fcntl(fd, F_GETFD) < 0 || fd_set_cloexec(fd, true) < 0)
			return fputs("hull-netd is started by hull, not by hand\n", stderr), 64;
	leave_parent();
	signal(SIGPIPE, SIG_IGN);
	raise_limits();
	if (run(&netd, &err) < 0) {
		log_error("network=%s %s", argv[1], err.message);
		return 1;
	}
	return 0;
}
