/* SPDX-License-Identifier: Apache-2.0 */
#include "tar/pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "tar/direct.h"
#include "tar/links.h"

#define COPY_SIZE (512 * 1024)
#define XATTR_NAMES_MAX 65536
#define XATTR_SPACE_MAX (512 * 1024) /* names and values of an entry */
#define OVERLAY_PREFIX "trusted.overlay."
#define OVERLAY_OPAQUE OVERLAY_PREFIX "opaque"
#define WHITEOUT_PREFIX ".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"

struct packer {
	struct tar_writer *writer; /* borrowed */
	const struct pack_options *options;
	struct links *links; /* owned */
	struct sbuf path;    /* of the entry in the archive */
	size_t top;          /* how much of path is the top's own name */
	/* Of the current entry: */
	struct sbuf xattr_space;
	size_t xattr_offsets[TAR_XATTRS_MAX];
	char xattr_names[XATTR_NAMES_MAX];
	struct tar_xattr xattrs[TAR_XATTRS_MAX];
	struct tar_extent extents[TAR_EXTENTS_MAX];
	_Alignas(TAR_PAGE) char buffer[COPY_SIZE];
};

static int pack_entry(struct packer *p, int dir_fd, const char *leaf, int depth, struct err *err);

/* The part of path below the top. */
static const char *below(const struct packer *p)
{
	const char *rest = p->path.text + p->top;

	return *rest == '/' || str_eq(rest, ".") ? rest + 1 : rest;
}

static void warn(const struct packer *p, const char *what)
{
	AUTO_FREE char *text = xasprintf("'%s' %s", p->path.text, what);

	if (p->options->warn)
		p->options->warn(p->options->ctx, text);
}

static int cannot(const struct packer *p, const char *what, struct err *err)
{
	return err_set(err, -errno, "cannot %s '%s': %m", what, p->path.text);
}

static int written(int r, struct err *err)
{
	return r < 0 ? err_set(err, r, "cannot write the archive: %m") : 0;
}

/* --- attributes --- */

/* Values are put behind the names; offsets, since the space may move while it grows. */
static int read_xattr(struct packer *p, int fd, const char *name, size_t *ret_offset,
		      size_t *ret_size)
{
	struct sbuf *space = &p->xattr_space;
	ssize_t size = fgetxattr(fd, name, NULL, 0);
	ssize_t n;

	if (size < 0)
		return -errno;
	if ((size_t)size + space->length + 1 > XATTR_SPACE_MAX)
		return -E2BIG;
	AUTO_FREE char *value = xmalloc((size_t)size + 1);
	n = fgetxattr(fd, name, value, (size_t)size);
	if (n < 0)
		return -errno;
	*ret_offset = space->length;
	*ret_size = (size_t)n;
	sbuf_add_bytes(space, value, (size_t)n);
	return 0;
}

static bool has_attribute(int fd, const char *name)
{
	char value = 0;

	return fgetxattr(fd, name, &value, 1) == 1 && value == 'y';
}

/* The extended attributes of an open file, as p->xattrs. Returns how many. */
static int read_xattrs(struct packer *p, int fd, struct err *err)
{
	const char *names = p->xattr_names;
	ssize_t size = flistxattr(fd, p->xattr_names, XATTR_NAMES_MAX);
	size_t count = 0;

	if (size < 0 && (errno == ENOTSUP || errno == EPERM || errno == ENOSYS))
		return 0;
	if (size < 0)
		return cannot(p, "read the attributes of", err);
	p->xattr_space.length = 0;
	for (const char *name = names; name < names + size; name += strlen(name) + 1) {
		int r;

		if (p->options->upper && str_starts(name, OVERLAY_PREFIX))
			continue;
		if (count == TAR_XATTRS_MAX)
			return err_set(err, -E2BIG, "'%s' has too many extended attributes",
				       p->path.text);
		p->xattrs[count].name = name;
		r = read_xattr(p, fd, name, &p->xattr_offsets[count], &p->xattrs[count].size);
		if (r == -ENODATA || r == -EPERM || r == -EACCES || r == -ENOTSUP)
			continue; /* gone, or not for us */
		if (r < 0)
			return err_set(err, r, "cannot read attribute '%s' of '%s': %m", name,
				       p->path.text);
		count++;
	}
	for (size_t i = 0; i < count; i++)
		p->xattrs[i].value = str_or(p->xattr_space.text, "") + p->xattr_offsets[i];
	return (int)count;
}

