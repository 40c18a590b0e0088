/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/pack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/le.h"

/* The least an item of a list takes: an empty string's length and NUL. */
#define PACKED_STRING_MIN 5

void pack_u8(struct sbuf *out, uint8_t value)
{
	sbuf_add_bytes(out, &value, sizeof(value));
}

void pack_u16(struct sbuf *out, uint16_t value)
{
	uint8_t bytes[sizeof(value)];

	le_put16(bytes, value);
	sbuf_add_bytes(out, bytes, sizeof(bytes));
}

void pack_u32(struct sbuf *out, uint32_t value)
{
	uint8_t bytes[sizeof(value)];

	le_put32(bytes, value);
	sbuf_add_bytes(out, bytes, sizeof(bytes));
}

void pack_u64(struct sbuf *out, uint64_t value)
{
	uint8_t bytes[sizeof(value)];

	le_put64(bytes, value);
	sbuf_add_bytes(out, bytes, sizeof(bytes));
}

void pack_string(struct sbuf *out, const char *text)
{
	size_t length = text ? strlen(text) : 0;

	pack_u32(out, (uint32_t)length);
	sbuf_add_bytes(out, text ? text : "", length + 1);
}

void pack_strv(struct sbuf *out, char *const *strv)
{
	pack_u32(out, (uint32_t)strv_count(strv));
	STRV_EACH (strv, it)
		pack_string(out, *it);
}

void pack_bytes(struct sbuf *out, const void *data, size_t size)
{
	sbuf_add_bytes(out, data, size);
}

/* The next size bytes, or NULL (and failure) when there are fewer. */
static const uint8_t *take(struct unpack *in, size_t size)
{
	const uint8_t *at = in->data + in->offset;

	if (in->failed || in->size - in->offset < size) {
		in->failed = true;
		return NULL;
	}
	in->offset += size;
	return at;
}

uint8_t unpack_u8(struct unpack *in)
{
	const uint8_t *at = take(in, sizeof(uint8_t));

	return at ? *at : 0;
}

uint16_t unpack_u16(struct unpack *in)
{
	const uint8_t *at = take(in, sizeof(uint16_t));

	return at ? le_get16(at) : 0;
}

uint32_t unpack_u32(struct unpack *in)
{
	const uint8_t *at = take(in, sizeof(uint32_t));

	return at ? le_get32(at) : 0;
}

uint64_t unpack_u64(struct unpack *in)
{
	const uint8_t *at = take(in, sizeof(uint64_t));

	return at ? le_get64(at) : 0;
}

const char *unpack_string(struct unpack *in)
{
	uint32_t length = unpack_u32(in);
	const uint8_t *text = take(in, (size_t)length + 1);

	if (!text)
		return "";
	if (text[length] != '\0' || memchr(text, '\0', length)) {
		in->failed = true;
		return "";
	}
	return (const char *)text;
}

char **unpack_strv(struct unpack *in, size_t max)
{
	uint32_t count = unpack_u32(in);
	char **strv;

	if (in->failed || count > max || count > (in->size - in->offset) / PACKED_STRING_MIN) {
		in->failed = true;
		return NULL;
	}
	strv = calloc((size_t)count + 1, sizeof(char *));
	if (!strv) {
		in->failed = true;
		return NULL;
	}
	for (uint32_t i = 0; i < count; i++)
		strv[i] = (char *)unpack_string(in);
	if (in->failed) {
		free(strv);
		return NULL;
	}
	return strv;
}

const char *unpack_block(struct unpack *in, size_t size)
{
	const char *block;

	if (in->failed || size > in->size - in->offset) {
		in->failed = true;
		return "";
	}
	block = (const char *)in->data + in->offset;
	in->offset += size;
	return block;
}

void unpack_bytes(struct unpack *in, void *out, size_t size)
{
	const uint8_t *at = take(in, size);

	if (at)
		memcpy(out, at, size);
	else
		memset(out, 0, size);
}

int unpack_done(const struct unpack *in)
{
	return !in->failed && in->offset == in->size ? 0 : -EPROTO;
}
