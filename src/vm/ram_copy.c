/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages a machine has changed tells /proc/PID/pagemap: in a private mapping of a file, a page
 * that is there and is not the file's was copied when it was first written (Linux,
 * Documentation/admin-guide/mm/pagemap.rst). It is read under the same rights as a debugger's,
 * which a parent has over its child whatever Yama says.
 *
 * The kernel's own record of writes (soft-dirty) would make the second pass shorter still, but is
 * not in every kernel.
 */
#include "vm/ram_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "vm/ram_page.h"

#define BATCH_PAGES 512 /* read from the machine at once: fits a core's cache */
#define BATCH_RUNS 128
#define ENTRIES 8192 /* of the pagemap, read at once */
#define AREAS_MAX 16

#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_SWAPPED (UINT64_C(1) << 62)
#define ENTRY_OF_FILE (UINT64_C(1) << 61)

struct area { /* of the emulator's address space */
	uint64_t address;
	uint64_t first_page; /* of the memory */
	uint64_t pages;
};

struct ram_copy {
	pid_t pid;
	int pagemap; /* owned */
	int base;    /* borrowed */
	int to;      /* borrowed */
	uint64_t pages;
	uint64_t changed;
	bool base_written;
	struct area areas[AREAS_MAX];
	size_t area_count;
	uint8_t *filled;   /* owned; bit n: page n of the file may hold something */
	uint64_t *entries; /* owned, ENTRIES */
	/* A batch. */
	uint8_t *buffer; /* owned, BATCH_PAGES */
	struct iovec runs[BATCH_RUNS];
	uint64_t run_pages[BATCH_RUNS]; /* where in the memory each begins */
	size_t run_count;
	size_t batch_pages;
};

static bool is_filled(const struct ram_copy *copy, uint64_t page)
{
	return copy->filled[page / 8] & (1u << (page % 8));
}

static void set_filled(struct ram_copy *copy, uint64_t page)
{
	copy->filled[page / 8] |= (uint8_t)(1u << (page % 8));
}

/* A line of /proc/PID/maps (proc(5)) that maps our file adds an area. */
static void add_area(struct ram_copy *copy, const char *line, const struct stat *base)
{
	unsigned long long start, end, offset, inode;
	unsigned major_number, minor_number;

	if (copy->area_count == AREAS_MAX ||
	    sscanf(line, "%llx-%llx %*s %llx %x:%x %llu", &start, &end, &offset, &major_number,
		   &minor_number, &inode) != 6 ||
	    inode != base->st_ino || makedev(major_number, minor_number) != base->st_dev)
		return;
	copy->areas[copy->area_count++] =
		(struct area){ start, offset / RAM_PAGE, (end - start) / RAM_PAGE };
}

static int find_areas(struct ram_copy *copy, struct err *err)
{
	char path[64];
	uint64_t found = 0;
	struct stat base;
	FILE *maps;
	char *line = NULL;
	size_t capacity = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)copy->pid);
	maps = fopen(path, "re");
	if (!maps || fstat(copy->base, &base) < 0) {
		int r = err_set(err, -errno, "cannot read the memory of the emulator: %m");

		if (maps)
			fclose(maps);
		return r;
	}
	while (getline(&line, &capacity, maps) > 0)
		add_area(copy, line, &base);
	free(line);
	fclose(maps);
	for (size_t i = 0; i < copy->area_count; i++)
		found += copy->areas[i].pages;
	if (found != copy->pages)
		return err_set(err, -EIO, "the emulator maps %llu of %llu pages of memory",
			       (unsigned long long)found, (unsigned long long)copy->pages);
	return 0;
}

static int open_process(struct ram_copy *copy, struct err *err)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)copy->pid);
	copy->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (copy->pagemap < 0)
		return err_set(err, -errno, "cannot read the memory of the emulator: %m");
	return find_areas(copy, err);
}

int ram_copy_new(pid_t pid, int base_fd, uint64_t bytes, int to_fd, struct ram_copy **ret_copy,
		 struct err *err)
{
	struct ram_copy *copy = xcalloc(1, sizeof(*copy));
	int r = 0;

