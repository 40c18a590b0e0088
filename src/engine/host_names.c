/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/host_names.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/lock.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "engine/network.h"
#include "engine/networks.h"
#include "store/networks.h"

#define DOMAINS_SETTING "dns-domains" /* separated by spaces */
#define PORT_SETTING "dns-port"
#define PORT_FIRST 10053
#define PORTS_TRIED 100
#define BACKLOG 64
#define DOMAINS_MAX 16

int host_names_domains(struct store *store, char ***ret_domains, struct err *err)
{
	AUTO_FREE char *text = NULL;
	int r = store_get_setting(store, DOMAINS_SETTING, &text, err);

	if (r < 0)
		return r;
	*ret_domains = text && *text ? str_split(text, ' ', 0) : NULL;
	return 0;
}

/* --- answers --- */

/* Whether one of this host's own addresses is in the subnet: it has a TAP device there. */
static bool is_reached(const struct subnet *subnet)
{
	struct ifaddrs *all = NULL;
	bool reached = false;

	if (getifaddrs(&all) < 0)
		return false;
	for (const struct ifaddrs *it = all; it && !reached; it = it->ifa_next) {
		struct subnet single = { .family = it->ifa_addr ? it->ifa_addr->sa_family : 0 };

		if (single.family == AF_INET) {
			single.prefix = 32;
			memcpy(single.bytes,
			       &((const struct sockaddr_in *)(const void *)it->ifa_addr)->sin_addr,
			       4);
		} else if (single.family == AF_INET6) {
			single.prefix = 128;
			memcpy(single.bytes,
			       &((const struct sockaddr_in6 *)(const void *)it->ifa_addr)
					->sin6_addr,
			       16);
		}
		reached = single.prefix && subnet_overlaps(subnet, &single);
	}
	freeifaddrs(all);
	return reached;
}

static void add_lease(struct store *store, const struct lease *lease, struct dns_answer *answer)
{
	CLEANUP(network_release) struct network network = { 0 };
	uint8_t bytes[16];

	if (networks_get(store, lease->network, &network, NULL) < 0 || !is_reached(&network.subnet))
		return;
	if (answer->count4 < DNS_ADDRESSES_MAX) {
		subnet_host_bytes(&network.subnet, lease->host, bytes);
		memcpy(&answer->addresses4[answer->count4++], bytes, sizeof(struct in_addr));
	}
	if (network.subnet6.family && answer->count6 < DNS_ADDRESSES_MAX) {
		subnet_host_bytes(&network.subnet6, lease->host, bytes);
		memcpy(&answer->addresses6[answer->count6++], bytes, sizeof(struct in6_addr));
	}
}

static void add_container(struct store *store, const struct container *container,
			  struct dns_answer *answer)
{
	CLEANUP(lease_list_release) struct lease_list leases = { 0 };

	answer->code = DNS_OK;
	if (leases_list(store, container->uuid, NULL, &leases, NULL) < 0)
		return;
	VEC_EACH (&leases, it)
		add_lease(store, it, answer);
	if (!answer->count4 && !answer->count6)
		answer->addresses4[answer->count4++].s_addr = htonl(INADDR_LOOPBACK);
}

/* The part before one of the domains; false when it is below none. */
static bool within(char *const *domains, const char *name, char ret_label[DNS_NAME_SIZE])
{
	STRV_EACH (domains, it) {
		size_t length = strlen(name);
		size_t suffix = strlen(*it);

		if (length < suffix || !str_ends(name, *it) ||
		    (length > suffix && name[length - suffix - 1] != '.'))
			continue;
		length = length > suffix ? length - suffix - 1 : 0;
		memcpy(ret_label, name, length);
		ret_label[length] = '\0';
		return true;
	}
	return false;
}

void host_names_answer(struct store *store, char *const *domains, const struct dns_query *query,
		       struct dns_answer *ret_answer)
{
	CLEANUP(container_list_release) struct container_list list = { 0 };
	char label[DNS_NAME_SIZE];

