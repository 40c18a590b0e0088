/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_layer TAR... DIR: converts each tar to DIR/N.erofs and DIR/N.index, merges them to
 * DIR/meta.erofs and DIR/image.vmdk, and prints how long that took and how much memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "disk/layer.h"
#include "disk/merge.h"

#define PIECE (256u << 10)

struct source {
	int fd;
	char buffer[PIECE];
};

static ssize_t source_read(void *ctx, const void **ret_data)
{
	struct source *source = ctx;
	ssize_t n = read(source->fd, source->buffer, sizeof(source->buffer));

	*ret_data = source->buffer;
	return n < 0 ? -errno : n;
}

static int convert(const char *tar, const struct merge_layer *layer, struct err *err)
{
	static struct source source;
	AUTO_CLOSE int in = open(tar, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int disk = open(layer->disk_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	AUTO_CLOSE int index =
		open(layer->index_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint64_t start = clock_monotonic_ns();
	uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	struct layer_info info;
	struct stat st;
	int r;

	if (in < 0 || disk < 0 || index < 0 || fstat(in, &st) < 0)
		return err_set(err, -errno, "cannot open '%s' or its outputs: %m", tar);
	source.fd = in;
	r = layer_convert(source_read, &source, &layer_limits_default, disk, index, &info, err);
	if (r < 0)
		return r;
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	printf("%s: %.1f MB, %llu entries, disk %.1f MB: %.3f s, %.3f CPU s, %.0f MB per CPU s\n",
	       tar, (double)st.st_size / 1e6, (unsigned long long)info.entries,
	       (double)info.disk_bytes / 1e6, (double)(clock_monotonic_ns() - start) / 1e9,
	       (double)cpu / 1e9, (double)st.st_size / 1e6 / ((double)cpu / 1e9));
	return 0;
}

static int merge(const char *dir, const struct merge_layer *layers, size_t count, struct err *err)
{
	AUTO_FREE char *meta_path = path_join(dir, "meta.erofs");
	AUTO_FREE char *descriptor = path_join(dir, "image.vmdk");
	AUTO_CLOSE int meta = open(meta_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint64_t start = clock_monotonic_ns();
	uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t bytes;
	int r = merge_layers(layers, count, MERGE_EXACT, meta, err);

	if (r == 0)
		printf("merge: %.1f ms, %.1f CPU ms\n",
		       (double)(clock_monotonic_ns() - start) / 1e6,
		       (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e6);
	if (r == 0)
		r = merge_write_descriptor(descriptor, meta_path, layers, count, err);
	if (r == 0)
		r = merge_check_descriptor(descriptor, &bytes, err);
	if (r == 0)
		printf("disk: %llu bytes\n", (unsigned long long)bytes);
	return r;
}

int main(int argc, char **argv)
{
	size_t count = argc > 2 ? (size_t)argc - 2 : 0;
	AUTO_FREE struct merge_layer *layers = xcalloc(count + 1, sizeof(*layers));
	const char *dir = argv[argc - 1];
	struct rusage usage;
	struct err err = { 0 };
	int r = 0;

	if (!count) {
		fprintf(stderr, "usage: bench_layer TAR... DIR\n");
		return 2;
	}
	for (size_t i = 0; r == 0 && i < count; i++) {
		layers[i].disk_path = path_join(dir, "%zu.erofs", i);
		layers[i].index_path = path_join(dir, "%zu.index", i);
		r = convert(argv[1 + i], &layers[i], &err);
	}
	if (r == 0)
		r = merge(dir, layers, count, &err);
	if (r < 0)
		fprintf(stderr, "bench_layer: %s\n", err.message);
	getrusage(RUSAGE_SELF, &usage);
	printf("peak memory: %.1f MB\n", (double)usage.ru_maxrss / 1024);
	return r < 0;
}
