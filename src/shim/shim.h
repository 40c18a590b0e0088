/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor of one container.
 *
 * Theory of operation. A shim owns one machine (vm/vm.h), the channel to its guest, and everything
 *that hangs on it: the log, the clients on the control socket, the row's state. It is one loop:
 *
 *	supervisor.c	phases of the container's life, a table of phase × event → action
 *	machine.c	the machine of one run: put together, started, freed
 *	guest.c		what its guest says, and where that goes
 *	relay.c		processes of the guest and the clients attached to them: bytes both ways
 *	server.c	the control socket: who asks what, and the answers
 *	bulk.c		the memory that copies of files pass through
 *	state.c		the machine saved, and brought back from where it was saved
 *	hold.c		what happens while the host's disk is full
 *	clock_sync.c	its guest's clock
 *	healthcheck.c	a command that is run in it once in a while, and what that says (health.h)
 *
 * It holds the container's lock for as long as it lives; whoever finds a row that says "running"
 *with nobody holding the lock knows that the shim died, and with it (parent-death signal) the
 *machine. Everything the guest or a client sends is bounded: per stream by credit (proto/mux.h),
 *per client by the window granted to it, in number of clients and processes.
 */
#ifndef SHIM_SHIM_H
#define SHIM_SHIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "proto/mux.h"
#include "shim/bulk.h"
#include "shim/clerk.h"
#include "shim/ctl.h"
#include "shim/launch.h"
#include "shim/logs.h"
#include "shim/nets.h"
#include "shim/shares.h"
#include "store/containers.h"
#include "vm/vm.h"

#define SHIM_CLIENTS_MAX 256
#define SHIM_PROCESSES_MAX 512
/* Long enough for a guest that is busy; what it has not answered then, it never will. */
#define SHIM_ANSWER_MS 15000
/* The start of a process needs its program from a disk, and other processes' CPU: so many times
 * that. */
#define SHIM_START_ANSWERS 2

struct client;
struct clock_sync;
struct process;

enum phase {
	PHASE_STARTING, /* the machine comes up, the session is under way */
	PHASE_RUNNING,  /* the main process runs */
	PHASE_FILES,    /* there is none: files are copied (launch.files) */
	PHASE_STOPPING, /* somebody asked for the end; the guest shuts down */
	PHASE_CLOSING,  /* the main process ended by itself; the guest cleans its disks */
	PHASE_BACKOFF,  /* ended; will be started again by its restart policy */
	PHASE_ENDED,
	PHASE_COUNT
};

enum event {
	EVENT_STARTED,
	EVENT_READY,  /* the session is there; without a process that is all */
	EVENT_FAILED, /* the session or main process could not start: shim.failure says why */
	EVENT_EXITED, /* the main process: main status is set */
	EVENT_STOP,   /* a client or a signal wants it stopped: stop_signal, stop_timeout_ms */
	EVENT_CLEAN,  /* the guest's disks are clean */
	EVENT_GONE,   /* the machine or the channel to it is lost */
	EVENT_UNTOLD, /* the clerk is gone: what happens from now on cannot be recorded */
	EVENT_LATE,   /* the phase's deadline passed */
	EVENT_COUNT
};

struct failure {
	int code;
	uint32_t status; /* 125, 126, 127 */
	char message[ERR_MESSAGE_MAX];
};

struct shim {
	struct loop *loop;           /* owned */
	struct launch launch;        /* owned */
	struct clerk *clerk;         /* owned; who writes the row */
	struct clerk *starter;       /* owned; who starts networks; NULL: this process may */
	struct container *container; /* owned: the row as last written */
	int lock_fd;                 /* owned */
	struct log_writer *log;      /* owned */
	struct nets *nets;           /* owned; NULL before the first run and at the end */

	enum phase phase;
	struct vm *vm;            /* owned; NULL between runs */
	struct template template; /* owned; used when has_template */
	bool has_template;
	bool template_used;                  /* by the machine that runs */
	struct mux *guest;                   /* owned; NULL between runs */
	struct socket_relays *socket_relays; /* owned; NULL between runs */
	struct shares shares;                /* the file server */
	struct vm *retired_vm;               /* owned; ended, freed by the undertaker */
	struct mux *retired_guest;           /* owned; the same */
	struct shares retired_shares;        /* the same */
	struct loop_source *undertaker;
	struct loop_source *deadline; /* of the phase */
	struct loop_source *hold;     /* NULL before the host's disk was full (hold.h) */
	bool held;                    /* it is */
	struct failure failure;       /* why it did not start; code 0: none */
	bool main_exited;
	bool user_stopped; /* asked for: no restart */
	bool given_up;     /* asked to go while clients still read */
	uint32_t main_status;
	bool oom_killed;
	bool suspended;        /* the container's machine is saved, and what ends is not its life */
	struct saving *saving; /* owned; NULL: none is under way */
	struct clock_sync *clock_sync;   /* owned; NULL: no process runs */
	struct healthcheck *healthcheck; /* owned; NULL: the container has none, or does not run */
	uint32_t restarts;
	uint64_t started_ms; /* monotonic, of this run */
	uint32_t stop_signal;
	uint32_t stop_timeout_ms;

