/* SPDX-License-Identifier: Apache-2.0 */
/* erofs_list FILE...: the tree of the files read as one EROFS disk, one line per name; the same
 * form as tests/images/list-tree prints of a directory. */
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/str.h"
#include "tests/unit/erofs_read.h"

static int print(void *ctx, const char *path, const struct erofs_stat *st)
{
	AUTO_FREE char *xattrs = erofs_image_xattrs(ctx, st);
	AUTO_FREE char *content = NULL;
	uint8_t digest[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1] = "-";
	unsigned length = 0;

	if (S_ISREG(st->mode) || S_ISLNK(st->mode))
		content = erofs_image_content(ctx, st);
	if (!xattrs || ((S_ISREG(st->mode) || S_ISLNK(st->mode)) && !content))
		return -1;
	if (content) {
		EVP_Digest(content, st->size, digest, &length, EVP_sha256(), NULL);
		hash_hex(digest, length, hex);
	}
	printf("/%s %06o %" PRIu32 ":%" PRIu32 " %" PRId64 " %" PRIu32 " %" PRIu64
	       " %u:%u %.16s %s\n",
	       path, st->mode, st->uid, st->gid, st->mtime, S_ISDIR(st->mode) ? 0 : st->nlink,
	       content ? st->size : 0, (st->rdev >> 8) & 0xfff,
	       (st->rdev & 0xff) | ((st->rdev >> 12) & 0xfff00), hex, xattrs);
	return 0;
}

int main(int argc, char **argv)
{
	struct erofs_image image;
	int r = erofs_image_open(&image, (const char *const *)argv + 1, (size_t)argc - 1);

	if (r == 0)
		r = erofs_image_walk(&image, print, &image);
	if (r < 0)
		fprintf(stderr, "erofs_list: %s\n", image.problem);
	erofs_image_close(&image);
	return r < 0;
}
