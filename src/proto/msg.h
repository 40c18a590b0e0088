/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control messages between the host (shim) and the guest's init, as checked structs. A decoder
 * checks everything that the struct's users rely on (ranges, counts, NULs), so that code beyond it
 * never parses again. Each msg_X has msg_X_encode(msg, out) and msg_X_decode(data, size, ret),
 * which returns 0 or -EPROTO; decoded strings are borrowed from data, arrays are freed by
 * msg_X_release. Strings that a message does not need may be NULL when encoding and are "" when
 * decoded.
 *
 * A session. The guest's init opens the port when it has booted and waits; a template is saved
 * there. Whoever connects (after a cold boot or a restore) sends MSG_SESSION first, with everything
 * the guest needs to become this container, its first process included: one round trip. The guest
 * answers MSG_SESSION_DONE (or MSG_FAILED with process 0), then for each process MSG_STARTED or
 * MSG_FAILED, and MSG_EXITED when it ends, after the last byte of its output.
 */
#ifndef PROTO_MSG_H
#define PROTO_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define MSG_VERSION 2
#define MSG_ENTROPY_SIZE 64
#define MSG_MOUNTS_MAX 128
#define MSG_RLIMITS_MAX 16
#define MSG_STRINGS_MAX 65536
#define MSG_FILES_MAX 128
#define MSG_INTERFACES_MAX 8
#define MSG_PROCESS_ID_MAX (UINT32_MAX >> 2) /* so that its streams have numbers */

enum msg_type {
	MSG_HELLO = 1, /* guest: sent once when its init is ready (after a cold boot): msg_hello */
	MSG_SESSION = 2,      /* host: msg_session */
	MSG_SESSION_DONE = 3, /* guest: empty */
	MSG_EXEC = 4,         /* host: msg_process */
	MSG_STARTED = 5,      /* guest: msg_started */
	MSG_FAILED = 6, /* guest: msg_failed: a process (or, 0, the session) could not start */
	MSG_EXITED = 7, /* guest: msg_exited */
	MSG_SIGNAL = 8, /* host: msg_signal */
	MSG_RESIZE = 9, /* host: msg_resize */
	MSG_SHUTDOWN =
		10, /* host: msg_shutdown: end all processes, sync, unmount, answer, power off */
	MSG_SHUTDOWN_DONE = 11, /* guest: empty: disks are clean, QEMU can be ended now */
	MSG_STATS = 12,         /* host: empty */
	MSG_STATS_REPLY = 13,   /* guest: msg_stats */
	MSG_LIMITS = 14,        /* host: msg_limits: change the container's limits while it runs */
	MSG_PING = 15,          /* host: empty */
	MSG_PONG = 16,          /* guest: empty */
	MSG_TIMELINE = 18,  /* guest: msg_timeline, before MSG_STARTED of the main process, if the
			       session asked for it */
	MSG_OOM = 17,       /* guest: empty: the container's memory limit killed something */
	MSG_INTERFACE = 20, /* host: msg_interface_change, while the container runs */
	MSG_INTERFACE_DONE = 21, /* guest: msg_interface_done, to each of them */
	MSG_FILE = 22,           /* host: msg_file: what a file of the session holds now */
	MSG_CLOCK = 23,          /* host: empty: what time is it? */
	MSG_CLOCK_REPLY = 24,    /* guest: msg_clock */
	MSG_CLOCK_SHIFT = 25,    /* host: msg_clock_shift: so much is missing */
	MSG_TOP = 62,            /* host: empty */
	MSG_TOP_REPLY = 63,      /* guest: msg_top (proto/top.h) */
	MSG_PREPARE = 60,  /* host: msg_prepare, before a session: mount the root file system */
	MSG_PREPARED = 61, /* guest: empty: done (or MSG_FAILED with process 0) */
};

/* Streams of process p (1 …): stdin flows to the guest, the others from it. With a terminal, stdout
 * carries its output and stderr is not used. The guest opens them when it decodes the process, the
 * host before it sends it. */
enum msg_stream {
	MSG_STREAM_STDIN = 1,
	MSG_STREAM_STDOUT = 2,
	MSG_STREAM_STDERR = 3,
};
#define MSG_STREAM(process, which) (((process) << 2) | (which))
#define MSG_PROCESS_MAIN 1 /* the container's first process */

struct msg_hello {
	uint32_t version;   /* MSG_VERSION */
	const char *kernel; /* uname -r */
};

struct msg_rlimit {
	uint32_t resource; /* RLIMIT_* of Linux */
	uint64_t soft;     /* UINT64_MAX is unlimited */
	uint64_t hard;
};

enum msg_process_flags {
	MSG_PROCESS_TTY = 1 << 0,
	MSG_PROCESS_STDIN = 1 << 1, /* stdin is the stream; otherwise /dev/null */
	MSG_PROCESS_INIT = 1 << 2,  /* main process: run below a reaper of its own (--init) */
	MSG_PROCESS_NO_NEW_PRIVILEGES = 1 << 3,
	MSG_PROCESS_PRIVILEGED = 1 << 4, /* all capabilities, nothing masked */
	MSG_PROCESS_FLAGS_ALL = (1 << 5) - 1,
};