	uint32_t interfaces_pending; /* changes that the guest has not answered */
	char network_pending[64];    /* the network that it is joining; "": none */

	struct process *processes; /* owned list (relay.c) */
	uint32_t next_process_id;
	struct client *clients; /* owned list (server.c) */
	struct shim_bulk *bulk; /* owned; NULL before the first machine */
	int opener;             /* owned: the socket of shim/single_files.h; 0: there is none */
	unsigned client_count;
	struct loop_source *reaper;  /* frees dead clients outside their callbacks */
	struct loop_source *answers; /* fires when the guest owes one for too long */
	uint32_t answer_ms;          /* how long that is: SHIM_ANSWER_MS */
	uint64_t guest_heard;        /* how often the guest has said anything */
	int listener;                /* owned; -1 */
	struct loop_source *listener_source;
};

/* supervisor.c */
int shim_run(struct shim *shim, struct err *err);
void shim_event(struct shim *shim, enum event event);
/* Sets the state in the row: 0, or what the clerk said. */
int shim_set_state(struct shim *shim, enum container_state state);
/* The number of the container's stop signal. */
uint32_t shim_default_stop_signal(const struct shim *shim);

/* Why it does not run, or did not start; the first reason stays. */
void shim_set_failure(struct shim *shim, int code, uint32_t status, const char *message);
/* Ends this run, the machine being saved; message is what attached clients are told. */
void shim_end_suspended(struct shim *shim, const char *message);

/* machine.c */
/* Brings the machine up and sends the session. Blocks while the emulator loads; clients wait. */
int machine_start(struct shim *shim, struct err *err);
/* Whether it has a volume that is not read-only. */
bool machine_writes_volumes(const struct shim *shim);
/* Ends it, from inside its own or its channel's callback: freed by the undertaker, when that has
 * returned. */
void machine_retire(struct shim *shim);
/* Frees what was retired. */
void machine_bury(struct shim *shim);
/* The session that its guest is told, as of now. */
int shim_encode_session(const struct shim *shim, struct sbuf *out, struct err *err);

/* guest.c: the channel's end; its ctx is the shim. */
extern const struct mux_ops guest_ops;

/* state.c */
/* Requests of clients. */
int state_on_suspend(struct client *client, const uint8_t *data, size_t size);
int state_on_save(struct client *client, const uint8_t *data, size_t size);
/* The guest has frozen the container. */
int state_frozen(struct shim *shim);
/* It does not, and says why. */
int state_refused(struct shim *shim, const uint8_t *data, size_t size);
/* The machine is going: what was being saved is not. */
void state_cancel(struct shim *shim);
/* Whether the machine goes on from where it was saved. */
bool state_is_restore(const struct shim *shim);
/* Looks up what shim->launch names. */
void state_open(struct shim *shim);
/* The machine is loaded, its processes wait: tells them who they are now, and lets them run. */
int state_rejoin(struct shim *shim, struct err *err);
/* The next start of the machine is one. */
void state_forget(struct shim *shim);

/* relay.c */
/* flags: MSG_PROCESS_STDIN, MSG_PROCESS_TTY. */
struct process *relay_add(struct shim *shim, uint32_t id, uint32_t flags);
/* The container's own process, as it is configured. */
void relay_add_main(struct shim *shim);
struct process *relay_find(struct shim *shim, uint32_t id);
/* Whether there are SHIM_PROCESSES_MAX of them. */
bool relay_is_full(const struct shim *shim);
/* Joins the client to the process (flags: enum ctl_attach). owner: its end of input is the
 * process's, and its loss of interest in output too. */
void relay_attach(struct process *process, struct client *client, uint32_t flags, bool owner);
/* Opens the client's streams before there is a process, so that its credit is not lost. */
void relay_expect(struct client *client, uint32_t flags);
/* A process that no other client can come to (an exec's) gets the end of its input, or its
 * terminal hangs up. */
void relay_detach(struct client *client);
uint32_t relay_process_id(const struct process *process);
/* Whether the client waits for a process of its own to start. */
bool relay_is_starting(const struct client *client);
/* It does not any more: should the process start all the same, it is killed. */
void relay_give_up(struct client *client);
/* With all that it has started. */
void relay_kill(struct shim *shim, uint32_t id);
void relay_started(struct shim *shim, uint32_t id);
/* Tells and frees it; the main process's end is told by relay_report_main when it is in the row. */
void relay_exited(struct shim *shim, uint32_t id, uint32_t status, bool oom_killed);
void relay_failed(struct shim *shim, uint32_t id, const struct failure *failure);
void relay_report_main(struct shim *shim);
void relay_clear(struct shim *shim);
/* From the guest's channel. */
void relay_guest_data(struct shim *shim, uint32_t stream, const uint8_t *data, size_t size);
void relay_guest_eof(struct shim *shim, uint32_t stream);
void relay_guest_reset(struct shim *shim, uint32_t stream);
void relay_guest_writable(struct shim *shim, uint32_t stream);
/* From a client's channel. */
void relay_client_data(struct client *client, const uint8_t *data, size_t size);
void relay_client_eof(struct client *client);
void relay_client_reset(struct client *client, uint32_t stream);
void relay_client_writable(struct client *client);

