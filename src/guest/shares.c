/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three threads, each of which only waits for one thing: requests of the kernel, the host, and
 * (echo) what the kernel does with what the host tells. An answer must never wait behind the
 * latter: that may wait for a lock which is held until the answer comes.
 */
#include "guest/shares.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "guest/port.h"
#include "guest/share_blocks.h"
#include "guest/sys.h"
#include "guest/user.h"
#include "proto/share.h"

#define FRAME_MAX ((size_t)SHARE_HEADER_SIZE + SHARE_PAYLOAD_MAX)
#define STOP_MS 5000
#define KICK_NS 2000000
#define UNSENT_MS 10
#define NOTES_PIPE_SIZE (1 << 20) /* what the host may have under way fits */

static struct {
	int fuse_fds[SHARE_COUNT_MAX];
	int places[SHARE_COUNT_MAX]; /* roots, O_PATH */
	size_t count;
	int port;
	int notes[2];
	int control[2]; /* hull-init's end, which it keeps, and ours */
	pthread_mutex_t port_lock;
} shares = { .port = -1, .control = { -1, -1 }, .port_lock = PTHREAD_MUTEX_INITIALIZER };

/* What the threads tell each other when the machine is about to be saved. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stop;     /* requests stay where they are; read without the lock */
	bool stopped;  /* by the thread that takes them */
	bool answered; /* the host has answered */
} still = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* From hull-init and, when it is done, back. */
struct order {
	uint32_t number;
	uint32_t stop; /* or go on */
};

int shares_mount(const char *share, const char *place, bool is_file, struct err *err)
{
	AUTO_CLOSE int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[128];
	uint32_t number;

	if (str_parse_u32(share, &number) < 0 || number != shares.count ||
	    number >= SHARE_COUNT_MAX)
		return err_set(err, -EINVAL, "there is no share '%s'", share);
	if (fuse < 0)
		return err_set(err, -errno, "cannot open /dev/fuse: %m");
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=%o,user_id=0,group_id=0,allow_other,default_permissions", fuse,
		 is_file ? S_IFREG : S_IFDIR);
	if (mount("hull", place, "fuse", MS_NOSUID | MS_NODEV, options) < 0)
		return err_set(err, -errno, "cannot mount share '%s': %m", share);
	shares.places[shares.count] = open(place, O_PATH | O_CLOEXEC);
	shares.fuse_fds[shares.count++] = TAKE_FD(fuse);
	return 0;
}

static int send_frame(uint16_t share, uint16_t type, uint8_t *frame, size_t size)
{
	struct share_header header = { (uint32_t)size, share, type };
	int r;

	share_header_encode(&header, frame);
	pthread_mutex_lock(&shares.port_lock);
	r = fd_write_all(shares.port, frame, SHARE_HEADER_SIZE + size);
	pthread_mutex_unlock(&shares.port_lock);
	return r;
}

/* --- from the kernel --- */

#define WRITE_HEAD (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))

/* One request, so placed that the data of a WRITE is aligned, and room for what is said before. */
#define MESSAGE_AT (SHARE_BLOCK_ALIGNMENT - WRITE_HEAD)
#define REQUEST_SIZE \
	(((size_t)SHARE_PAYLOAD_MAX / SHARE_BLOCK_ALIGNMENT + 2) * SHARE_BLOCK_ALIGNMENT)

/* What nobody waits for goes with the next request, or a little later: each message wakes the
 * emulator and hull-share. */
static struct {
	uint8_t frames[4096];
	size_t size;
} unsent; /* of the thread that takes requests */

static int flush_unsent(void)
{
	size_t size = unsent.size;
	int r;

	unsent.size = 0;
	if (!size)
		return 0;
	pthread_mutex_lock(&shares.port_lock);
	r = fd_write_all(shares.port, unsent.frames, size);
	pthread_mutex_unlock(&shares.port_lock);
	return r;
}

/* As send_frame, with what is unsent before it. */
static int send_request(uint16_t share, uint16_t type, uint8_t *frame, size_t size, bool can_wait)
{
	struct share_header header = { (uint32_t)size, share, type };
	size_t whole = SHARE_HEADER_SIZE + size;
	int r = unsent.size + whole > sizeof(unsent.frames) ? flush_unsent() : 0;

	if (r < 0)
		return r;
	if (whole > sizeof(unsent.frames))
		return send_frame(share, type, frame, size);
	share_header_encode(&header, frame);
	memcpy(unsent.frames + unsent.size, frame, whole);
	unsent.size += whole;
	return can_wait ? 0 : flush_unsent();
}

