/* SPDX-License-Identifier: Apache-2.0 */
/* An archive from a guest, unpacked below a directory. What it makes there is of files without
 * data, in a place of its own; what lies beside it has to stay as it is. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "tar/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

static long read_input(void *ctx, void *data, size_t size)
{
	struct input *input = ctx;

	if (size > input->size)
		size = input->size;
	if (size)
		memcpy(data, input->data, size);
	input->data += size;
	input->size -= size;
	return (long)size;
}

/* All entries and their data. */
static void read_all(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	CLEANUP(tar_reader_freep) struct tar_reader *reader = tar_reader_new(read_input, &input);
	struct tar_entry entry;

	while (tar_reader_next(reader, &entry, NULL) == 1) {
		const void *bytes;

		if (strlen(entry.name) > TAR_PATH_MAX || strlen(entry.link) > TAR_PATH_MAX)
			abort();
		while (tar_reader_data(reader, &bytes, NULL) > 0)
			;
	}
}

static void unpack_all(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	CLEANUP(tar_reader_freep) struct tar_reader *reader = NULL;
	char dir[] = "/tmp/hull-fuzz-XXXXXX";
	struct unpack_options options = {
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
		.prefix = "",
		.top = size % 2 ? "top" : NULL,
		.keep_names = size % 4 == 0,
	};
	struct stat before;
	struct stat after;

	if (!mkdtemp(dir))
		abort();
	AUTO_CLOSE int outer = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdirat(outer, "inner", 0700);
	options.base_fd = openat(outer, "inner", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fstat(outer, &before);
	reader = tar_reader_new(read_input, &input);
	unpack(reader, &options, NULL);
	fstat(outer, &after);
	if (after.st_mtim.tv_sec != before.st_mtim.tv_sec ||
	    after.st_mtim.tv_nsec != before.st_mtim.tv_nsec || after.st_nlink != before.st_nlink)
		abort();
	fchmod(options.base_fd, 0700);
	close(options.base_fd);
	path_remove_tree(dir, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_all(data, size);
	unpack_all(data, size);
	return 0;
}