static void fill_entry(const struct packer *p, const struct stat *st, struct tar_entry *entry)
{
	entry->name = p->path.text;
	entry->mode = st->st_mode & 07777;
	entry->uid = p->options->root_owned ? 0 : st->st_uid;
	entry->gid = p->options->root_owned ? 0 : st->st_gid;
	entry->mtime = st->st_mtim.tv_sec;
	entry->mtime_ns = (uint32_t)st->st_mtim.tv_nsec;
}

/* --- files --- */

/* Where the file has data, if it has holes worth the trouble. */
static void find_extents(struct packer *p, int fd, const struct stat *st, struct tar_entry *entry)
{
	off_t at = 0;

	if (st->st_blocks * 512 >= st->st_size || st->st_size < 65536)
		return;
	entry->extents = p->extents;
	while (at < st->st_size) {
		off_t data = lseek(fd, at, SEEK_DATA);
		off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);

		if (data < 0 && errno == ENXIO)
			break;
		if (hole < 0 || entry->extent_count == TAR_EXTENTS_MAX) {
			entry->extent_count = 0;
			return;
		}
		if (hole > st->st_size)
			hole = st->st_size;
		if (data >= hole)
			break;
		p->extents[entry->extent_count++] = (struct tar_extent){
			.offset = (uint64_t)data,
			.size = (uint64_t)(hole - data),
		};
		at = hole;
	}
	entry->sparse = true;
}

/* Past the page cache whole pages are asked for, also at the end of the file. */
static ssize_t read_some(struct packer *p, int fd, bool *direct, size_t want, uint64_t offset)
{
	size_t pages = (want + TAR_PAGE - 1) & ~(size_t)(TAR_PAGE - 1);
	ssize_t n = pread(fd, p->buffer, *direct ? pages : want, (off_t)offset);

	if (n < 0 && errno == EINVAL && *direct && tar_set_direct(fd, false) == 0) {
		*direct = false;
		n = pread(fd, p->buffer, want, (off_t)offset);
	}
	return n > (ssize_t)want ? (ssize_t)want : n;
}

/* Data from offset on; what the file has lost meanwhile is zeros. */
static int copy_data(struct packer *p, int fd, bool *direct, uint64_t offset, uint64_t size,
		     struct err *err)
{
	bool shrunk = false;

	while (size) {
		size_t want = size < COPY_SIZE ? (size_t)size : COPY_SIZE;
		ssize_t n = shrunk ? 0 : read_some(p, fd, direct, want, offset);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cannot(p, "read", err);
		if (n == 0) {
			if (!shrunk)
				warn(p, "became shorter while it was read");
			shrunk = true;
			memset(p->buffer, 0, want);
			n = (ssize_t)want;
		}
		r = written(tar_writer_data(p->writer, p->buffer, (size_t)n), err);
		if (r < 0)
			return r;
		offset += (uint64_t)n;
		size -= (uint64_t)n;
	}
	return 0;
}

static int pack_content(struct packer *p, int fd, const struct tar_entry *entry, struct err *err)
{
	bool direct = p->options->past_cache && entry->size >= TAR_DIRECT_MIN &&
		      tar_set_direct(fd, true) == 0;
	int r = written(tar_writer_entry(p->writer, entry), err);

	if (r == 0 && !entry->sparse)
		return copy_data(p, fd, &direct, 0, entry->size, err);
	for (size_t i = 0; r == 0 && i < entry->extent_count; i++)
		r = copy_data(p, fd, &direct, entry->extents[i].offset, entry->extents[i].size,
			      err);
	return r;
}

