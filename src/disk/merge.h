/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image as one disk: the indexes of its layers are replayed from the lowest up with whiteouts
 * and opaque directories resolved, and only metadata is written. The result is an ordinary
 * single-device EROFS when read as the concatenation [meta][layer 1][layer 2]…, each padded to 4096
 * bytes.
 */
#ifndef DISK_MERGE_H
#define DISK_MERGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct merge_layer {
	const char *disk_path;  /* as layer_convert wrote it */
	const char *index_path; /* our own file, but checked: it may be damaged */
};

enum merge_extras {
	MERGE_EXACT, /* the layers and nothing else */
	/* Also, where the image has nothing of the name: /proc /sys /dev, and empty /etc/hostname,
	 * /etc/hosts, /etc/resolv.conf, so that a guest that mounts over them need not write first.
	 */
	MERGE_MOUNT_POINTS,
};

/* Writes the metadata image to meta_fd (empty, borrowed; not synced). layers[0] is the lowest. */
int merge_layers(const struct merge_layer *layers, size_t count, enum merge_extras extras,
		 int meta_fd, struct err *err);

/* Writes the VMDK descriptor (text) that presents the concatenation of meta and layers as one disk.
 * Paths must be absolute. Sizes are taken from the files, which must be whole 4 KiB blocks. */
int merge_write_descriptor(const char *descriptor_path, const char *meta_path,
			   const struct merge_layer *layers, size_t count, struct err *err);
/* The number of bytes of the concatenation, and whether every file of the descriptor at path is
 * there with the size it had: -ESTALE if not. */
int merge_check_descriptor(const char *descriptor_path, uint64_t *ret_bytes, struct err *err);

#endif
