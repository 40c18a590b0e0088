/* SPDX-License-Identifier: Apache-2.0 */
/* The options of run and create that say how the container is reached and what it reaches. */
#ifndef CLI_NETWORK_OPTIONS_H
#define CLI_NETWORK_OPTIONS_H

#include "cli/cli.h"

struct network_flags {
	char **networks, **aliases, **publish;
	bool publish_all, no_publish, no_dns;
	char **nameservers, **dns_options, **search_domains, **add_hosts;
	const char *domain;
};

extern const struct option_spec network_options[];
#define NETWORK_GROUP(container, member)                                        \
	{                                                                       \
		"Network options", network_options, offsetof(container, member) \
	}

/* Checks the words and fills them into config (initialised); -EINVAL with what is wrong. */
int network_flags_apply(const struct network_flags *flags, struct container_config *config,
			struct err *err);

/* Single words; all 0 or -EINVAL. */

/* NAME[,mac=XX:…][,mtu=N][,ip=ADDRESS]; appends to the networks of config. */
int parse_network(const char *text, struct container_config *config, struct err *err);
/* [[IP:]HOST:]CONTAINER[/PROTOCOL], HOST and CONTAINER a port or a range; IPv6 addresses in
 * brackets. Without HOST any free port. Appends to the ports of config. */
int parse_publish(const char *text, struct container_config *config, struct err *err);
/* -EINVAL when one of the last `added` ports of config takes a host port of another. */
int check_publish(const struct container_config *config, struct err *err);
/* NAME:ADDRESS or NAME=ADDRESS (or host-gateway). */
int parse_add_host(const char *text, struct container_config *config, struct err *err);
int parse_mac(const char *text, struct err *err);
int parse_address(const char *text, struct err *err);
/* A name that others can ask for: letters, digits, '-', '_' and '.'. */
int parse_host_name(const char *text, struct err *err);

#endif