struct msg_process {
	uint32_t id;    /* 1 …, chosen by the host, not in use */
	uint32_t flags; /* enum msg_process_flags */
	char **args;    /* at least one; args[0] is looked up in PATH of env inside the container */
	char **env;
	const char *cwd; /* absolute; created if missing, as others do; "" is "/" */
	const char
		*user; /* "", "name", "uid", "name:group", "uid:gid": looked up in the container */
	char **groups; /* supplementary ones, by name or number, besides those of the user */
	uint64_t capabilities;  /* bounding, permitted, effective (if root) sets: bit n is CAP n */
	uint16_t rows, columns; /* of the terminal; 0 unknown */
	size_t rlimit_count;
	struct msg_rlimit rlimits[MSG_RLIMITS_MAX];
};

enum msg_mount_type {
	MSG_MOUNT_TMPFS = 0,  /* options: mount data such as size=64m,mode=1777 */
	MSG_MOUNT_BLOCK = 1,  /* source: a disk's serial; options: file system type and mount data:
				 "ext4,noatime" */
	MSG_MOUNT_SHARE = 2,  /* source: number of a share (proto/share.h), in order; options:
				 "directory" or "file" */
	MSG_MOUNT_BIND = 3,   /* source: an absolute path inside the container */
	MSG_MOUNT_VOLUME = 4, /* source: serial of a disk with ext4, which, if it is empty, gets
				 what the root has at target; options: mount data */
	MSG_MOUNT_SOCKET = 5, /* source: number of a relay of the host (proto/sockets.h) */
	MSG_MOUNT_TYPE_COUNT
};

struct msg_mount {
	uint32_t type; /* enum msg_mount_type */
	bool read_only;
	const char *source;
	const char *target; /* absolute, in the container; missing ones are created */
	const char *options;
};

struct msg_file { /* written by the agent inside the container before it starts (/etc/hosts …) */
	const char *path;
	const char *content;
	uint32_t mode;
	bool for_user; /* it is the main process's user's; else root's */
	size_t size;   /* encoding: 0: the content is text */
};

/* A network interface; number n of a session is the machine's NIC n, "eth<n>". Addresses are in
 * network order; a prefix of 0: no such address, a gateway of zeros: no default route by it. */
struct msg_interface {
	uint8_t mac[6];
	uint32_t mtu; /* 0: as the NIC has it */
	uint8_t ipv4[4], ipv4_gateway[4];
	uint8_t ipv4_prefix; /* at most 32 */
	uint8_t ipv6[16], ipv6_gateway[16];
	uint8_t ipv6_prefix; /* at most 128 */
};

struct msg_interface_change {
	uint32_t nic; /* below MSG_INTERFACES_MAX */
	bool up;      /* false: it loses its addresses and is switched off */
	struct msg_interface interface;
};

struct msg_interface_done {
	uint32_t nic;
	const char *message; /* one line: what failed; "": nothing */
};

struct msg_clock {
	uint64_t wall_clock_ns; /* since the Unix epoch */
};

struct msg_clock_shift {
	int64_t ns; /* to be added to the guest's time */
};

struct msg_limits {
	uint64_t memory_bytes;      /* 0: none */
	uint32_t cpus;              /* the container may use CPUs 0 … cpus-1; 0: all */
	uint32_t cpu_quota_percent; /* of one CPU, in all; 0: none */
	uint64_t pids;              /* 0: none */
};

/* What a template for one image is told: see struct msg_session for the serials. */
struct msg_prepare {
	const char *root_serial;
	const char *scratch_serial;
};

struct msg_session {
	uint32_t version;                  /* MSG_VERSION */
	uint64_t wall_clock_ns;            /* set as the guest's time */
	uint8_t entropy[MSG_ENTROPY_SIZE]; /* credited; the kernel's generator is reseeded with it
					    */
	const char *hostname;
	const char *domainname;  /* "" none */
	const char *root_serial; /* disk slot with the image (EROFS) */
	const char *
		scratch_serial; /* disk slot with the writable ext4; "": a tmpfs holds the writes */
	bool root_read_only;
	uint64_t shm_bytes; /* of /dev/shm */
	struct msg_limits limits;
	bool default_masked;    /* msg_default_masked_paths are masked */
	bool default_read_only; /* msg_default_read_only_paths cannot be written */
	char **masked_paths;    /* further ones */
	char **read_only_paths;
	char **sysctls; /* "net.core.somaxconn=1024" */
	size_t mount_count;
	struct msg_mount *mounts; /* in this order; owned by the decoded message */
	size_t file_count;
	struct msg_file *files; /* owned by the decoded message */
	size_t interface_count; /* NICs beyond them are switched off */
	struct msg_interface interfaces[MSG_INTERFACES_MAX];
	bool rehearse;        /* on the second CPU: see guest/rehearsal.h */
	bool timeline;        /* tell when each step of the start was reached */
	bool scratch_is_lost; /* at the end: it need not be written out */
	bool has_process;
	struct msg_process process; /* the main process, id MSG_PROCESS_MAIN */
};

