/* SPDX-License-Identifier: Apache-2.0 */
/* Words of the command line, checked once, here. All return 0 or -EINVAL with what is wrong. */
#ifndef CLI_PARSE_H
#define CLI_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/config.h"

#define CONTAINER_NAME_MAX 63

int parse_container_name(const char *text, struct err *err);
/* "nofile=1024:2048", "core=unlimited", "nproc=100". ret_limit->name is owned by the caller. */
int parse_ulimit(const char *text, struct rlimit_config *ret_limit, struct err *err);
/* Adds "CAP_NET_ADMIN" (or "ALL") of "net_admin", "CAP_NET_ADMIN", … */
int parse_capability(const char *text, char ***names, struct err *err);
/* no, on-failure[:N], always, unless-stopped. */
int parse_restart(const char *text, struct err *err);
/* size=SIZE of a disk for what a container writes. */
int parse_storage_option(const char *text, uint64_t *ret_bytes, struct err *err);
int parse_signal(const char *text, struct err *err);
/* K=V or K (empty value) into the object. */
int parse_label(const char *text, json_t *labels, struct err *err);
/* A point in time: "10m" ago, Unix seconds, or RFC 3339. Nanoseconds since the epoch. */
int parse_since(const char *text, int64_t now_ns, int64_t *ret_ns, struct err *err);

/* Sets K=V in the vector in place of an earlier value of K. "K" alone: its value in `own`, or
 * nothing when it has none there. */
int env_set(char ***environment, const char *text, char *const *own, struct err *err);
/* Every line of a file (or FIFO); comments and blank lines are skipped. */
int env_file(char ***environment, const char *path, char *const *own, struct err *err);

#endif
