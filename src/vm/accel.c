/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/accel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "vm/kvm_probe.h"

#define KVM_DEVICE "/dev/kvm"
#define CACHE_MAX 4096
/* Hardware runs the probe's loop at 500 to 2000 MIPS; emulated kernel code at 1 to 20, slower than
 * TCG does. */
#define USABLE_MIPS 100.0

const char *const accel_names[ACCEL_COUNT] = { "tcg", "kvm" };

/* What a result depends on: this boot of the host, and the device as it is for us. */
static char *cache_key(void)
{
	AUTO_FREE char *boot_id = NULL;
	struct stat st = { 0 };

	if (file_read("/proc/sys/kernel/random/boot_id", 64, &boot_id, NULL, NULL) < 0)
		return NULL;
	if (stat(KVM_DEVICE, &st) < 0)
		st.st_rdev = 0;
	return xasprintf("%.36s rdev %llu inode %llu mode %o:%u:%u access %d", boot_id,
			 (unsigned long long)st.st_rdev, (unsigned long long)st.st_ino, st.st_mode,
			 st.st_uid, st.st_gid, access(KVM_DEVICE, R_OK | W_OK) == 0);
}

static void set_text(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", str_or(text, ""));
}

static int read_cache(const char *path, const char *key, struct accel *ret)
{
	AUTO_FREE char *text = NULL;
	AUTO_JSON json_t *json = NULL;
	const json_t *mips;
	struct accel accel = { 0 };
	size_t size;
	int r;

	r = file_read(path, CACHE_MAX, &text, &size, NULL);
	if (r == 0)
		r = json_parse(text, size, "the accelerator cache", &json, NULL);
	if (r < 0)
		return r;
	mips = json_object_get(json, "guest_mips");
	if (!key || !str_eq(json_get_string(json, "key"), key) || !json_is_number(mips) ||
	    !json_get_string(json, "reason"))
		return -ESTALE;
	accel.kind = json_get_bool(json, "kvm", false) ? ACCEL_KVM : ACCEL_TCG;
	accel.guest_mips = json_number_value(mips);
	set_text(accel.reason, sizeof(accel.reason), json_get_string(json, "reason"));
	set_text(accel.advice, sizeof(accel.advice), json_get_string(json, "advice"));
	*ret = accel;
	return 0;
}

/* Best effort: without it the next command probes again. */
static void write_cache(const char *path, const char *key, const struct accel *accel)
{
	AUTO_FREE char *text = NULL;
	AUTO_JSON json_t *json = NULL;

	if (!key)
		return;
	json = json_pack("{s:s, s:b, s:f, s:s, s:s}", "key", key, "kvm", accel->kind == ACCEL_KVM,
			 "guest_mips", accel->guest_mips, "reason", accel->reason, "advice",
			 accel->advice);
	text = json_text(json);
	file_write_atomic(path, text, strlen(text), 0600, false, NULL);
}

/* What to do when the probe could not run a machine. */
static const char *advice_for(int error)
{
	switch (-error) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return "enable virtualization in the firmware or for this VM (nested), then "
		       "modprobe kvm_intel or kvm_amd";
	case EACCES:
	case EPERM:
		return "give this user access to " KVM_DEVICE " (group kvm), then log in again";
	default:
		return "";
	}
}

static void probe(struct accel *ret)
{
	struct kvm_probe result;
	struct accel accel = { .kind = ACCEL_TCG };

	kvm_probe_run(&result);
	accel.guest_mips = result.guest_mips;
	if (result.error < 0) {
		errno = -result.error;
		snprintf(accel.reason, sizeof(accel.reason), "KVM cannot %s: %m", result.failed);
		set_text(accel.advice, sizeof(accel.advice), advice_for(result.error));
	} else if (result.guest_mips < USABLE_MIPS) {
		snprintf(accel.reason, sizeof(accel.reason),
			 "KVM runs guest kernel code at %.1f MIPS only: it is emulated by the host",
			 result.guest_mips);
		set_text(accel.advice, sizeof(accel.advice),
			 "use a host with hardware virtualization (bare metal or real nesting)");
	} else {
		accel.kind = ACCEL_KVM;
		snprintf(accel.reason, sizeof(accel.reason),
			 "KVM runs guest kernel code at %.0f MIPS", result.guest_mips);
	}
	*ret = accel;
}

int accel_choose(const char *wanted, const char *cache_dir, struct accel *ret_accel,
		 struct err *err)
{
	AUTO_FREE char *path = path_join(cache_dir, "accel.json");
	AUTO_FREE char *key = NULL;
	struct accel accel;

	if (str_eq(wanted, accel_names[ACCEL_TCG])) {
		*ret_accel = (struct accel){ .kind = ACCEL_TCG,
					     .reason = "software emulation was asked for" };
		return 0;
	}
	if (!str_eq(wanted, "auto") && !str_eq(wanted, accel_names[ACCEL_KVM]))
		return err_set(err, -EINVAL, "unknown accelerator '%s': auto, kvm or tcg",
			       str_or(wanted, ""));
	key = cache_key();
	if (read_cache(path, key, &accel) < 0) {
		probe(&accel);
		write_cache(path, key, &accel);
	}
	if (str_eq(wanted, accel_names[ACCEL_KVM])) {
		if (accel.kind != ACCEL_KVM && accel.guest_mips <= 0)
			return err_set(err, -ENODEV, "cannot use kvm: %s", accel.reason);
		accel.kind = ACCEL_KVM; /* slow or not */
	}
	*ret_accel = accel;
	return 0;
}