/* Known to both sides, so that a template's guest can restrict them in advance. NULL-terminated. */
extern const char *const msg_default_masked_paths[];
extern const char *const msg_default_read_only_paths[];

struct msg_started {
	uint32_t process;
	uint32_t pid; /* in the guest */
};

struct msg_failed {
	uint32_t process;
	uint32_t status;     /* 125 setting up failed, 126 cannot be executed, 127 not found */
	const char *message; /* one line: what failed on what */
};

struct msg_exited {
	uint32_t process;
	uint32_t status; /* exit status, or 128+n when signal n ended it */
	bool oom_killed;
};

#define MSG_TIMELINE_MAX 32

struct msg_timeline {
	size_t count;
	struct {
		const char *name; /* one line */
		uint64_t ns;      /* since the session's message was read, on the guest's clock */
	} points[MSG_TIMELINE_MAX];
};

struct msg_signal {
	uint32_t process;
	uint32_t signal;
	bool whole_group; /* of its process group, not it alone */
};

struct msg_resize {
	uint32_t process;
	uint16_t rows, columns;
};

struct msg_shutdown {
	uint32_t signal;     /* to the main process first, if it still runs; 0: straight to KILL */
	uint32_t timeout_ms; /* then KILL */
};

struct msg_stats {
	uint64_t memory_usage_bytes, memory_limit_bytes;
	uint64_t cpu_usage_usec;
	uint64_t network_rx_bytes, network_tx_bytes;
	uint64_t block_read_bytes, block_write_bytes;
	uint64_t processes;
};

void msg_hello_encode(const struct msg_hello *msg, struct sbuf *out);
int msg_hello_decode(const uint8_t *data, size_t size, struct msg_hello *ret_msg);
void msg_prepare_encode(const struct msg_prepare *msg, struct sbuf *out);
int msg_prepare_decode(const uint8_t *data, size_t size, struct msg_prepare *ret_msg);
void msg_session_encode(const struct msg_session *msg, struct sbuf *out);
int msg_session_decode(const uint8_t *data, size_t size, struct msg_session *ret_msg);
void msg_session_release(struct msg_session *msg);
void msg_process_encode(const struct msg_process *msg, struct sbuf *out);
int msg_process_decode(const uint8_t *data, size_t size, struct msg_process *ret_msg);
void msg_process_release(struct msg_process *msg);
void msg_file_encode(const struct msg_file *msg, struct sbuf *out);
int msg_file_decode(const uint8_t *data, size_t size, struct msg_file *ret_msg);
void msg_interface_change_encode(const struct msg_interface_change *msg, struct sbuf *out);
int msg_interface_change_decode(const uint8_t *data, size_t size,
				struct msg_interface_change *ret_msg);
void msg_interface_done_encode(const struct msg_interface_done *msg, struct sbuf *out);
int msg_interface_done_decode(const uint8_t *data, size_t size, struct msg_interface_done *ret_msg);
void msg_started_encode(const struct msg_started *msg, struct sbuf *out);
int msg_started_decode(const uint8_t *data, size_t size, struct msg_started *ret_msg);
void msg_failed_encode(const struct msg_failed *msg, struct sbuf *out);
int msg_failed_decode(const uint8_t *data, size_t size, struct msg_failed *ret_msg);
void msg_exited_encode(const struct msg_exited *msg, struct sbuf *out);
int msg_exited_decode(const uint8_t *data, size_t size, struct msg_exited *ret_msg);
void msg_timeline_encode(const struct msg_timeline *msg, struct sbuf *out);
int msg_timeline_decode(const uint8_t *data, size_t size, struct msg_timeline *ret_msg);
void msg_signal_encode(const struct msg_signal *msg, struct sbuf *out);
int msg_signal_decode(const uint8_t *data, size_t size, struct msg_signal *ret_msg);
void msg_resize_encode(const struct msg_resize *msg, struct sbuf *out);
int msg_resize_decode(const uint8_t *data, size_t size, struct msg_resize *ret_msg);
void msg_shutdown_encode(const struct msg_shutdown *msg, struct sbuf *out);
int msg_shutdown_decode(const uint8_t *data, size_t size, struct msg_shutdown *ret_msg);
void msg_stats_encode(const struct msg_stats *msg, struct sbuf *out);
int msg_stats_decode(const uint8_t *data, size_t size, struct msg_stats *ret_msg);
void msg_clock_encode(const struct msg_clock *msg, struct sbuf *out);
int msg_clock_decode(const uint8_t *data, size_t size, struct msg_clock *ret_msg);
void msg_clock_shift_encode(const struct msg_clock_shift *msg, struct sbuf *out);
int msg_clock_shift_decode(const uint8_t *data, size_t size, struct msg_clock_shift *ret_msg);
void msg_limits_encode(const struct msg_limits *msg, struct sbuf *out);
int msg_limits_decode(const uint8_t *data, size_t size, struct msg_limits *ret_msg);

#endif
