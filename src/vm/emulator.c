/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/emulator.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "vm/machine.h"

char *emulator_lean_path(const char *programs)
{
	return path_join(programs, "qemu/" MACHINE_QEMU_PROGRAM);
}

int emulator_choose(const char *wanted, const char *programs, const char *search_path,
		    char **ret_path, struct err *err)
{
	AUTO_FREE char *lean = emulator_lean_path(programs);

	if (wanted) {
		if (*wanted != '/')
			return err_set(err, -EINVAL, "[vm] qemu: '%s' is no absolute path", wanted);
		if (access(wanted, X_OK) < 0)
			return err_set(err, -errno, "[vm] qemu: cannot run '%s': %m", wanted);
		*ret_path = xstrdup(wanted);
		return 0;
	}
	if (access(lean, X_OK) == 0) {
		*ret_path = TAKE_PTR(lean);
		return 0;
	}
	return machine_find_qemu(search_path, ret_path, err);
}

char *emulator_package_version(const char *text)
{
	const char *open = strchr(text, '(');
	const char *close = open ? strchr(open, ')') : NULL;
	const char *begin = close;
	const char *end = close;

	if (!close)
		return NULL;
	while (begin > open + 1 && begin[-1] != ' ')
		begin--;
	/* "+b3" at the end: built again, of the same source. */
	while (end > begin && isdigit((unsigned char)end[-1]))
		end--;
	if (end == close || end - begin < 3 || end[-1] != 'b' || end[-2] != '+')
		end = close;
	else
		end -= 2;
	return begin < end && memchr(begin, '-', (size_t)(end - begin))
		       ? xstrndup(begin, (size_t)(end - begin))
		       : NULL;
}

bool emulator_is_newer(const char *version, const char *than)
{
	return strverscmp(version, than) > 0;
}
