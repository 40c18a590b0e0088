/* SPDX-License-Identifier: Apache-2.0 */
/* The block that heads an entry, by the byte. */
#ifndef TAR_FORMAT_H
#define TAR_FORMAT_H

#include <assert.h>

#include "tar/tar.h"

struct tar_header {
	char name[100];
	char mode[8], uid[8], gid[8];
	char size[12], mtime[12];
	char checksum[8];
	char type;
	char link[100];
	char magic[6], version[2];
	char user[32], group[32];
	char major[8], minor[8];
	char prefix[155];
	char padding[12];
};
static_assert(sizeof(struct tar_header) == TAR_BLOCK, "a header is a block");

#define TAR_TYPE_EXTENDED 'x'
#define TAR_TYPE_GLOBAL 'g'
#define TAR_TYPE_GNU_NAME 'L'
#define TAR_TYPE_GNU_LINK 'K'
#define TAR_XATTR_PREFIX "SCHILY.xattr."
#define TAR_SPARSE_DIRECTORY "GNUSparseFile.0/" /* before the name, for who does not know holes */

/* The type's letters in the order of enum tar_type. */
#define TAR_TYPE_LETTERS "0123456"

/* The sum of the block's bytes, its checksum taken for blanks. */
uint32_t tar_checksum(const struct tar_header *header);
/* Bytes from size to the end of its last block. */
static inline size_t tar_padding(uint64_t size)
{
	return (size_t)(-size & (TAR_BLOCK - 1));
}

#endif
