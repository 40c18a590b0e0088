/* SPDX-License-Identifier: Apache-2.0 */
/* The machine of one run: put together, started, freed. */
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "shim/hold.h"
#include "shim/session.h"
#include "shim/shares.h"
#include "shim/socket_relays.h"

/* Where QEMU's locks are in a disk (its block/file-posix.c): one byte for each right that it uses,
 * and for each that it leaves to nobody else; of those that it uses, the second is writing. */
#define DISK_LOCKS 100
#define DISK_LOCK_WRITER 101
#define DISK_LOCKS_COUNT 200
#define DISK_WAIT_MS 10000
#define DISK_LOOK_MS 5

bool machine_writes_volumes(const struct shim *shim)
{
	VEC_EACH (&shim->launch.volumes, it)
		if (it->slot && !it->read_only)
			return true;
	return false;
}

/* QEMU holds the machine when the host's disk is full: nothing is lost, and going on tries again.
 */
static void hold_for_disk(struct shim *shim)
{
	if (shim->phase != PHASE_RUNNING) {
		shim_set_failure(shim, -ENOSPC, 125, "the host's disk is full");
		shim_event(shim, EVENT_GONE); /* what was to be written last cannot be */
		return;
	}
	hold_begin(shim);
}

static void vm_event(void *ctx, const char *name)
{
	struct shim *shim = ctx;

	if (str_eq(name, "disk-full")) {
		hold_for_disk(shim);
		return;
	}
	if (str_eq(name, "panic"))
		shim_set_failure(shim, -EIO, 125,
				 "the guest's kernel panicked (see 'hull logs --boot')");
	if (!str_eq(name, "reset"))
		shim_event(shim, EVENT_GONE);
}

static void vm_exited(void *ctx, int status)
{
	shim_event(ctx, EVENT_GONE);
}

static const struct vm_ops vm_ops = { .event = vm_event, .exited = vm_exited };

/* Under emulation a guest starts sooner if its second CPU works ahead; on a busy host that costs
 * next to nothing (docs/decisions/0005). Otherwise there is nothing to be translated ahead. */
static bool is_worth_rehearsing(const struct shim *shim)
{
	return str_eq(shim->launch.accel, "tcg") && shim->launch.vcpus > 1;
}

int shim_encode_session(const struct shim *shim, struct sbuf *out, struct err *err)
{
	struct session_network network;

	nets_describe(shim->nets, &network);
	return session_encode(&shim->container->config, &shim->launch, &network,
			      is_worth_rehearsing(shim), out, err);
}

static int send_session(struct shim *shim, struct err *err)
{
	AUTO_SBUF struct sbuf out = { 0 };
	int r = shim_encode_session(shim, &out, err);

	if (r < 0)
		return r;
	if (!shim->launch.files)
		relay_add_main(shim);
	r = mux_send_control(shim->guest, MSG_SESSION, out.text, out.length);
	if (r == 0)
		mux_flush(shim->guest, 0);
	if (r < 0)
		return err_set(err, r, "cannot talk to the guest: %m");
	return 0;
}

/* A machine dies with its supervisor, but on a busy host not at once, and its emulator's locks on
 * the disks are the last to go: the container's lock is free, and the next emulator would not
 * start. These locks name nobody, so that there is nothing to wait for but themselves. Bounded: if
 * somebody else has the disk, the emulator says so. */
static void await_disk(const char *path, bool read_only)
{
	struct flock users = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t end = clock_monotonic_ms() + DISK_WAIT_MS;

	users.l_start = read_only ? DISK_LOCK_WRITER : DISK_LOCKS;
	users.l_len = read_only ? 1 : DISK_LOCKS_COUNT;
	while (fd >= 0 && clock_monotonic_ms() < end) {
		struct flock found = users;

		if (fcntl(fd, F_OFD_GETLK, &found) < 0 || found.l_type == F_UNLCK)
			return;
		poll(NULL, 0, DISK_LOOK_MS);
	}
}

static void await_disks(const struct shim *shim, const char *scratch)
{
	await_disk(scratch, false);
	VEC_EACH (&shim->launch.volumes, it)
		if (it->slot)
			await_disk(it->path, it->read_only);
}