/* The end of a file that was only read, and what the kernel has forgotten. */
static bool can_wait(const uint8_t *message)
{
	struct fuse_in_header in;
	struct fuse_release_in arg;

	memcpy(&in, message, sizeof(in));
	if (in.opcode == FUSE_FORGET || in.opcode == FUSE_BATCH_FORGET)
		return true;
	if (in.opcode != FUSE_RELEASE)
		return false;
	memcpy(&arg, message + sizeof(in), sizeof(arg));
	return (arg.flags & O_ACCMODE) == O_RDONLY;
}

/* The kernel does not care how a RELEASE went: the host does not answer it. */
static void answer_release(size_t share, const uint8_t *message)
{
	struct fuse_in_header in;
	struct fuse_out_header out = { .len = sizeof(out) };

	memcpy(&in, message, sizeof(in));
	out.unique = in.unique;
	if (in.opcode == FUSE_RELEASE)
		(void)!write(shares.fuse_fds[share], &out, sizeof(out));
}

/* How much data a request moves. */
static size_t data_size(const uint8_t *message, size_t size)
{
	struct fuse_in_header in;
	struct fuse_read_in arg;

	memcpy(&in, message, sizeof(in));
	if (in.opcode == FUSE_WRITE)
		return size - WRITE_HEAD;
	if (in.opcode != FUSE_READ)
		return 0;
	memcpy(&arg, message + sizeof(in), sizeof(arg));
	return arg.size;
}

/* With a block for its data, or the answer's. False when there is none. */
static bool send_with_block(uint16_t share, uint8_t *request, size_t size)
{
	uint8_t *message = request + MESSAGE_AT;
	uint8_t *frame = message - SHARE_BLOCK_FIXED - SHARE_HEADER_SIZE;
	size_t head = size < WRITE_HEAD ? size : WRITE_HEAD;
	int block = share_blocks_take();

	if (block < 0)
		return false;
	if (size > head && share_blocks_write((uint32_t)block, message + head, size - head) < 0) {
		share_blocks_put((uint32_t)block);
		return false;
	}
	share_block_encode((struct share_block){ (uint32_t)block, (uint32_t)(size - head) },
			   frame + SHARE_HEADER_SIZE);
	return send_request(share, SHARE_BLOCK, frame, SHARE_BLOCK_FIXED + head, false) == 0;
}

/* False when the share is unmounted. */
static bool take_request(size_t share, uint8_t *request)
{
	uint8_t *message = request + MESSAGE_AT;
	ssize_t n = read(shares.fuse_fds[share], message, SHARE_PAYLOAD_MAX);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN || errno == ENOENT;
	if (data_size(message, (size_t)n) >= SHARE_BLOCK_MIN &&
	    send_with_block((uint16_t)share, request, (size_t)n))
		return true;
	answer_release(share, message);
	return send_request((uint16_t)share, SHARE_FUSE, message - SHARE_HEADER_SIZE, (size_t)n,
			    can_wait(message)) == 0;
}

static void stand_still(void)
{
	if (!__atomic_load_n(&still.stop, __ATOMIC_RELAXED))
		return;
	flush_unsent();
	pthread_mutex_lock(&still.lock);
	still.stopped = true;
	pthread_cond_broadcast(&still.changed);
	while (still.stop)
		pthread_cond_wait(&still.changed, &still.lock);
	still.stopped = false;
	pthread_mutex_unlock(&still.lock);
}

static void *serve_requests(void *unused)
{
	uint8_t *request = aligned_alloc(SHARE_BLOCK_ALIGNMENT, REQUEST_SIZE);
	struct pollfd fds[SHARE_COUNT_MAX];

	if (!request)
		_exit(1);
	for (size_t i = 0; i < shares.count; i++)
		fds[i] = (struct pollfd){ .fd = shares.fuse_fds[i], .events = POLLIN };
	while (shares.count == 1) {
		stand_still();
		if (unsent.size && poll(fds, 1, UNSENT_MS) == 0)
			flush_unsent();
		if (!take_request(0, request))
			_exit(0);
	}
	for (size_t i = 0; i < shares.count; i++)
		fd_set_nonblock(shares.fuse_fds[i], true);
	for (;;) {
		size_t left = 0;

		stand_still();
		if (poll(fds, shares.count, unsent.size ? UNSENT_MS : -1) == 0)
			flush_unsent();
		for (size_t i = 0; i < shares.count; i++) {
			if (fds[i].revents && !take_request(i, request))
				fds[i].fd = -1;
			left += fds[i].fd >= 0;
		}
		if (!left)
			_exit(0);
	}
	return unused;
}

