/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hull-template: started by the engine behind a start, with the same specification as the shim's;
 * makes the template of the image that was started, so that its next start finds the root file
 * system mounted. It is nobody's to wait for: it runs when nothing else wants the processor, and
 * what it cannot do is not missed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/path.h"
#include "shim/launch.h"
#include "vm/template.h"

#define NICENESS 10

static int derive(const struct launch *launch, struct err *err)
{
	CLEANUP(template_release) struct template base = { 0 };
	AUTO_FREE char *templates = path_join(launch->root, "templates");
	AUTO_FREE char *layers = path_join(launch->root, "layers");
	AUTO_FREE char *disks = path_join(launch->root, "disks");
	const struct machine_image image = { .disk = launch->root_disk,
					     .extent_dirs = { layers, disks } };
	struct machine_shape shape = launch_shape(launch);
	int r;

	shape.image = &image;
	template_open(launch->template_directory, launch->memory_bytes, &base);
	r = template_derive(templates, launch->run, &shape, &base, err);
	return r == -EEXIST || r == -EWOULDBLOCK ? 0 : r;
}

int main(void)
{
	CLEANUP(launch_release) struct launch launch = { 0 };
	struct err err = { 0 };
	int r;

	log_init("hull-template", LOG_LEVEL_WARNING);
	if (fcntl(LAUNCH_FD_SPEC, F_GETFD) < 0) {
		fputs("hull-template is started by hull, not by hand\n", stderr);
		return 64;
	}
	setpriority(PRIO_PROCESS, 0, NICENESS);
	r = launch_read(LAUNCH_FD_SPEC, &launch, &err);
	close(LAUNCH_FD_SPEC);
	if (r == 0 && !launch.template_directory)
		return 64;
	if (launch.debug)
		log_init("hull-template", LOG_LEVEL_DEBUG);
	if (r == 0)
		r = derive(&launch, &err);
	if (r < 0)
		log_debug("no template for the image: %s", err.message);
	return r < 0;
}
