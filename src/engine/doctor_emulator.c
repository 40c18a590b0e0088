/* SPDX-License-Identifier: Apache-2.0 */
/* Which emulator runs the machines, and what `system doctor` finds out about it. */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/proc.h"
#include "base/str.h"
#include "engine/internal.h"
#include "engine/networks.h"
#include "vm/emulator.h"
#include "vm/machine.h"

#define VERSION_TEXT_MAX 4096

int engine_emulator(const struct engine *engine, char **ret_path, struct err *err)
{
	return emulator_choose(engine->config.qemu, engine->programs, engine->search_path, ret_path,
			       err);
}

static int package_version(const char *program, char **ret_version, struct err *err)
{
	char *argv[] = { (char *)program, (char *)"--version", NULL };
	AUTO_FREE char *text = NULL;
	int status = proc_output(argv, true, VERSION_TEXT_MAX, &text, err);

	if (status < 0)
		return status;
	err_sanitize(text);
	if (status > 0)
		return err_set(err, -EIO, "'%s' does not run: %s", program, str_or(text, ""));
	*ret_version = emulator_package_version(text);
	return 0;
}

/* A lean one gets no security updates by itself. */
static void compare(struct engine *engine, struct doctor_report *report, const char *finding,
		    const char *lean_version)
{
	AUTO_FREE char *packaged = NULL;
	AUTO_FREE char *version = NULL;
	AUTO_FREE char *advice = NULL;

	if (lean_version && machine_find_qemu(engine->search_path, &packaged, NULL) == 0 &&
	    package_version(packaged, &version, NULL) == 0 && version &&
	    emulator_is_newer(version, lean_version))
		advice = xasprintf("the host's '%s' is newer (%s): build the lean one again, by "
				   "'make qemu' in hull's source",
				   packaged, version);
	doctor_add(report, "emulator", false, finding, advice);
}

void doctor_emulator(struct engine *engine, struct doctor_report *report)
{
	AUTO_FREE char *lean = emulator_lean_path(engine->programs);
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *version = NULL;
	AUTO_FREE char *finding = NULL;
	struct err err = { 0 };
	int r = engine_emulator(engine, &path, &err);

	if (r < 0) {
		doctor_add(report, "emulator", true, err.message,
			   engine->config.qemu ? "correct [vm] qemu in the configuration file"
					       : "apt-get install qemu-system-x86");
		return;
	}
	if (package_version(path, &version, &err) < 0) {
		doctor_add(report, "emulator", true, err.message, NULL);
		return;
	}
	finding = xasprintf("%s, %s", path, str_or(version, "of no package"));
	if (str_eq(path, lean))
		compare(engine, report, finding, version);
	else
		doctor_add(report, "emulator", false, finding,
			   engine->config.qemu
				   ? NULL
				   : "'make qemu' in hull's source builds a leaner one: starts are "
				     "faster and containers smaller");
}
