/* SPDX-License-Identifier: Apache-2.0 */
/* The options of run and create for what comes from the caller's own host: sockets and secrets. */
#ifndef CLI_SOCKET_OPTIONS_H
#define CLI_SOCKET_OPTIONS_H

#include "cli/cli.h"

struct socket_flags {
	char **published, **secrets;
	bool ssh;
};

extern const struct option_spec socket_options[];
#define SOCKET_GROUP(container, member)                                            \
	{                                                                          \
		"Sockets and secrets", socket_options, offsetof(container, member) \
	}

/* Checks the words and fills them into config; -EINVAL with what is wrong. */
int socket_flags_apply(const struct socket_flags *flags, struct container_config *config,
		       struct err *err);

/* HOST_PATH:CONTAINER_PATH; appends to the sockets of config. */
int parse_publish_socket(const char *text, struct container_config *config, struct err *err);
/* id=NAME[,src=FILE|,env=VARIABLE][,target=PATH][,mode=OCTAL]; appends to the secrets. */
int parse_secret(const char *text, struct container_config *config, struct err *err);

#endif
