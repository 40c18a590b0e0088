/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine that was saved: a directory with its memory (ram, a sparse file), the state of its
 * devices (state) and a description (saved.json), which is written last and without which the rest
 * is worth nothing. It can be brought back, any number of times, by the emulator that it was saved
 * by, as the machine that it was.
 */
#ifndef VM_SAVED_H
#define VM_SAVED_H

#include <stdbool.h>

#include "base/err.h"
#include "base/json.h"
#include "vm/machine.h"
#include "vm/template.h"

struct saved {
	enum accel_kind accel;
	uint32_t vcpus;
	uint64_t memory_bytes;
	struct machine_devices devices;
	uint32_t scratch_slot; /* of the container's scratch disk */
};

/* What has to be the same where the machine is to be brought back; a new reference. */
json_t *saved_describe(const struct machine_shape *shape, uint32_t scratch_slot, struct err *err);
/* Whether it can be, with the emulator at path qemu. -ESTALE: it says what is different. */
int saved_check(const json_t *description, const char *qemu, struct saved *ret_saved,
		struct err *err);

char *saved_ram_path(const char *directory);
char *saved_state_path(const char *directory);
/* What the server of its shares knew (share/state.c), if it has any. */
char *saved_shares_path(const char *directory);

/* Describes what is in the directory. durable: synced, and the memory is summed up, so that
 * saved_open can tell whether it is still what it was. */
int saved_seal(const char *directory, const struct machine_shape *shape, uint32_t scratch_slot,
	       bool durable, struct err *err);
/* Whether there is a whole one. */
bool saved_exists(const char *directory);
/* Its description, unchecked; a new reference. */
int saved_read(const char *directory, json_t **ret_description, struct err *err);
/* Reads and checks one. -ENOENT: there is none. -ESTALE: as saved_check. -EBADMSG: damaged. */
int saved_open(const char *directory, const char *qemu, struct saved *ret_saved, struct err *err);
/* What vm_spawn restores it from; released by template_release. */
void saved_as_template(const char *directory, uint64_t memory_bytes, struct template *ret_template);

#endif
