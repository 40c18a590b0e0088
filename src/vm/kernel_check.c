/* SPDX-License-Identifier: Apache-2.0 */
/* Apart from kernel.c, so that a start links no decompressor. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "vm/kernel.h"

int kernel_check(const char *directory, char **ret_release, struct err *err)
{
	AUTO_FREE char *vmlinux = path_join(directory, "vmlinux");
	AUTO_FREE char *modules = path_join(directory, "modules");
	AUTO_FREE char *release_path = path_join(directory, "release");
	AUTO_FREE char *release = NULL;
	struct stat st;
	int r;

	if (stat(vmlinux, &st) < 0)
		return err_set(err, -errno, "there is no kernel in '%s': %m", directory);
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || !path_exists(modules))
		return err_set(err, -EINVAL, "the kernel in '%s' is damaged", directory);
	r = file_read(release_path, 256, &release, NULL, err);
	if (r < 0)
		return r;
	release[strcspn(release, "\n")] = '\0';
	if (!release[0])
		return err_set(err, -EINVAL, "the kernel in '%s' is damaged", directory);
	*ret_release = TAKE_PTR(release);
	return 0;
}
