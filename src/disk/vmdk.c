/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMDK descriptor of a merged image. QEMU's reader is lenient where that hurts: it counts an
 * extent twice after a blank line, ignores RDONLY extents, and does not mind an extent longer than
 * its file. So the text is written in one exact form, and that form only is accepted by the check.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "disk/erofs_format.h"
#include "disk/merge.h"

#define SECTOR_SIZE 512u
#define PATH_LENGTH_MAX 511 /* of an extent's line in QEMU */
#define DESCRIPTOR_MAX (16u << 20)

#define HEADER                                                    \
	"# Disk DescriptorFile\nversion=1\nCID=fffffffe\n"        \
	"parentCID=ffffffff\ncreateType=\"twoGbMaxExtentFlat\"\n" \
	"# Extent description\n"

static int add_extent(struct sbuf *text, const char *path, struct err *err)
{
	struct stat st;

	if (path[0] != '/' || strpbrk(path, "\"\n\r") || strlen(path) > PATH_LENGTH_MAX)
		return err_set(err, -EINVAL, "the path '%s' cannot be part of a disk", path);
	if (stat(path, &st) < 0)
		return err_set(err, -errno, "cannot stat '%s': %m", path);
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size % EROFS_BLOCK_SIZE)
		return err_set(err, -EBADMSG, "'%s' is not a whole number of blocks", path);
	sbuf_addf(text, "RW %llu FLAT \"%s\" 0\n", (unsigned long long)st.st_size / SECTOR_SIZE,
		  path);
	return 0;
}

int merge_write_descriptor(const char *descriptor_path, const char *meta_path,
			   const struct merge_layer *layers, size_t count, struct err *err)
{
	AUTO_SBUF struct sbuf text = { 0 };
	int r;

	sbuf_add(&text, HEADER);
	r = add_extent(&text, meta_path, err);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = add_extent(&text, layers[i].disk_path, err);
	if (r < 0)
		return r;
	return file_write_atomic(descriptor_path, text.text, text.length, 0600, true, err);
}

/* Takes one line `RW SECTORS FLAT "PATH" 0` apart (in place). */
static int parse_extent(char *line, uint64_t *ret_bytes, const char **ret_path)
{
	char *number = line + strlen("RW ");
	char *space = str_starts(line, "RW ") ? strchr(number, ' ') : NULL;
	const char *path = space ? str_after(space, " FLAT \"") : NULL;
	char *quote = path ? strrchr(line, '"') : NULL;
	uint64_t sectors;

	if (!quote || quote < path || !str_eq(quote, "\" 0"))
		return -EBADMSG;
	*space = *quote = '\0';
	if (str_parse_u64(number, &sectors) < 0 ||
	    __builtin_mul_overflow(sectors, SECTOR_SIZE, ret_bytes))
		return -EBADMSG;
	*ret_path = path;
	return 0;
}

static int check_extent(char *line, uint64_t *bytes, struct err *err)
{
	const char *path;
	uint64_t size;
	struct stat st;

	if (parse_extent(line, &size, &path) < 0 || __builtin_add_overflow(*bytes, size, bytes))
		return err_set(err, -EBADMSG, "an extent is malformed");
	if (stat(path, &st) < 0)
		return err_set(err, -ESTALE, "its part '%s' is missing", path);
	if ((uint64_t)st.st_size != size)
		return err_set(err, -ESTALE, "its part '%s' has another size", path);
	return 0;
}

static int check_text(char *text, uint64_t *ret_bytes, struct err *err)
{
	uint64_t bytes = 0;
	char *line = text + strlen(HEADER);

	if (!str_starts(text, HEADER) || !*line)
		return err_set(err, -EBADMSG, "it is not a disk's descriptor");
	while (*line) {
		char *end = strchr(line, '\n');
		int r;

		if (!end)
			return err_set(err, -EBADMSG, "it is cut short");
		*end = '\0';
		r = check_extent(line, &bytes, err);
		if (r < 0)
			return r;
		line = end + 1;
	}
	*ret_bytes = bytes;
	return 0;
}

int merge_check_descriptor(const char *descriptor_path, uint64_t *ret_bytes, struct err *err)
{
	AUTO_FREE char *text = NULL;
	uint64_t bytes = 0;
	int r = file_read(descriptor_path, DESCRIPTOR_MAX, &text, NULL, err);

	if (r < 0)
		return r;
	r = check_text(text, &bytes, err);
	if (r < 0) {
		err_context(err, "disk '%s'", descriptor_path);
		return r;
	}
	if (ret_bytes)
		*ret_bytes = bytes;
	return 0;
}