static int pack_file(struct packer *p, int fd, const struct stat *st, struct err *err)
{
	struct tar_entry entry = { .type = TAR_FILE, .size = (uint64_t)st->st_size };
	const char *earlier = NULL;
	int r;

	fill_entry(p, st, &entry);
	if (st->st_nlink > 1)
		earlier = links_note(p->links, st->st_dev, st->st_ino, p->path.text);
	if (earlier) {
		entry.type = TAR_LINK;
		entry.link = earlier;
		entry.size = 0;
		return written(tar_writer_entry(p->writer, &entry), err);
	}
	find_extents(p, fd, st, &entry);
	r = read_xattrs(p, fd, err);
	if (r < 0)
		return r;
	entry.xattrs = p->xattrs;
	entry.xattr_count = (size_t)r;
	return pack_content(p, fd, &entry, err);
}

/* --- what has no data --- */

static int pack_symlink(struct packer *p, int dir_fd, const char *leaf, const struct stat *st,
			struct err *err)
{
	struct tar_entry entry = { .type = TAR_SYMLINK };
	char target[TAR_PATH_MAX + 1];
	ssize_t n = readlinkat(dir_fd, leaf, target, sizeof(target));

	if (n < 0)
		return cannot(p, "read the link", err);
	if ((size_t)n == sizeof(target))
		return err_set(err, -ENAMETOOLONG, "the link '%s' is too long", p->path.text);
	target[n] = '\0';
	fill_entry(p, st, &entry);
	entry.link = target;
	return written(tar_writer_entry(p->writer, &entry), err);
}

/* A name that hides one of the layers below: an empty file beside it. */
static int pack_whiteout(struct packer *p, const char *name, struct err *err)
{
	struct tar_entry entry = { .type = TAR_FILE, .name = name };

	return written(tar_writer_entry(p->writer, &entry), err);
}

static int pack_hidden(struct packer *p, const char *leaf, struct err *err)
{
	size_t directory = p->path.length - strlen(leaf);
	AUTO_FREE char *name =
		xasprintf("%.*s" WHITEOUT_PREFIX "%s", (int)directory, p->path.text, leaf);

	return pack_whiteout(p, name, err);
}

static int pack_special(struct packer *p, const char *leaf, const struct stat *st, struct err *err)
{
	struct tar_entry entry = { .major = major(st->st_rdev), .minor = minor(st->st_rdev) };

	if (p->options->upper && S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0))
		return pack_hidden(p, leaf, err);
	if (S_ISSOCK(st->st_mode)) {
		warn(p, "is a socket: left out");
		return 0;
	}
	entry.type = S_ISCHR(st->st_mode)   ? TAR_CHARACTER
		     : S_ISBLK(st->st_mode) ? TAR_BLOCK_DEVICE
					    : TAR_FIFO;
	if (entry.type == TAR_FIFO)
		entry.major = entry.minor = 0;
	fill_entry(p, st, &entry);
	return written(tar_writer_entry(p->writer, &entry), err);
}

/* --- directories --- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names {
	char **items; /* owned, each */
	size_t count, capacity;
};

static void names_release(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i]);
	free(names->items);
}

/* The names in a directory, sorted. fd is taken. */
static int read_names(const struct packer *p, int fd, struct names *names, struct err *err)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		close(fd);
		return cannot(p, "read the directory", err);
	}
	errno = 0;
	while ((entry = readdir(dir))) {
		if (str_eq(entry->d_name, ".") || str_eq(entry->d_name, ".."))
			continue;
		if (names->count == names->capacity) {
			names->capacity = names->capacity ? names->capacity * 2 : 32;
			names->items =
				xrealloc(names->items, names->capacity, sizeof(*names->items));
		}
		names->items[names->count++] = xstrdup(entry->d_name);
		errno = 0;
	}
	int error = errno;
	closedir(dir);
	errno = error;
	if (error)
		return cannot(p, "read the directory", err);
	if (names->count)
		qsort(names->items, names->count, sizeof(*names->items), by_name);
	return 0;
}

