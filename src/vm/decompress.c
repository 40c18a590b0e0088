/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/decompress.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

static void archive_read_freep(struct archive **archive)
{
	if (*archive)
		archive_read_free(*archive);
}

static int read_all(struct archive *archive, size_t max, uint8_t **ret_data, size_t *ret_size,
		    struct err *err)
{
	AUTO_FREE uint8_t *data = NULL;
	size_t capacity = 0;
	size_t size = 0;

	for (;;) {
		la_ssize_t n;

		if (size == capacity) {
			uint8_t *larger;

			capacity = capacity ? 2 * capacity : 1u << 20;
			larger = realloc(data, capacity);
			if (!larger)
				return err_set(err, -ENOMEM, "not enough memory to decompress");
			data = larger;
		}
		n = archive_read_data(archive, data + size, capacity - size);
		if (n < 0)
			return err_set(err, -EBADMSG, "cannot decompress: %s",
				       archive_error_string(archive));
		if (n == 0)
			break;
		size += (size_t)n;
		if (size > max)
			return err_set(err, -EFBIG, "more than %zu bytes after decompression", max);
	}
	*ret_data = TAKE_PTR(data);
	*ret_size = size;
	return 0;
}

int decompress(const void *data, size_t size, size_t max, uint8_t **ret_data, size_t *ret_size,
	       struct err *err)
{
	CLEANUP(archive_read_freep) struct archive *archive = archive_read_new();
	struct archive_entry *entry;

	if (!archive)
		return err_set(err, -ENOMEM, "not enough memory to decompress");
	/* Not all filters: some run programs. */
	archive_read_support_filter_gzip(archive);
	archive_read_support_filter_bzip2(archive);
	archive_read_support_filter_lzma(archive);
	archive_read_support_filter_xz(archive);
	archive_read_support_filter_lz4(archive);
	archive_read_support_filter_zstd(archive);
	archive_read_support_format_raw(archive);
	if (archive_read_open_memory(archive, data, size) != ARCHIVE_OK ||
	    archive_read_next_header(archive, &entry) != ARCHIVE_OK)
		return err_set(err, -EBADMSG, "cannot decompress: %s",
			       archive_error_string(archive));
	if (archive_filter_count(archive) < 2) /* the last one is "none" */
		return err_set(err, -EBADMSG, "its compression is unknown");
	return read_all(archive, max, ret_data, ret_size, err);
}
