/* SPDX-License-Identifier: Apache-2.0 */
/* image load: any bytes as an archive, read into a content store in memory (/dev/shm). */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/path.h"
#include "image/archive_in.h"
#include "image/blobs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char root[] = "/dev/shm/hull-fuzz-XXXXXX";

static void remove_root(void)
{
	path_remove_tree(root, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct task task = { .root = root,
				    .answers = -1,
				    .lock = PTHREAD_MUTEX_INITIALIZER };
	static unsigned runs;
	CLEANUP(archive_images_release) struct archive_images images = { 0 };
	AUTO_STREAM struct stream *stream = stream_memory_new(data, size);
	struct err err = { 0 };

	if (runs == 0) {
		if (!mkdtemp(root))
			abort();
		atexit(remove_root);
	}
	if (runs++ % 200 == 0) {
		remove_root();
		if (blobs_prepare(root, &err) < 0)
			abort();
	}
	archive_read_images(&task, stream, &images, &err);
	VEC_EACH (&images, it)
		if (!content_digest_valid(it->document.digest))
			abort();
	return 0;
}