static int boot(struct shim *shim, bool use_template, struct err *err)
{
	const struct container_config *config = &shim->container->config;
	AUTO_FREE char *dir = launch_container_dir(shim->launch.root, shim->launch.uuid);
	AUTO_FREE char *scratch = path_join(dir, "scratch.img");
	AUTO_FREE char *layers = path_join(shim->launch.root, "layers");
	AUTO_FREE char *disks = path_join(shim->launch.root, "disks");
	AUTO_FREE char *console = path_join(dir, "boot.log");
	AUTO_FREE char *emulator_log = path_join(dir, "vm.log");
	struct vm_options options = {
		.shape = launch_shape(&shim->launch),
		.template = use_template ? &shim->template : NULL,
		.work_dir = dir,
		.disks[0] = { shim->launch.root_disk, VM_DISK_VMDK },
		.extent_dirs = { layers, disks },
		.console_path = console,
		.log_path = emulator_log,
	};
	int r;

	for (size_t i = 0; i < nets_count(shim->nets); i++)
		options.nics[i].fd = nets_nic(shim->nets, i);
	options.disks[shim->launch.scratch_slot] = (struct vm_disk){ scratch, VM_DISK_RAW };
	VEC_EACH (&shim->launch.volumes, it)
		if (it->slot)
			options.disks[it->slot] = (struct vm_disk){ it->path, VM_DISK_RAW };
	await_disks(shim, scratch);
	r = shares_start(&shim->launch, config, bulk_fd(shim->bulk), shim->opener, emulator_log,
			 &shim->shares, err);
	if (r < 0)
		return r;
	options.files_fd = shim->shares.channel;
	options.bulk_fd = bulk_fd(shim->bulk);
	r = vm_spawn(&options, &shim->vm, err);
	if (shim->shares.channel > 0)
		close(shim->shares.channel);
	shim->shares.channel = 0;
	if (r < 0)
		return r;
	log_timeline("shim: emulator spawned");
	/* While the emulator starts: a network that cannot be joined, or a port that is taken, is
	 * the start's failure. */
	r = nets_join(shim->nets, shim->loop, err);
	if (r < 0)
		return r;
	log_timeline("shim: networks joined");
	shim->template_used = use_template;
	shim->guest = mux_new(shim->loop, vm_take_agent(shim->vm), false, &guest_ops, shim);
	if (!shim->launch.files)
		r = socket_relays_start(shim->loop, shim->guest, config, &shim->launch,
					&shim->socket_relays, err);
	/* Waits in the socket until the guest runs: nothing is lost in between. */
	if (r == 0 && !state_is_restore(shim))
		r = send_session(shim, err);
	if (r == 0)
		r = vm_run(shim->vm, err);
	if (r == 0 && state_is_restore(shim))
		r = state_rejoin(shim, err);
	if (r < 0)
		return r;
	log_timeline("shim: machine runs");
	return 0;
}

static void free_machine(struct shim *shim)
{
	relay_clear(shim);
	shim->socket_relays = socket_relays_end(shim->socket_relays);
	shim->guest = mux_free(shim->guest);
	shim->vm = vm_free(shim->vm);
	shares_end(&shim->shares);
}

void machine_retire(struct shim *shim)
{
	relay_clear(shim);
	shim->socket_relays = socket_relays_end(shim->socket_relays);
	if (!shim->guest && !shim->vm)
		return; /* between runs; the last one may not be buried yet */
	shim->retired_guest = TAKE_PTR(shim->guest);
	shim->retired_vm = TAKE_PTR(shim->vm);
	shim->retired_shares = shim->shares;
	shim->shares = (struct shares){ 0 };
	loop_arm(shim->undertaker, 0);
}

void machine_bury(struct shim *shim)
{
	shim->retired_guest = mux_free(shim->retired_guest);
	shim->retired_vm = vm_free(shim->retired_vm);
	shares_end(&shim->retired_shares);
}

int machine_start(struct shim *shim, struct err *err)
{
	bool use_template = shim->has_template;
	int r = shim->bulk ? 0 : bulk_new(&shim->bulk, err);

	if (r < 0)
		return r;
	r = shim->nets || shim->launch.files
		    ? 0
		    : nets_open(&shim->launch, shim->clerk, shim->starter, &shim->nets, err);
	if (r == 0)
		r = boot(shim, use_template, err);
	if (r == -ESTALE && use_template && !state_is_restore(shim)) {
		log_warning("container=%s template discarded: %s", shim->container->config.id,
			    err ? err->message : "");
		free_machine(shim);
		template_discard(&shim->template);
		shim->has_template = false;
		r = boot(shim, false, err);
	}
	if (r < 0) {
		free_machine(shim);
		return r;
	}
	vm_watch(shim->vm, shim->loop, &vm_ops, shim);
	return 0;
}