	*ret_answer = (struct dns_answer){ .code = DNS_REFUSED };
	if (!within(domains, query->name, label))
		return;
	ret_answer->code = *label ? DNS_NO_SUCH_NAME : DNS_OK;
	if (containers_list(store, &list, NULL) < 0)
		return;
	for (size_t i = 0; *label && i < list.count; i++)
		if (strcasecmp(list.items[i]->config.id, label) == 0 &&
		    container_is_active(list.items[i]))
			add_container(store, list.items[i], ret_answer);
}

/* --- the process --- */

/* The same port for both protocols: not owned, -1 when it is not there. */
struct dns_sockets {
	int udp, tcp;
};

static void dns_sockets_release(struct dns_sockets *sockets)
{
	if (sockets->udp >= 0)
		close(sockets->udp);
	if (sockets->tcp >= 0)
		close(sockets->tcp);
}

static int bind_one(uint32_t port, int type)
{
	const struct sockaddr_in address = { .sin_family = AF_INET,
					     .sin_port = htons((uint16_t)port),
					     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	AUTO_CLOSE int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int yes = 1;

	if (fd < 0 ||
	    (type == SOCK_STREAM &&
	     setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0) ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, BACKLOG) < 0))
		return -errno;
	return TAKE_FD(fd);
}

static int bind_port(uint32_t port, struct dns_sockets *ret_sockets)
{
	AUTO_CLOSE int udp = bind_one(port, SOCK_DGRAM);
	AUTO_CLOSE int tcp = udp < 0 ? -1 : bind_one(port, SOCK_STREAM);

	if (udp < 0 || tcp < 0)
		return udp < 0 ? udp : tcp;
	*ret_sockets = (struct dns_sockets){ TAKE_FD(udp), TAKE_FD(tcp) };
	return 0;
}

/* The port that it had, which the host's resolver may have been told; at first the next free one.
 */
static int open_sockets(struct engine *engine, uint32_t *ret_port, struct dns_sockets *ret_sockets,
			struct err *err)
{
	AUTO_FREE char *text = NULL;
	uint32_t port = 0;
	int r = store_get_setting(engine->store, PORT_SETTING, &text, err);

	if (r < 0)
		return r;
	if (text && str_parse_u32(text, &port) == 0) {
		*ret_port = port;
		r = bind_port(port, ret_sockets);
		return r < 0 ? err_set(err, r, "cannot use port %u of 127.0.0.1: %m", port) : 0;
	}
	r = -EADDRINUSE;
	for (port = PORT_FIRST; r < 0 && port < PORT_FIRST + PORTS_TRIED; port++)
		r = bind_port(*ret_port = port, ret_sockets);
	if (r < 0)
		return err_set(err, r, "no port of 127.0.0.1 is free for names: %m");
	free(text);
	text = xasprintf("%u", *ret_port);
	return store_set_setting(engine->store, PORT_SETTING, text, err);
}

static int spawn(struct engine *engine, const char *control_path, uint32_t *ret_port,
		 struct err *err)
{
	AUTO_FREE char *program = path_join(engine->programs, "hull-dns");
	CLEANUP(dns_sockets_release) struct dns_sockets sockets = { -1, -1 };
	int r = open_sockets(engine, ret_port, &sockets, err);
	AUTO_CLOSE int control = r < 0 ? r : sock_listen(control_path, err);
	char *argv[] = { program, engine->root, NULL };
	AUTO_CLOSE int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* Whoever reads what this command prints does not wait for the end of its service. */
	const struct proc_fd fds[] = { { nothing, 0 },
				       { nothing, 1 },
				       { nothing, 2 },
				       { sockets.udp, DNS_FD_SOCKET },
				       { control, DNS_FD_CONTROL },
				       { sockets.tcp, DNS_FD_LISTENER } };
	const struct proc_spec spec = {
		.argv = argv, .fds = fds, .fd_count = ARRAY_SIZE(fds), .new_session = true
	};
	pid_t pid;

	if (control < 0)
		return control;
	if (nothing < 0)
		return err_set(err, -errno, "cannot open /dev/null: %m");
	return proc_spawn(&spec, &pid, err);
}