/* --- from the host --- */

/* An answer whose end is in the block that is given back with it. */
static void take_block(size_t share, const uint8_t *payload, size_t size)
{
	static uint8_t data[SHARE_BLOCK_SIZE] __attribute__((aligned(SHARE_BLOCK_ALIGNMENT)));
	struct fuse_out_header out;
	struct share_block block;

	if (size < SHARE_BLOCK_FIXED + sizeof(out) || !share_block_decode(payload, &block))
		_exit(1);
	payload += SHARE_BLOCK_FIXED;
	size -= SHARE_BLOCK_FIXED;
	memcpy(&out, payload, sizeof(out));
	if (block.size && share_blocks_read(block.number, data, block.size) < 0) {
		out = (struct fuse_out_header){ sizeof(out), -EIO, out.unique };
		block.size = 0;
		size = sizeof(out);
	}
	share_blocks_put(block.number);
	struct iovec parts[] = { { &out, sizeof(out) },
				 { (uint8_t *)payload + sizeof(out), size - sizeof(out) },
				 { data, block.size } };
	/* As in take_frame. */
	(void)!writev(shares.fuse_fds[share], parts, ARRAY_SIZE(parts));
}

static void take_frame(const struct share_header *header, const uint8_t *frame)
{
	switch (header->type) {
	case SHARE_FUSE:
		/* What the kernel refuses is about something that it has forgotten. */
		(void)!write(shares.fuse_fds[header->share], frame + SHARE_HEADER_SIZE,
			     header->length);
		break;
	case SHARE_BLOCK:
		take_block(header->share, frame + SHARE_HEADER_SIZE, header->length);
		break;
	case SHARE_NOTIFY:
	case SHARE_ECHO:
		fd_write_all(shares.notes[1], frame, SHARE_HEADER_SIZE + header->length);
		break;
	default: /* QUIET, LAST or GO */
		pthread_mutex_lock(&still.lock);
		still.answered = true;
		pthread_cond_broadcast(&still.changed);
		pthread_mutex_unlock(&still.lock);
		break;
	}
}

/* Handles the whole frames in the buffer and moves the rest to its begin; returns its size. */
static size_t take_frames(uint8_t *buffer, size_t size)
{
	size_t at = 0;

	while (size - at >= SHARE_HEADER_SIZE) {
		struct share_header header;

		if (!share_header_decode(buffer + at, &header) || header.share >= shares.count)
			_exit(1);
		if (size - at - SHARE_HEADER_SIZE < header.length)
			break;
		take_frame(&header, buffer + at);
		at += SHARE_HEADER_SIZE + header.length;
	}
	if (at)
		memmove(buffer, buffer + at, size - at);
	return size - at;
}

static void *serve_host(void *unused)
{
	uint8_t *buffer = xmalloc(FRAME_MAX + 4096);
	size_t size = 0;

	for (;;) {
		ssize_t n = read(shares.port, buffer + size, FRAME_MAX + 4096 - size);

		if (n < 0 && errno == EAGAIN) {
			fd_wait(shares.port, POLLIN, -1);
			continue;
		}
		if (n <= 0 && errno != EINTR)
			_exit(1); /* the host's side is gone: all that is asked for now fails */
		if (n > 0)
			size = take_frames(buffer, size + (size_t)n);
	}
	return unused;
}

/* --- what happened on the host --- */

static void echo_create(int dir, const char *name, mode_t type)
{
	if (S_ISDIR(type))
		mkdirat(dir, name, 0755);
	else if (S_ISLNK(type))
		(void)!symlinkat("?", dir, name); /* where it leads is asked for later */
	else if (S_ISREG(type) || S_ISFIFO(type) || S_ISSOCK(type))
		mknodat(dir, name, type | 0644, 0);
}