	*copy = (struct ram_copy){
		.pid = pid, .pagemap = -1, .base = base_fd, .to = to_fd, .pages = bytes / RAM_PAGE
	};
	copy->filled = calloc(1, copy->pages / 8 + 1);
	copy->entries = calloc(ENTRIES, sizeof(*copy->entries));
	copy->buffer = malloc((size_t)BATCH_PAGES * RAM_PAGE);
	if (!copy->filled || !copy->entries || !copy->buffer)
		r = err_set(err, -ENOMEM, "cannot copy the machine's memory: %m");
	else if (ftruncate(to_fd, (off_t)bytes) < 0)
		r = err_set(err, -errno, "cannot make room for the machine's memory: %m");
	if (r == 0)
		r = open_process(copy, err);
	if (r < 0) {
		ram_copy_free(copy);
		return r;
	}
	*ret_copy = copy;
	return 0;
}

struct ram_copy *ram_copy_free(struct ram_copy *copy)
{
	if (!copy)
		return NULL;
	if (copy->pagemap >= 0)
		close(copy->pagemap);
	free(copy->filled);
	free(copy->entries);
	free(copy->buffer);
	free(copy);
	return NULL;
}

uint64_t ram_copy_changed_pages(const struct ram_copy *copy)
{
	return copy->changed;
}

/* Writes pages from the buffer: those that are zero only over what may be there. */
static int write_pages(struct ram_copy *copy, const uint8_t *data, uint64_t page, size_t count)
{
	size_t start = 0; /* of the pages not yet written */
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		if (is_filled(copy, page + i))
			continue;
		if (!ram_page_is_zero(data + i * RAM_PAGE)) {
			set_filled(copy, page + i);
			continue;
		}
		if (i > start)
			r = fd_pwrite_all(copy->to, data + start * RAM_PAGE, (i - start) * RAM_PAGE,
					  (off_t)((page + start) * RAM_PAGE));
		start = i + 1;
	}
	if (r == 0 && count > start)
		r = fd_pwrite_all(copy->to, data + start * RAM_PAGE, (count - start) * RAM_PAGE,
				  (off_t)((page + start) * RAM_PAGE));
	return r;
}

static int flush_batch(struct ram_copy *copy)
{
	size_t bytes = copy->batch_pages * RAM_PAGE;
	struct iovec local = { copy->buffer, bytes };
	const uint8_t *at = copy->buffer;
	ssize_t n;
	int r = 0;

	if (!bytes)
		return 0;
	n = process_vm_readv(copy->pid, &local, 1, copy->runs, copy->run_count, 0);
	if (n != (ssize_t)bytes)
		return n < 0 ? -errno : -EIO;
	for (size_t i = 0; i < copy->run_count && r == 0; i++) {
		size_t pages = copy->runs[i].iov_len / RAM_PAGE;

		r = write_pages(copy, at, copy->run_pages[i], pages);
		at += copy->runs[i].iov_len;
	}
	copy->run_count = copy->batch_pages = 0;
	return r;
}

static int add_to_batch(struct ram_copy *copy, uint64_t address, uint64_t page)
{
	size_t last = copy->run_count - 1;
	int r;

	if (copy->run_count && copy->batch_pages < BATCH_PAGES &&
	    (uint64_t)(uintptr_t)copy->runs[last].iov_base + copy->runs[last].iov_len == address &&
	    copy->run_pages[last] + copy->runs[last].iov_len / RAM_PAGE == page) {
		copy->runs[last].iov_len += RAM_PAGE;
		copy->batch_pages++;
		return 0;
	}
	if (copy->run_count == BATCH_RUNS || copy->batch_pages == BATCH_PAGES) {
		r = flush_batch(copy);
		if (r < 0)
			return r;
	}
	copy->runs[copy->run_count] =
		(struct iovec){ (void *)(uintptr_t)address, RAM_PAGE }; // NOLINT: another's
	copy->run_pages[copy->run_count] = page;
	copy->run_count++;
	copy->batch_pages++;
	return 0;
}

typedef int (*changed_fn)(struct ram_copy *copy, uint64_t address, uint64_t page);