static int pack_children(struct packer *p, int fd, int depth, struct err *err)
{
	CLEANUP(names_release) struct names names = { 0 };
	bool is_dot = str_eq(p->path.text, "."); /* names below need no "./" */
	size_t length = p->path.length;
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = again < 0 ? cannot(p, "read the directory", err)
			  : read_names(p, again, &names, err);

	for (size_t i = 0; r == 0 && i < names.count; i++) {
		p->path.length = is_dot ? 0 : length;
		sbuf_addf(&p->path, "%s%s", is_dot ? "" : "/", names.items[i]);
		r = pack_entry(p, fd, names.items[i], depth + 1, err);
		p->path.length = length;
		p->path.text[length] = '\0';
	}
	if (is_dot)
		p->path.text[0] = '.';
	return r;
}

static int pack_directory(struct packer *p, int fd, const struct stat *st, int depth,
			  struct err *err)
{
	struct tar_entry entry = { .type = TAR_DIRECTORY };
	AUTO_FREE char *name = xasprintf("%s/", p->path.text);
	int r;

	if (depth > PACK_DEPTH_MAX)
		return err_set(err, -ELOOP, "directories nested more than %d deep: '%.200s…'",
			       PACK_DEPTH_MAX, p->path.text);
	fill_entry(p, st, &entry);
	entry.name = name;
	r = read_xattrs(p, fd, err);
	if (r < 0)
		return r;
	entry.xattrs = p->xattrs;
	entry.xattr_count = (size_t)r;
	r = written(tar_writer_entry(p->writer, &entry), err);
	if (r == 0 && p->options->upper && has_attribute(fd, OVERLAY_OPAQUE)) {
		AUTO_FREE char *opaque = xasprintf("%s/" WHITEOUT_OPAQUE, p->path.text);

		r = pack_whiteout(p, opaque, err);
	}
	return r < 0 ? r : pack_children(p, fd, depth, err);
}

/* Opens what a stat found to be a file or directory, and looks again at what that is. */
static int open_entry(const struct packer *p, int dir_fd, const char *leaf, struct stat *st,
		      struct err *err)
{
	AUTO_CLOSE int fd = openat(dir_fd, *leaf ? leaf : ".",
				   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC |
					   (S_ISDIR(st->st_mode) ? O_DIRECTORY : 0));

	if (fd < 0 || fstat(fd, st) < 0)
		return cannot(p, "open", err);
	return TAKE_FD(fd);
}

static int pack_entry(struct packer *p, int dir_fd, const char *leaf, int depth, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;

	if (p->path.length >= TAR_PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "a path is too long: '%.200s…'", p->path.text);
	if (fstatat(dir_fd, leaf, &st, AT_SYMLINK_NOFOLLOW | (*leaf ? 0 : AT_EMPTY_PATH)) < 0) {
		if (errno == ENOENT && depth)
			return 0; /* removed meanwhile */
		return cannot(p, "look at", err);
	}
	if (p->options->skip && p->options->skip(p->options->ctx, dir_fd, leaf, below(p), &st))
		return 0;
	if (S_ISLNK(st.st_mode))
		return pack_symlink(p, dir_fd, leaf, &st, err);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return pack_special(p, leaf, &st, err);
	fd = open_entry(p, dir_fd, leaf, &st, err);
	if (fd < 0)
		return fd;
	if (S_ISDIR(st.st_mode))
		return pack_directory(p, fd, &st, depth, err);
	if (S_ISREG(st.st_mode))
		return pack_file(p, fd, &st, err);
	return err_set(err, -EAGAIN, "'%s' changed while it was read", p->path.text);
}

int pack(struct tar_writer *writer, int dir_fd, const char *leaf,
	 const struct pack_options *options, struct err *err)
{
	struct packer *p = aligned_alloc(TAR_PAGE, sizeof(*p));
	int r;

	if (!p)
		return err_set(err, -ENOMEM, "cannot allocate memory");
	p->writer = writer;
	p->options = options;
	p->links = links_new();
	p->path = (struct sbuf){ 0 };
	p->xattr_space = (struct sbuf){ 0 };
	sbuf_add(&p->path, options->name);
	p->top = str_eq(options->name, ".") ? 0 : p->path.length;
	r = pack_entry(p, dir_fd, leaf, 0, err);
	links_free(p->links);
	sbuf_release(&p->path);
	sbuf_release(&p->xattr_space);
	free(p);
	return r;
}
