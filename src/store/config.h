/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container is made of, as users configured it: filled by `create` and `run`, kept as JSON
 * in the container's row, shown by `inspect`, carried out by the shim. All members are owned.
 */
#ifndef STORE_CONFIG_H
#define STORE_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/vec.h"

struct rlimit_config {
	char *name;          /* "RLIMIT_NOFILE" */
	uint64_t soft, hard; /* UINT64_MAX is unlimited */
};

struct process_config {
	char *executable;
	char **arguments;   /* without the executable */
	char **environment; /* K=V */
	char *working_directory;
	bool terminal;
	bool stdin_open; /* -i */
	char *user;      /* as given: name|uid[:group|gid]; NULL: root */
	char **supplemental_groups;
	VEC(struct rlimit_config) rlimits;
};

struct mount_config {
	char *type;   /* "bind", "volume", "tmpfs", "socket" */
	char *source; /* NULL for tmpfs */
	char *destination;
	char **options; /* "ro", "size=…" */
};

struct port_config {
	char *host_address;
	uint32_t host_port, container_port;
	char *proto; /* "tcp", "udp" */
	uint32_t count;
	bool automatic; /* host_port is a wish (0: none), replaced by what was free at a start */
};

struct network_config {
	char *network;
	char *hostname;
	char *mac_address; /* NULL: chosen */
	uint32_t mtu;      /* 0: the network's */
	char *address;     /* wished; NULL: chosen */
	char **aliases;    /* further names in the network */
};

struct dns_config {
	char **nameservers; /* none: the network's upstreams */
	char *domain;
	char **search_domains;
	char **options;
};

/* A socket of the container that is one of the host, too. */
struct socket_config {
	char *host_path, *container_path;
};

/* Where a secret comes from at each start; its content is kept nowhere. */
struct secret_config {
	char *id;
	char *file;     /* of the host; or NULL: */
	char *variable; /* of the environment of whoever starts it */
	char *target;   /* absolute, in the container */
	uint32_t mode;
};

/* A command that tells whether the container works, and when it is asked. */
struct health_config {
	char **test;          /* "CMD" and its words, or "CMD-SHELL" and a line; none: no check */
	uint64_t interval_ms; /* 0: the default, as of all of these */
	uint64_t timeout_ms;
	uint64_t start_period_ms; /* in which failures do not count */
	uint64_t start_interval_ms;
	uint32_t retries; /* failures in a row that make it unhealthy */
};

struct container_config {
	char *id; /* what users call it: --name, or a UUID */
	struct {
		char *reference;
		char *media_type;
		char *digest; /* of what the reference names: index or manifest */
		uint64_t size;
	} image;
	char *manifest_digest; /* of the platform's manifest */
	char *root_key;        /* which merged disk (see image/content.h) */
	VEC(struct mount_config) mounts;
	VEC(struct port_config) ports;
	json_t *labels;                      /* object of strings; never NULL after init */
	char **sysctls;                      /* K=V */
	VEC(struct network_config) networks; /* none: only the loopback */
	struct dns_config dns;
	bool no_dns;                   /* /etc/resolv.conf stays the image's */
	char **add_hosts;              /* NAME:ADDRESS, further lines of /etc/hosts */
	struct process_config process; /* the init process */
	struct {
		char *os, *architecture, *variant;
	} platform;
	uint32_t cpus;        /* that it sees */
	uint32_t cpu_percent; /* of one CPU, that it may use in all; 0: all of them */
	uint64_t memory_bytes;
	uint64_t pids_limit;               /* 0 none */
	VEC(struct socket_config) sockets; /* published */
	VEC(struct secret_config) secrets;
	bool ssh; /* the agent of whoever starts it */
	bool read_only;
	bool use_init;
	bool privileged;
	bool auto_remove;
	char **cap_add, **cap_drop;
	uint64_t shm_bytes;     /* 0: default 64 MiB */
	uint64_t storage_bytes; /* of the disk for its writes; 0: the default */
	char *stop_signal;      /* NULL: TERM */
	char **masked_paths, **read_only_paths;
	bool default_masked_paths, default_read_only_paths; /* true: the defaults of hull apply */
	char *hostname;                                     /* NULL: the id, cut to 63 */
	char *kernel;                                       /* --kernel; NULL: the configured one */
	struct health_config health;
	char *restart;      /* "no", "on-failure[:N]", … ; NULL: no */
	int64_t created_at; /* Unix seconds */
	char *origin;       /* the container or snapshot that it was copied from; NULL */
	uint32_t generation, fork_index; /* as of MSG_REJOIN; 0: it is no copy */
};

/* Empty, with hull's default masked and read-only paths. */
void container_config_init(struct container_config *config);
void container_config_release(struct container_config *config);
/* Of a positive number: sees as many as it has parts of. */
void config_set_cpus(struct container_config *config, uint32_t hundredths);

struct config_limits {           /* what `update` changes; 0, NULL or "": stays as it is */
	uint32_t cpu_hundredths; /* 150: one and a half */
	uint64_t memory_bytes;
	uint32_t pids_limit;
	const char *restart; /* borrowed */
};
void config_set_limits(struct container_config *config, const struct config_limits *limits);
void process_config_release(struct process_config *process);
void network_config_release(struct network_config *network);

/* The JSON of the command line's contract (configuration of a container), a new reference; members
 * that only hull needs are kept under "hull". NULL when a text is not UTF-8. from_json accepts what
 * to_json writes (absent members stay as init leaves them, the id is required); -EBADMSG else. */
json_t *container_config_to_json(const struct container_config *config);
int container_config_from_json(const json_t *json, struct container_config *ret_config,
			       struct err *err);

#endif