/* By an O_PATH descriptor, so that no link of the container's is followed. */
static void echo_change(int fd, uint8_t op)
{
	char path[64];
	struct stat st;

	if (fstat(fd, &st) < 0 || S_ISLNK(st.st_mode))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (op == SHARE_ECHO_ATTRIB) {
		chmod(path, st.st_mode & 07777);
	} else if (S_ISREG(st.st_mode) && op == SHARE_ECHO_MODIFY) {
		(void)!truncate(path, st.st_size);
	} else if (S_ISREG(st.st_mode)) {
		int file = open(path, O_WRONLY | O_CLOEXEC);

		/* The event is that it is closed after it could have been written to. */
		if (file >= 0)
			close(file);
	}
}

static void echo(int root, const uint8_t *payload, size_t size)
{
	mode_t type = le_get32(payload + 1);
	AUTO_FREE char *path =
		xstrndup((const char *)payload + SHARE_ECHO_FIXED, size - SHARE_ECHO_FIXED);
	char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	AUTO_CLOSE int dir = -1;
	AUTO_CLOSE int changed = -1;

	if (!*path) {
		echo_change(root, payload[0]); /* the share is a file */
		return;
	}
	if (slash)
		*slash = '\0';
	dir = sys_open_no_links(root, slash ? path : ".", O_PATH | O_DIRECTORY);
	if (dir < 0 || !*name)
		return;
	if (payload[0] == SHARE_ECHO_CREATE)
		echo_create(dir, name, type);
	else if (payload[0] == SHARE_ECHO_DELETE)
		unlinkat(dir, name, S_ISDIR(type) ? AT_REMOVEDIR : 0);
	else if ((changed = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC)) >= 0)
		echo_change(changed, payload[0]);
}

/* Reading ahead hides how long it takes to ask: more of it than for a disk. */
static void set_read_ahead(void)
{
	for (size_t i = 0; i < shares.count; i++) {
		char path[64];
		struct stat st;

		if (fstat(shares.places[i], &st) < 0)
			continue;
		snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev),
			 minor(st.st_dev));
		sys_write_file(path, "1024");
	}
}

static void *serve_notes(void *unused)
{
	uint8_t *frame = xmalloc(FRAME_MAX);
	uint8_t done[SHARE_HEADER_SIZE + sizeof(uint32_t)];
	struct share_header header;

	set_read_ahead();
	while (fd_read_exact(shares.notes[0], frame, SHARE_HEADER_SIZE) == 0 &&
	       share_header_decode(frame, &header) &&
	       fd_read_exact(shares.notes[0], frame, header.length) == 0) {
		if (header.type == SHARE_NOTIFY)
			(void)!write(shares.fuse_fds[header.share], frame, header.length);
		else if (header.length > SHARE_ECHO_FIXED)
			echo(shares.places[header.share], frame, header.length);
		le_put32(done + SHARE_HEADER_SIZE, 1);
		send_frame(0, SHARE_DONE, done, sizeof(uint32_t));
	}
	_exit(1);
	return unused;
}

/* --- standing still --- */

static void ask_host(enum share_frame_type type)
{
	uint8_t frame[SHARE_HEADER_SIZE];

	still.answered = false; /* nobody else asks */
	if (send_frame(0, (uint16_t)type, frame, 0) < 0)
		_exit(1);
	pthread_mutex_lock(&still.lock);
	while (!still.answered)
		pthread_cond_wait(&still.changed, &still.lock);
	pthread_mutex_unlock(&still.lock);
}

static void on_kick(int signal)
{
}

/* A signal may come just before it waits for a request: again, then. */
static void stop_requests(pthread_t requests)
{
	pthread_mutex_lock(&still.lock);
	__atomic_store_n(&still.stop, true, __ATOMIC_RELAXED);
	while (!still.stopped) {
		struct timespec soon;

		pthread_kill(requests, SIGUSR1);
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_nsec += KICK_NS;
		soon.tv_sec += soon.tv_nsec / 1000000000;
		soon.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&still.changed, &still.lock, &soon);
	}
	pthread_mutex_unlock(&still.lock);
}

static void go_on(void)
{
	ask_host(SHARE_GO);
	pthread_mutex_lock(&still.lock);
	__atomic_store_n(&still.stop, false, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&still.changed);
	pthread_mutex_unlock(&still.lock);
}