/* healthcheck.c */
/* A run begins: of what the row is to say it sets the health. */
void healthcheck_begin(struct shim *shim);
/* The container's state has changed: nothing is checked while it is on hold. */
void healthcheck_follow(struct shim *shim);
void healthcheck_end(struct shim *shim);
/* Of any process; those of others are passed over. */
void healthcheck_output(struct shim *shim, uint32_t process, const uint8_t *data, size_t size);
void healthcheck_exited(struct shim *shim, uint32_t process, uint32_t status);
void healthcheck_failed(struct shim *shim, uint32_t process, const struct failure *failure);

/* update.c */
int update_on_request(struct client *client, const uint8_t *data, size_t size);

/* server.c */
int server_open(struct shim *shim, struct err *err);
/* Takes fd: the connection of the command that started the shim. */
struct client *server_add_client(struct shim *shim, int fd);
/* Tells everybody who waits for the end of the container, and asks every client to go. */
void server_report_end(struct shim *shim);
/* Begins the copies that were asked for too early. */
void server_begin_copies(struct shim *shim);
/* Whether somebody copies, or has not said what it wants. */
bool server_has_copiers(const struct shim *shim);
void server_stats_reply(struct shim *shim, const uint8_t *data, size_t size);
void server_top_reply(struct shim *shim, const uint8_t *data, size_t size);
/* Stops listening; clients stay until they have read what is queued for them. The socket's name
 * stays: once the lock is free it may be another shim's. */
void server_close(struct shim *shim);

/* The client waits for an answer of the guest, or for the start of a process, but not for ever. The
 * time that the machine is on hold does not count. */
void server_expect_answer(struct client *client);
void server_expect_start(struct client *client);
/* Of a copy, from its begin to its end: that the guest says something now and then, be it that it
 * is alive. How long the copy takes does not matter, nor whether its client reads. */
void server_expect_signs_of_life(struct client *client);
/* False, and the client has been told, unless there is a guest that answers. */
bool server_is_answering(struct client *client);

/* A client, for relay.c and state.c. */
struct client {
	struct client *next;
	struct shim *shim;
	struct mux *mux; /* owned */
	bool dead;       /* finished with */
	bool gone;       /* it hung up: nothing reaches it any more */
	bool asked;      /* its one request has come */
	bool wants_end;  /* told when the container has ended: wait, stop */
	bool end_is_ok;  /* stop: CTL_OK; wait: CTL_EXITED */
	bool wants_stats, wants_top;
	bool bulk_asked;       /* for a lane: a copy will be asked for */
	uint32_t lane;         /* of shim->bulk, counted from 1; 0: none */
	bool copies;           /* its process is a copy, which is worth nothing without it */
	struct sbuf held_copy; /* what it asked for before the machine was ready */
	bool wants_saved;
	bool wants_interface; /* told when the guest has changed its interfaces */
	uint64_t heard;       /* of a copy: shim->guest_heard when it was looked at last */
	bool pinged;          /* and the guest was asked for a sign of life then */
	uint64_t due_ms; /* monotonic: when it is told that the guest does not answer; 0: never */
	/* attachment */
	struct process *process; /* borrowed; NULL: none */
	bool owner;
	bool detaches; /* it leaves the process alone, with its terminal */
	uint32_t flags;
	struct {
		char *data; /* owned; bytes the client has not taken yet, at most the guest's window
			     */
		size_t start, size, capacity;
		bool unwanted; /* the client reset it */
	} out[2];
	char *input; /* owned; bytes the guest has not taken yet, at most the client's window */
	size_t input_size;
	bool input_eof;
	bool exit_due; /* send exited when out is empty */
	struct ctl_exited exited;
};

/* connect.c: requests, and the guest's answer to MSG_INTERFACE. */
int connect_request(struct client *client, const uint8_t *data, size_t size);
int disconnect_request(struct client *client, const uint8_t *data, size_t size);
int rename_request(struct client *client, const uint8_t *data, size_t size);
int connect_done(struct shim *shim, const uint8_t *data, size_t size);
/* Who waited for the guest's answer does not any more. */
void connect_late(struct shim *shim);

void server_send(struct client *client, uint16_t type, const struct sbuf *payload);
void server_send_error(struct client *client, int code, uint32_t status, const char *message);
/* The client is finished with: closed once what is queued has been read, or it hung up. */
void server_drop(struct client *client);

#endif