int host_names_serve(struct engine *engine, uint32_t *ret_port, struct err *err)
{
	AUTO_FREE char *control_path = path_join(engine->root, "dns");
	AUTO_FREE char *lock_path = path_join(engine->root, "dns.lock");
	AUTO_FREE char *port = NULL;
	AUTO_CLOSE int lock = lock_take(lock_path, LOCK_EXCLUSIVE, true, err);
	AUTO_CLOSE int told = -1;
	AUTO_STRV char **domains = NULL;
	int r = lock < 0 ? lock : host_names_domains(engine->store, &domains, err);

	if (r < 0)
		return r;
	told = sock_connect(control_path, NULL);
	if (told < 0 && domains)
		return spawn(engine, control_path, ret_port, err);
	r = store_get_setting(engine->store, PORT_SETTING, &port, err);
	if (r == 0 && port)
		str_parse_u32(port, ret_port);
	return r;
}

/* --- domains --- */

static int check_domain(const char *domain, struct err *err)
{
	size_t length = strlen(domain);

	if (!length || length > 200 || domain[0] == '.' || domain[0] == '-' ||
	    strspn(domain, "abcdefghijklmnopqrstuvwxyz0123456789-.") != length ||
	    strstr(domain, "..") || domain[length - 1] == '.')
		return err_set(err, -EINVAL,
			       "invalid domain '%s': lower-case letters, digits, '-' and '.'",
			       domain);
	return 0;
}

static int write_domains(struct engine *engine, char *const *domains, struct err *err)
{
	AUTO_SBUF struct sbuf text = { 0 };

	STRV_EACH (domains, it)
		sbuf_addf(&text, "%s%s", text.length ? " " : "", *it);
	return store_set_setting(engine->store, DOMAINS_SETTING, text.text, err);
}

static int add_domain(struct engine *engine, const char *domain, struct err *err)
{
	AUTO_STRV char **domains = NULL;
	int r = host_names_domains(engine->store, &domains, err);

	if (r < 0)
		return r;
	if (strv_contains(domains, domain))
		return err_set(err, -EEXIST, "domain %s already exists", domain);
	if (strv_count(domains) >= DOMAINS_MAX)
		return err_set(err, -E2BIG, "at most %d domains", DOMAINS_MAX);
	strv_push(&domains, domain);
	return write_domains(engine, domains, err);
}

static int remove_domain(struct engine *engine, const char *domain, struct err *err)
{
	AUTO_STRV char **domains = NULL;
	AUTO_STRV char **left = NULL;
	int r = host_names_domains(engine->store, &domains, err);

	if (r < 0)
		return r;
	if (!strv_contains(domains, domain))
		return err_set(err, -ENOENT, "domain not found: %s", domain);
	STRV_EACH (domains, it)
		if (!str_eq(*it, domain))
			strv_push(&left, *it);
	return write_domains(engine, left, err);
}

/* Two commands at the same time change the same list. */
static int change_domains(struct engine *engine,
			  int (*change)(struct engine *engine, const char *domain, struct err *err),
			  const char *domain, struct err *err)
{
	int r = store_begin(engine->store, err);

	if (r < 0)
		return r;
	r = change(engine, domain, err);
	if (r == 0)
		r = store_commit(engine->store, err);
	if (r < 0)
		store_rollback(engine->store);
	return r;
}

int engine_dns_create(struct engine *engine, const char *domain, uint32_t *ret_port,
		      struct err *err)
{
	int r = check_domain(domain, err);

	if (r == 0)
		r = change_domains(engine, add_domain, domain, err);
	return r < 0 ? r : host_names_serve(engine, ret_port, err);
}

int engine_dns_delete(struct engine *engine, const char *domain, struct err *err)
{
	uint32_t port = 0;
	int r = change_domains(engine, remove_domain, domain, err);

	return r < 0 ? r : host_names_serve(engine, &port, err);
}

int engine_dns_list(struct engine *engine, char ***ret_domains, struct err *err)
{
	return host_names_domains(engine->store, ret_domains, err);
}
