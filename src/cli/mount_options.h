/* SPDX-License-Identifier: Apache-2.0 */
/* The words that say what a container mounts. All append to the mounts of config and return 0 or
 * -EINVAL with what is wrong. */
#ifndef CLI_MOUNT_OPTIONS_H
#define CLI_MOUNT_OPTIONS_H

#include "base/err.h"
#include "store/config.h"

/* --tmpfs DST[:option,option…] */
int mount_parse_tmpfs(const char *text, struct container_config *config, struct err *err);
/* --volume [SRC:]DST[:option,option…]. A source with a slash or that begins with '.' is a path of
 * the host (made absolute), another one the name of a volume; without one the volume has none. */
int mount_parse_volume(const char *text, struct container_config *config, struct err *err);
/* --mount type=…,source=…,target=…,readonly,… */
int mount_parse(const char *text, struct container_config *config, struct err *err);

#endif
