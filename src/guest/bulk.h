/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's end of a lane (proto/bulk.h): the bytes of an archive, read from and written to the
 * disk past the page cache. A copy by a processor is what costs most in an emulated guest, so data
 * goes straight to and from the caller's memory where that is aligned.
 */
#ifndef GUEST_BULK_H
#define GUEST_BULK_H

#include <stdint.h>

#include "base/err.h"
#include "proto/bulk.h"

struct bulk_end {
	struct bulk bulk;
	int disk;      /* borrowed */
	off_t lane;    /* where it begins on the disk */
	uint8_t *held; /* owned: BULK_BLOCK, aligned */
	off_t block;   /* the current one; -1: none */
	size_t at;     /* in it */
	size_t size;   /* reading: what is in it */
	size_t from;   /* writing: what of it is held, from there to at; reading: held from there */
	size_t until;  /* reading: held to there */
};

/* O_RDWR past the cache; owned by the caller. */
int bulk_open_disk(struct err *err);
/* lane counts from 1; in and out are borrowed. */
void bulk_end_init(struct bulk_end *end, int disk, uint32_t lane, int in, int out);
void bulk_end_release(struct bulk_end *end);

/* tar_read_fn and tar_write_fn; ctx is a struct bulk_end. */
long bulk_end_read(void *ctx, void *data, size_t size);
int bulk_end_write(void *ctx, const void *data, size_t size);
/* The last of what was written. */
int bulk_end_flush(struct bulk_end *end);

#endif
