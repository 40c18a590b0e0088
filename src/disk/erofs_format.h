/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the EROFS on-disk format hull writes: 4 KiB blocks, uncompressed, extended inodes, no
 * device table. Little endian throughout; fields may be used as they are because hull runs on
 * little-endian machines only (asserted). The format: Linux, Documentation/filesystems/erofs.rst.
 */
#ifndef DISK_EROFS_FORMAT_H
#define DISK_EROFS_FORMAT_H

#include <assert.h>
#include <stdint.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "EROFS structures are used in place");

#define EROFS_BLOCK_BITS 12
#define EROFS_BLOCK_SIZE 4096u
#define EROFS_SLOT_SIZE 32u /* inode address = meta_blkaddr * block size + nid * slot size */
#define EROFS_SUPER_OFFSET 1024u
#define EROFS_MAGIC 0xe0f5e1e2u
#define EROFS_NAME_MAX 255

#define EROFS_COMPAT_SB_CHKSUM 1u
#define EROFS_COMPAT_MTIME 2u
#define EROFS_INCOMPAT_CHUNKED_FILE 4u

struct erofs_super_block {
	uint32_t magic;
	uint32_t checksum; /* crc32c, seed ~0, over bytes 1024..4095 with this field zero */
	uint32_t feature_compat;
	uint8_t block_bits;
	uint8_t sb_extslots;
	uint16_t root_nid;
	uint64_t inos;
	uint64_t build_time;
	uint32_t build_time_nsec;
	uint32_t blocks;
	uint32_t meta_blkaddr;
	uint32_t xattr_blkaddr;
	uint8_t uuid[16];
	uint8_t volume_name[16];
	uint32_t feature_incompat;
	uint16_t compression;
	uint16_t extra_devices;
	uint16_t devt_slotoff;
	uint8_t dirblkbits;
	uint8_t reserved[5];
	uint64_t packed_nid;
	uint8_t reserved2[24];
};
static_assert(sizeof(struct erofs_super_block) == 128, "super block");

enum erofs_layout {
	EROFS_LAYOUT_PLAIN = 0,
	EROFS_LAYOUT_INLINE = 2, /* the last, partial block follows the inode and its xattrs */
	EROFS_LAYOUT_CHUNK = 4,  /* an array of block addresses follows the inode and its xattrs */
};

#define EROFS_FORMAT_EXTENDED 1u
#define EROFS_FORMAT_LAYOUT_SHIFT 1
#define EROFS_CHUNK_BITS_MAX 31u /* log2 of the blocks of a chunk */
#define EROFS_NULL_BLOCK 0xffffffffu

struct erofs_inode {
	uint16_t format;
	uint16_t xattr_icount; /* (bytes of the xattr body - 12) / 4 + 1; 0 without xattrs */
	uint16_t mode;
	uint16_t reserved;
	uint64_t size;
	uint32_t data; /* block address, device number (Linux's huge encoding) or chunk format */
	uint32_t ino;
	uint32_t uid;
	uint32_t gid;
	int64_t mtime;
	uint32_t mtime_nsec;
	uint32_t nlink;
	uint8_t reserved2[16];
};
static_assert(sizeof(struct erofs_inode) == 64, "inode");

struct erofs_dirent {
	uint64_t nid;
	uint16_t nameoff;
	uint8_t file_type;
	uint8_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct erofs_dirent) == 12, "dirent");

enum erofs_file_type {
	EROFS_FT_REG = 1,
	EROFS_FT_DIR = 2,
	EROFS_FT_CHR = 3,
	EROFS_FT_BLK = 4,
	EROFS_FT_FIFO = 5,
	EROFS_FT_SOCK = 6,
	EROFS_FT_SYMLINK = 7,
};

#define EROFS_XATTR_HEADER_SIZE 12u
#define EROFS_XATTR_BODY_MAX (EROFS_XATTR_HEADER_SIZE + 65534u * 4u)

enum erofs_xattr_index {
	EROFS_XATTR_USER = 1,
	EROFS_XATTR_ACL_ACCESS = 2,
	EROFS_XATTR_ACL_DEFAULT = 3,
	EROFS_XATTR_TRUSTED = 4,
	EROFS_XATTR_SECURITY = 6,
};

struct erofs_xattr_entry {
	uint8_t name_length; /* of the name without its prefix */
	uint8_t name_index;
	uint16_t value_size;
};
static_assert(sizeof(struct erofs_xattr_entry) == 4, "xattr entry");

#endif
