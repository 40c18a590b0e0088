/* SPDX-License-Identifier: Apache-2.0 */
/* Tar archives made by hand, header by header, so that they can be as wrong as a test wants. */
#ifndef TESTS_UNIT_TAR_MAKE_H
#define TESTS_UNIT_TAR_MAKE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

struct tar_entry {
	const char *name; /* at most 99 bytes; longer ones go into a pax record */
	char type;     /* '0' file (default), '1' link, '2' symlink, '3' '4' '6' special, '5' dir */
	unsigned mode; /* default 0644 */
	unsigned uid, gid;
	long long mtime;
	const char *link;
	const void *data;
	size_t size;
	unsigned major, minor;
	const char *pax; /* records of a pax header before it, as tar_pax makes them */
	size_t pax_size;
};

/* Adds `LENGTH key=value\n`. */
static inline void tar_pax(struct sbuf *records, const char *key, const void *value, size_t size)
{
	size_t body = strlen(key) + size + 3;
	size_t length = body + 1;
	char number[32];

	while (length != body + (size_t)snprintf(number, sizeof(number), "%zu", length))
		length = body + strlen(number);
	sbuf_addf(records, "%zu %s=", length, key);
	sbuf_add_bytes(records, value, size);
	sbuf_add(records, "\n");
}

static inline void tar_header(struct sbuf *tar, const struct tar_entry *e, char type, size_t size)
{
	unsigned char h[512] = { 0 };
	unsigned sum = 0;

	memcpy(h, e->name, strlen(e->name) < 100 ? strlen(e->name) : 100);
	snprintf((char *)h + 100, 8, "%07o", (e->mode ? e->mode : 0644) & 07777);
	snprintf((char *)h + 108, 8, "%07o", e->uid);
	snprintf((char *)h + 116, 8, "%07o", e->gid);
	snprintf((char *)h + 124, 12, "%011llo", (unsigned long long)size);
	snprintf((char *)h + 136, 12, "%011llo", (unsigned long long)e->mtime);
	h[156] = (unsigned char)type;
	if (e->link)
		memcpy(h + 157, e->link, strlen(e->link) < 100 ? strlen(e->link) : 100);
	memcpy(h + 257, "ustar\00000", 8);
	snprintf((char *)h + 329, 8, "%07o", e->major);
	snprintf((char *)h + 337, 8, "%07o", e->minor);
	memset(h + 148, ' ', 8);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += h[i];
	snprintf((char *)h + 148, 8, "%06o", sum);
	sbuf_add_bytes(tar, h, sizeof(h));
}

static inline void tar_body(struct sbuf *tar, const void *data, size_t size)
{
	static const char zeroes[512];

	if (size)
		sbuf_add_bytes(tar, data, size);
	sbuf_add_bytes(tar, zeroes, (512 - size % 512) % 512);
}

static inline void tar_add(struct sbuf *tar, struct tar_entry e)
{
	if (e.pax) {
		struct tar_entry x = { .name = "pax" };

		tar_header(tar, &x, 'x', e.pax_size);
		tar_body(tar, e.pax, e.pax_size);
	}
	tar_header(tar, &e, e.type ? e.type : '0', e.size);
	tar_body(tar, e.data, e.size);
}

static inline void tar_end(struct sbuf *tar)
{
	static const char zeroes[1024];

	sbuf_add_bytes(tar, zeroes, sizeof(zeroes));
}

#endif
