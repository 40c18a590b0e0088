/* SPDX-License-Identifier: Apache-2.0 */
/* Decompression of layers: the first byte says in what steps the input comes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "image/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUTPUT_MAX (16 * 1024 * 1024)

struct steps {
	struct stream stream;
	const uint8_t *data;
	size_t size, step;
};

static ssize_t steps_read(struct stream *stream, const void **ret_data, struct err *err)
{
	struct steps *self = (struct steps *)stream;
	size_t n = self->size < self->step ? self->size : self->step;

	(void)err;
	*ret_data = self->data;
	self->data += n;
	self->size -= n;
	return (ssize_t)n;
}

static void steps_free(struct stream *stream)
{
	free(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct stream_ops ops = { .read = steps_read, .free = steps_free };
	struct steps *steps;
	AUTO_STREAM struct stream *stream = NULL;
	struct err err = { 0 };
	const void *piece;
	size_t total = 0;
	ssize_t n;

	if (size == 0)
		return 0;
	steps = xcalloc(1, sizeof(*steps));
	*steps = (struct steps){ { &ops, 1 }, data + 1, size - 1, (size_t)data[0] + 1 };
	stream = stream_decompress_new(&steps->stream);
	while (total < OUTPUT_MAX && (n = stream_read(stream, &piece, &err)) > 0)
		total += (size_t)n;
	return 0;
}