/* Calls fn for each page that the machine has changed. */
static int each_changed(struct ram_copy *copy, changed_fn fn)
{
	int r = 0;

	copy->changed = 0;
	for (size_t a = 0; a < copy->area_count; a++) {
		const struct area *area = &copy->areas[a];

		for (uint64_t at = 0; at < area->pages && r == 0; at += ENTRIES) {
			size_t count = area->pages - at < ENTRIES ? area->pages - at : ENTRIES;
			uint64_t index = area->address / RAM_PAGE + at;

			r = fd_pread_exact(copy->pagemap, copy->entries, count * sizeof(uint64_t),
					   (off_t)(index * sizeof(uint64_t)));
			for (size_t i = 0; i < count && r == 0; i++) {
				uint64_t entry = copy->entries[i];

				if (!(entry & (ENTRY_PRESENT | ENTRY_SWAPPED)) ||
				    (entry & ENTRY_OF_FILE))
					continue;
				copy->changed++;
				r = fn(copy, area->address + (at + i) * RAM_PAGE,
				       area->first_page + at + i);
			}
		}
	}
	return r;
}

/* Until the base is written, "filled" says what of it need not be. */
static int mark(struct ram_copy *copy, uint64_t address, uint64_t page)
{
	(void)address;
	set_filled(copy, page);
	return 0;
}

static int copy_base_run(struct ram_copy *copy, uint64_t page, size_t count)
{
	int r = fd_pread_exact(copy->base, copy->buffer, count * RAM_PAGE,
			       (off_t)(page * RAM_PAGE));

	return r < 0 ? r : write_pages(copy, copy->buffer, page, count);
}

/* Pages [from, to) of the base, those that have changed left out. */
static int copy_base_extent(struct ram_copy *copy, const uint8_t *changed, uint64_t from,
			    uint64_t to)
{
	int r = 0;

	while (from < to && r == 0) {
		size_t count = 0;

		while (from + count < to && count < BATCH_PAGES &&
		       !(changed[(from + count) / 8] & (1u << ((from + count) % 8))))
			count++;
		if (count)
			r = copy_base_run(copy, from, count);
		from += count ? count : 1;
	}
	return r;
}

static int copy_base(struct ram_copy *copy)
{
	AUTO_FREE uint8_t *changed = NULL;
	uint64_t at = 0;
	int r = each_changed(copy, mark);

	if (r < 0)
		return r;
	changed = copy->filled;
	copy->filled = calloc(1, copy->pages / 8 + 1);
	if (!copy->filled)
		return -ENOMEM;
	while (at < copy->pages && r == 0) {
		off_t start = lseek(copy->base, (off_t)(at * RAM_PAGE), SEEK_DATA);
		off_t end = start < 0 ? -1 : lseek(copy->base, start, SEEK_HOLE);

		if (start < 0 && errno == ENXIO)
			break; /* no more data */
		if (end < 0)
			return -errno;
		at = ((uint64_t)end + RAM_PAGE - 1) / RAM_PAGE;
		if (at > copy->pages)
			at = copy->pages;
		r = copy_base_extent(copy, changed, (uint64_t)start / RAM_PAGE, at);
	}
	return r;
}

static int count(struct ram_copy *copy, uint64_t address, uint64_t page)
{
	return 0; /* each_changed does it */
}

int ram_copy_estimate(struct ram_copy *copy, uint64_t *ret_bytes, struct err *err)
{
	struct stat base;
	int r = fstat(copy->base, &base) < 0 ? -errno : each_changed(copy, count);

	if (r < 0)
		return err_set(err, r, "cannot read the memory of the emulator: %m");
	*ret_bytes = (uint64_t)base.st_blocks * 512 + copy->changed * RAM_PAGE;
	return 0;
}

int ram_copy_pass(struct ram_copy *copy, struct err *err)
{
	int r = copy->base_written ? 0 : copy_base(copy);

	copy->base_written = true;
	if (r == 0)
		r = each_changed(copy, add_to_batch);
	if (r == 0)
		r = flush_batch(copy);
	if (r == -EPERM || r == -EACCES)
		return err_set(err, r, "not allowed to read the memory of the emulator: %m");
	return r < 0 ? err_set(err, r, "cannot copy the machine's memory: %m") : 0;
}
