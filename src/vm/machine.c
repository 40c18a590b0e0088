/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/machine.h"

#include <errno.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"

const struct machine_devices machine_devices_base = { .disks = 4, .nics = 2 };
const struct machine_devices machine_devices_extended = { .disks = MACHINE_DISKS_MAX,
							  .read_only_disks = 5,
							  .nics = MACHINE_NICS_MAX };

bool machine_devices_suffice(const struct machine_devices *devices,
			     const struct machine_devices *needed)
{
	return machine_first_read_only(devices) >= machine_first_read_only(needed) &&
	       devices->read_only_disks >= needed->read_only_disks && devices->nics >= needed->nics;
}

#define SEARCH_PATH "/usr/local/bin:/usr/bin:/bin"

int machine_find_qemu(const char *search_path, char **ret_path, struct err *err)
{
	AUTO_STRV char **dirs = str_split(str_or(search_path, SEARCH_PATH), ':', 0);

	STRV_EACH (dirs, dir) {
		AUTO_FREE char *path = path_join(*dir, "%s", MACHINE_QEMU_PROGRAM);

		if (path[0] == '/' && access(path, X_OK) == 0) {
			*ret_path = TAKE_PTR(path);
			return 0;
		}
	}
	return err_set(err, -ENOENT,
		       "cannot find " MACHINE_QEMU_PROGRAM
		       "; install it (apt-get install qemu-system-x86)");
}
