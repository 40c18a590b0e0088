/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoding of control messages: integers little-endian, strings as u32 length, bytes and a NUL
 * (so that a reader can use them in place; a NUL inside is refused), lists as u32 count and items.
 */
#ifndef PROTO_PACK_H
#define PROTO_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

void pack_u8(struct sbuf *out, uint8_t value);
void pack_u16(struct sbuf *out, uint16_t value);
void pack_u32(struct sbuf *out, uint32_t value);
void pack_u64(struct sbuf *out, uint64_t value);
void pack_string(struct sbuf *out, const char *text); /* NULL is packed as "" */
void pack_strv(struct sbuf *out, char *const *strv);
void pack_bytes(struct sbuf *out, const void *data, size_t size);

/* A reader over a received message. The first failure sticks: later reads return 0, "" or NULL and
 * `failed` stays set, so that a decoder checks once, at its end. */
struct unpack {
	const uint8_t *data; /* borrowed; strings point into it */
	size_t size;
	size_t offset;
	bool failed;
};

uint8_t unpack_u8(struct unpack *in);
uint16_t unpack_u16(struct unpack *in);
uint32_t unpack_u32(struct unpack *in);
uint64_t unpack_u64(struct unpack *in);
const char *unpack_string(struct unpack *in); /* borrowed from data */
/* A heap array (free() it) of borrowed strings, NULL-terminated; at most max of them. NULL on
 * failure. */
char **unpack_strv(struct unpack *in, size_t max);
void unpack_bytes(struct unpack *in, void *out, size_t size);
/* size bytes in place, borrowed from data; "" on failure. */
const char *unpack_block(struct unpack *in, size_t size);
/* 0 if everything was read without failure and nothing is left, else -EPROTO. */
int unpack_done(const struct unpack *in);

#endif