static void *serve_control(void *ctx)
{
	const pthread_t *requests = ctx;
	bool stopped = false;
	struct order order;

	while (fd_read_exact(shares.control[1], &order, sizeof(order)) == 0) {
		if (order.stop && !stopped) {
			ask_host(SHARE_QUIET);
			stop_requests(*requests);
			ask_host(SHARE_LAST);
		} else if (!order.stop && stopped) {
			go_on();
		}
		stopped = order.stop;
		if (fd_write_all(shares.control[1], &order, sizeof(order)) < 0)
			break;
	}
	_exit(0);
	return NULL;
}

/* hull-init's side. An answer that was too late is another order's. */
static int order(bool stop, bool wait)
{
	static uint32_t number;
	struct order order = { ++number, stop };
	struct order answer = { 0 };
	int r = fd_write_all(shares.control[0], &order, sizeof(order));

	while (r == 0 && wait && answer.number != order.number) {
		r = fd_wait(shares.control[0], POLLIN, STOP_MS);
		r = r > 0 ? fd_read_exact(shares.control[0], &answer, sizeof(answer))
			  : (r < 0 ? r : -ETIMEDOUT);
	}
	return r;
}

int shares_stop(struct err *err)
{
	int r = shares.count ? order(true, true) : 0;

	return r < 0 ? err_set(err, r, "its shared directories do not answer") : 0;
}

void shares_go(bool elsewhere)
{
	if (!shares.count)
		return;
	/* What was not there may be: names are looked up again. */
	if (elsewhere)
		sys_write_file("/proc/sys/vm/drop_caches", "2");
	order(false, elsewhere);
}

/* --- start --- */

static void close_others(void)
{
	for (int fd = 3; fd < 1024; fd++) {
		bool needed = fd == shares.port || fd == shares.notes[0] || fd == shares.notes[1] ||
			      fd == shares.control[1];

		for (size_t i = 0; i < shares.count && !needed; i++)
			needed = fd == shares.fuse_fds[i] || fd == shares.places[i];
		if (!needed)
			close(fd);
	}
}

static void serve(const struct user *user)
{
	uint8_t hello[SHARE_HEADER_SIZE + 3 * sizeof(uint32_t)];
	struct sigaction kick = { .sa_handler = on_kick }; /* it interrupts */
	pthread_t requests;
	pthread_t host;
	pthread_t control;

	prctl(PR_SET_NAME, "hull-files");
	/* Beside whoever asks, not on hull-init's own CPU. */
	sys_use_cpu(-1);
	close_others();
	sigaction(SIGUSR1, &kick, NULL);
	/* This thread is the one that echoes. */
	le_put32(hello + SHARE_HEADER_SIZE, user->uid);
	le_put32(hello + SHARE_HEADER_SIZE + 4, user->gid);
	le_put32(hello + SHARE_HEADER_SIZE + 8, (uint32_t)syscall(SYS_gettid));
	if (send_frame(0, SHARE_HELLO, hello, 3 * sizeof(uint32_t)) < 0 ||
	    pthread_create(&requests, NULL, serve_requests, NULL) != 0 ||
	    pthread_create(&host, NULL, serve_host, NULL) != 0 ||
	    pthread_create(&control, NULL, serve_control, &requests) != 0)
		_exit(1);
	serve_notes(NULL);
}

int shares_serve(int root_fd, const struct msg_process *process, struct err *err)
{
	struct user user = { 0 };
	pid_t pid;

	if (!shares.count)
		return 0;
	user_find_in(root_fd, str_or(process->user, ""), &user);
	shares.port = port_open(SHARE_PORT);
	if (shares.port < 0)
		return err_set(err, shares.port, "cannot open the port '" SHARE_PORT "': %m");
	if (pipe2(shares.notes, O_CLOEXEC) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, shares.control) < 0)
		return err_set(err, -errno, "cannot make a pipe: %m");
	fcntl(shares.notes[1], F_SETPIPE_SZ, NOTES_PIPE_SIZE);
	pid = fork();
	if (pid == 0)
		serve(&user);
	/* Only the child's count: with its end, whoever waits for a share is told. */
	close(shares.port);
	close(shares.notes[0]);
	close(shares.notes[1]);
	close(shares.control[1]);
	for (size_t i = 0; i < shares.count; i++) {
		close(shares.fuse_fds[i]);
		close(shares.places[i]);
	}
	return pid < 0 ? err_set(err, -errno, "cannot serve shared directories: %m") : 0;
}
