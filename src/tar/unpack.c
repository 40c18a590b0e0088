/* SPDX-License-Identifier: Apache-2.0 */
#include "tar/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "tar/direct.h"
#include "tar/place.h"

#define LATER_MAX 1000000 /* directories in an archive */
#define WARNINGS_MAX 20
#define MODE_PLAIN 0777

/* A directory gets its times and mode when all in it is done. */
struct later {
	char *path; /* owned; from base_fd on */
	uint32_t mode, uid, gid;
	int64_t mtime;
	uint32_t mtime_ns;
};

struct unpacker {
	struct tar_reader *reader; /* borrowed */
	const struct unpack_options *options;
	bool has_top;
	char top[TAR_PATH_MAX + 1]; /* as the archive calls it */
	char path[2 * TAR_PATH_MAX + 2];
	char link[2 * TAR_PATH_MAX + 2];
	/* The directory that was used last. */
	char *parent; /* owned, or NULL */
	int parent_fd;
	VEC(struct later) later;
	unsigned warnings;
};

int unpack_clean_name(const char *name, char out[TAR_PATH_MAX + 1])
{
	size_t length = 0;

	while (*name) {
		size_t n = strcspn(name, "/");

		if (n == 2 && name[0] == '.' && name[1] == '.')
			return -EBADMSG;
		if (n && !(n == 1 && name[0] == '.')) {
			if (length + (length > 0) + n > TAR_PATH_MAX)
				return -ENAMETOOLONG;
			if (length)
				out[length++] = '/';
			memcpy(out + length, name, n);
			length += n;
		}
		name += n + (name[n] == '/');
	}
	out[length] = '\0';
	return 0;
}

static void warn(struct unpacker *u, const char *name, const char *what)
{
	AUTO_FREE char *text = xasprintf("'%s' %s", name, what);

	if (!u->options->warn || ++u->warnings > WARNINGS_MAX)
		return;
	u->options->warn(u->options->ctx,
			 u->warnings == WARNINGS_MAX ? "further warnings are left out" : text);
}

static int cannot(const struct unpacker *u, const char *what, const char *path, int code,
		  struct err *err)
{
	(void)u;
	return err_set(err, code, "cannot %s '%s': %m", what, *path ? path : ".");
}

static void join(char *out, const char *a, const char *b)
{
	size_t length = strlen(a);

	memcpy(out, a, length + 1);
	if (*a && *b)
		out[length++] = '/';
	memcpy(out + length, b, strlen(b) + 1);
}

/* Where an archive's name is to be: from base_fd on. */
static int map_name(struct unpacker *u, const char *name, char *out, struct err *err)
{
	const struct unpack_options *o = u->options;
	char clean[TAR_PATH_MAX + 1];
	char below[TAR_PATH_MAX + 1];
	const char *rest = clean;
	size_t top = strlen(u->top);

	if (unpack_clean_name(name, clean) < 0)
		return err_set(err, -EBADMSG, "the archive holds a bad name: '%.200s'", name);
	if (!o->keep_names) {
		if (strncmp(clean, u->top, top) != 0 ||
		    (top && clean[top] != '/' && clean[top] != '\0'))
			return err_set(err, -EBADMSG, "the archive holds '%.200s' beside its top",
				       name);
		rest = clean + top + (top && clean[top] == '/');
		if (strlen(rest) + strlen(str_or(o->top, "")) + 1 > TAR_PATH_MAX)
			return err_set(err, -ENAMETOOLONG, "a path is too long: '%.200s'", name);
		join(below, str_or(o->top, ""), rest);
		rest = below;
	}
	join(out, o->prefix, rest);
	return 0;
}

/* --- directories --- */

static int open_directory(const struct unpacker *u, const char *path)
{
	return place_open(u->options->base_fd, *path ? path : ".", O_PATH | O_DIRECTORY,
			  u->options->resolve);
}

/* Makes the directories of path that are missing; archives may leave them out. */
static int make_parents(const struct unpacker *u, const char *path)
{
	AUTO_FREE char *copy = xstrdup(path);
	char *slash = copy;

	for (;;) {
		AUTO_CLOSE int fd = -1;

		slash = strchr(slash, '/');
		if (slash)
			*slash = '\0';
		fd = open_directory(u, copy);
		if (fd == -ENOENT) {
			char *leaf = strrchr(copy, '/');
			AUTO_CLOSE int parent = -1;

			if (leaf)
				*leaf = '\0';
			parent = open_directory(u, leaf ? copy : "");
			if (leaf)
				*leaf = '/';
			if (parent < 0)
				return parent;
			if (mkdirat(parent, leaf ? leaf + 1 : copy, 0755) < 0 && errno != EEXIST)
				return -errno;
		} else if (fd < 0) {
			return fd;
		}
		if (!slash)
			return open_directory(u, copy);
		*slash++ = '/';
	}
}

/* The directory of path (borrowed, kept for the next one), and the last component. */
static int parent_of(struct unpacker *u, char *path, const char **ret_leaf)
{
	char *slash = strrchr(path, '/');
	AUTO_FREE char *parent = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup("");
	int fd;

	*ret_leaf = slash ? slash + 1 : path;
	if (u->parent && str_eq(parent, u->parent))
		return u->parent_fd;
	fd = open_directory(u, parent);
	if (fd == -ENOENT)
		fd = make_parents(u, parent);
	if (fd < 0)
		return fd;
	if (u->parent_fd >= 0)
		close(u->parent_fd);
	free(u->parent);
	u->parent_fd = fd;
	u->parent = TAKE_PTR(parent);
	return fd;
}

/* Whatever is there goes, so that it can be made anew; but a directory. */
static int clear(int dir_fd, const char *leaf)
{
	struct stat st;

	if (fstatat(dir_fd, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return unlinkat(dir_fd, leaf, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* --- attributes --- */

static uint32_t mode_of(const struct unpacker *u, uint32_t mode)
{
	return u->options->all_modes ? mode : mode & MODE_PLAIN;
}

/* Only root may give files away: others keep them, as with cp -a. *mode then has no bits that would
 * let others act as us. */
static int chown_result(int r, uint32_t *mode)
{
	if (r == 0)
		return 0;
	if (errno != EPERM || geteuid() == 0)
		return -errno;
	*mode &= ~(uint32_t)(S_ISUID | S_ISGID);
	return 0;
}

static int set_xattrs(struct unpacker *u, int fd, const struct tar_entry *entry, const char *path,
		      struct err *err)
{
	for (size_t i = 0; i < entry->xattr_count; i++) {
		const struct tar_xattr *x = &entry->xattrs[i];

		if (!u->options->all_xattrs && !str_starts(x->name, "user."))
			continue;
		if (fsetxattr(fd, x->name, x->value, x->size, 0) == 0)
			continue;
		if (errno != ENOTSUP && errno != EPERM)
			return err_set(err, -errno, "cannot set attribute '%.100s' of '%s': %m",
				       x->name, path);
		warn(u, path, "loses an extended attribute: not supported there");
	}
	return 0;
}

/* Owner and mode, as far as they are not what they are to be: each change costs as much as a look.
 */
static int set_owner_and_mode(const struct unpacker *u, int fd, const struct tar_entry *entry)
{
	uint32_t mode = mode_of(u, entry->mode);
	bool given = false; /* away: its mode may have lost bits */
	struct stat st;
	int r = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (u->options->keep_owner && (st.st_uid != entry->uid || st.st_gid != entry->gid)) {
		r = chown_result(fchown(fd, entry->uid, entry->gid), &mode);
		given = true;
	}
	if (r == 0 && (given || (st.st_mode & 07777) != mode) && fchmod(fd, mode) < 0)
		r = -errno;
	return r;
}

static int set_attributes(struct unpacker *u, int fd, const struct tar_entry *entry,
			  const char *path, struct err *err)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { entry->mtime, entry->mtime_ns } };
	int r = set_owner_and_mode(u, fd, entry);

	if (r < 0)
		return cannot(u, "set the attributes of", path, r, err);
	r = set_xattrs(u, fd, entry, path, err);
	if (r == 0 && futimens(fd, times) < 0)
		r = cannot(u, "set the time of", path, -errno, err);
	return r;
}

/* Of what cannot be opened: links, devices. */
static int set_attributes_at(const struct unpacker *u, int dir_fd, const char *leaf,
			     const struct tar_entry *entry, const char *path, struct err *err)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { entry->mtime, entry->mtime_ns } };
	uint32_t mode = mode_of(u, entry->mode);
	int r = 0;

	if (u->options->keep_owner)
		r = chown_result(
			fchownat(dir_fd, leaf, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW), &mode);
	if (r == 0 && utimensat(dir_fd, leaf, times, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	return r < 0 ? cannot(u, "set the attributes of", path, r, err) : 0;
}

/* --- entries --- */

/* A file that is written, and where. */
struct sink {
	int fd;
	bool direct; /* past the page cache, while offsets, sizes and memory allow it */
};

static struct sink sink_open(const struct unpacker *u, int fd, const struct tar_entry *entry)
{
	return (struct sink){ fd, u->options->past_cache && entry->size >= TAR_DIRECT_MIN &&
					  tar_set_direct(fd, true) == 0 };
}

/* Whole pages straight from the archive's buffer. Returns how much of it that was; the rest, and
 * all when the file system refuses, is for the cache. */
static long write_direct(struct sink *sink, const void *data, size_t size, uint64_t offset)
{
	size_t pages = size & ~(size_t)(TAR_PAGE - 1);
	int r = -EINVAL;

	if (!sink->direct)
		return 0;
	if (pages && offset % TAR_PAGE == 0 && (uintptr_t)data % TAR_BLOCK == 0)
		r = fd_pwrite_all(sink->fd, data, pages, (off_t)offset);
	if (r == 0 && pages == size)
		return (long)pages;
	sink->direct = false;
	if (tar_set_direct(sink->fd, false) < 0)
		return -errno;
	return r == -EINVAL ? 0 : r < 0 ? r : (long)pages;
}

static int write_at(struct sink *sink, const void *data, size_t size, uint64_t *offset)
{
	long done = write_direct(sink, data, size, *offset);
	int r = done < 0 ? (int)done
			 : fd_pwrite_all(sink->fd, (const char *)data + done, size - (size_t)done,
					 (off_t)*offset + done);

	*offset += size;
	return r;
}

/* One extent (of all of a file) from the archive. */
static int write_extent(struct unpacker *u, struct sink *sink, const struct tar_extent *extent,
			const void **data, size_t *left, const char *path, struct err *err)
{
	uint64_t offset = extent->offset;
	uint64_t end = extent->offset + extent->size;

	while (offset < end) {
		size_t n;
		int r;

		if (*left == 0) {
			long got = tar_reader_data(u->reader, data, err);

			if (got <= 0)
				return got < 0 ? (int)got : -EBADMSG;
			*left = (size_t)got;
		}
		n = end - offset < *left ? (size_t)(end - offset) : *left;
		r = write_at(sink, *data, n, &offset);
		if (r < 0)
			return cannot(u, "write", path, r, err);
		*data = (const char *)*data + n;
		*left -= n;
	}
	return 0;
}

static int write_data(struct unpacker *u, int fd, const struct tar_entry *entry, const char *path,
		      struct err *err)
{
	const struct tar_extent whole = { 0, entry->size };
	const struct tar_extent *extents = entry->sparse ? entry->extents : &whole;
	size_t count = entry->sparse ? entry->extent_count : 1;
	struct sink sink = sink_open(u, fd, entry);
	const void *data = NULL;
	size_t left = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = write_extent(u, &sink, &extents[i], &data, &left, path, err);
	if (r == 0 && entry->sparse && ftruncate(fd, (off_t)entry->size) < 0)
		r = cannot(u, "write", path, -errno, err);
	return r;
}

/* What a file is created with: its mode at once, unless others would have it before it is theirs.
 */
static mode_t first_mode(const struct unpacker *u, const struct tar_entry *entry)
{
	uint32_t mode = mode_of(u, entry->mode);
	bool ours = !u->options->keep_owner || (entry->uid == geteuid() && entry->gid == getegid());

	return ours && !(mode & ~(uint32_t)MODE_PLAIN) ? mode : 0600;
}

/* A new file. Where one cannot be replaced, since something is mounted on it, it is written over.
 */
static int open_file(int dir_fd, const char *leaf, mode_t mode)
{
	const int flags = O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
	int fd = openat(dir_fd, leaf, flags | O_CREAT | O_EXCL, mode);
	int r;

	if (fd < 0 && errno == EEXIST) {
		r = clear(dir_fd, leaf);
		if (r < 0 && r != -EBUSY)
			return r;
		fd = r == 0 ? openat(dir_fd, leaf, flags | O_CREAT | O_EXCL, mode)
			    : openat(dir_fd, leaf, flags | O_TRUNC | O_NONBLOCK);
	}
	return fd < 0 ? -errno : fd;
}

static int unpack_file(struct unpacker *u, int dir_fd, const char *leaf,
		       const struct tar_entry *entry, struct err *err)
{
	AUTO_CLOSE int fd = open_file(dir_fd, leaf, first_mode(u, entry));
	int r;

	if (fd < 0)
		return cannot(u, "create", u->path, fd, err);
	r = write_data(u, fd, entry, u->path, err);
	return r < 0 ? r : set_attributes(u, fd, entry, u->path, err);
}

static int unpack_symlink(struct unpacker *u, int dir_fd, const char *leaf,
			  const struct tar_entry *entry, struct err *err)
{
	int r = clear(dir_fd, leaf);

	if (r == 0 && symlinkat(entry->link, dir_fd, leaf) < 0)
		r = -errno;
	if (r < 0)
		return cannot(u, "create the link", u->path, r, err);
	return set_attributes_at(u, dir_fd, leaf, entry, u->path, err);
}

/* A further name of an earlier entry. */
static int unpack_link(struct unpacker *u, int dir_fd, const char *leaf,
		       const struct tar_entry *entry, struct err *err)
{
	AUTO_FREE char *parent = NULL;
	AUTO_CLOSE int from = -1;
	const char *name;
	int r = map_name(u, entry->link, u->link, err);

	if (r < 0)
		return r;
	name = strrchr(u->link, '/');
	parent = name ? xstrndup(u->link, (size_t)(name - u->link)) : xstrdup("");
	name = name ? name + 1 : u->link;
	from = open_directory(u, parent);
	if (from < 0)
		return cannot(u, "link to", u->link, from, err);
	if (str_eq(u->link, u->path))
		return 0;
	r = clear(dir_fd, leaf);
	if (r == 0 && linkat(from, name, dir_fd, leaf, 0) < 0)
		r = -errno;
	return r < 0 ? err_set(err, r, "cannot link '%s' to '%s': %m", u->path, u->link) : 0;
}

static int unpack_special(struct unpacker *u, int dir_fd, const char *leaf,
			  const struct tar_entry *entry, struct err *err)
{
	mode_t kind = entry->type == TAR_CHARACTER      ? S_IFCHR
		      : entry->type == TAR_BLOCK_DEVICE ? S_IFBLK
							: S_IFIFO;
	int r;

	if (kind != S_IFIFO && !u->options->devices) {
		warn(u, u->path, "is a device: left out");
		return 0;
	}
	r = clear(dir_fd, leaf);
	/* With its mode at once: to set it later would follow a link that somebody put there. */
	if (r == 0 && mknodat(dir_fd, leaf, kind | mode_of(u, entry->mode),
			      makedev(entry->major, entry->minor)) < 0)
		r = -errno;
	if (r < 0)
		return cannot(u, "create", u->path, r, err);
	return set_attributes_at(u, dir_fd, leaf, entry, u->path, err);
}

static int remember(struct unpacker *u, const struct tar_entry *entry, struct err *err)
{
	if (u->later.count == LATER_MAX)
		return err_set(err, -E2BIG, "more than %d directories", LATER_MAX);
	VEC_PUSH(&u->later, ((struct later){ .path = xstrdup(u->path),
					     .mode = entry->mode,
					     .uid = entry->uid,
					     .gid = entry->gid,
					     .mtime = entry->mtime,
					     .mtime_ns = entry->mtime_ns }));
	return 0;
}

/* What there may be already: a directory or, where links are followed, a link to one. */
static int keep_directory(const struct unpacker *u, int dir_fd, const char *leaf)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;

	if (fstatat(dir_fd, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return 0;
	fd = S_ISLNK(st.st_mode) && u->options->keep_names ? open_directory(u, u->path) : -ENOTDIR;
	return fd < 0 ? -ENOTDIR : 1;
}

static int unpack_directory(struct unpacker *u, int dir_fd, const char *leaf,
			    const struct tar_entry *entry, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = 0;

	if (mkdirat(dir_fd, leaf, 0700) < 0)
		r = errno == EEXIST ? keep_directory(u, dir_fd, leaf) : -errno;
	if (r == -ENOTDIR)
		return err_set(err, r, "cannot copy a directory over '%s', which is none", u->path);
	if (r < 0)
		return cannot(u, "create the directory", u->path, r, err);
	if (r == 1) /* the link stays as it is */
		return 0;
	if (entry->xattr_count) {
		fd = openat(dir_fd, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = fd < 0 ? 0 : set_xattrs(u, fd, entry, u->path, err);
	}
	return r < 0 ? r : remember(u, entry, err);
}

/* The directory itself that all goes into. */
static int unpack_top(struct unpacker *u, const struct tar_entry *entry, struct err *err)
{
	if (entry->type != TAR_DIRECTORY)
		return err_set(err, -ENOTDIR, "the archive's top is no directory");
	return remember(u, entry, err);
}

static int unpack_entry(struct unpacker *u, const struct tar_entry *entry, struct err *err)
{
	static int (*const kinds[TAR_TYPE_COUNT])(struct unpacker *, int, const char *,
						  const struct tar_entry *, struct err *) = {
		[TAR_FILE] = unpack_file,
		[TAR_LINK] = unpack_link,
		[TAR_SYMLINK] = unpack_symlink,
		[TAR_CHARACTER] = unpack_special,
		[TAR_BLOCK_DEVICE] = unpack_special,
		[TAR_FIFO] = unpack_special,
		[TAR_DIRECTORY] = unpack_directory,
	};
	const char *leaf;
	int dir_fd;
	int r = map_name(u, entry->name, u->path, err);

	if (r < 0)
		return r;
	if (str_eq(u->path, u->options->prefix))
		return u->options->keep_names ? 0 : unpack_top(u, entry, err);
	dir_fd = parent_of(u, u->path, &leaf);
	if (dir_fd < 0)
		return cannot(u, "open the directory of", u->path, dir_fd, err);
	return kinds[entry->type](u, dir_fd, leaf, entry, err);
}

static int take_top(struct unpacker *u, const struct tar_entry *entry, struct err *err)
{
	if (u->has_top || u->options->keep_names)
		return 0;
	u->has_top = true;
	if (unpack_clean_name(entry->name, u->top) < 0 || entry->type == TAR_LINK)
		return err_set(err, -EBADMSG, "the archive's top is bad: '%.200s'", entry->name);
	if (u->options->top_is_directory && entry->type != TAR_DIRECTORY)
		return err_set(err, -ENOTDIR, "the destination directory '%s/' does not exist",
			       str_or(u->options->top, ""));
	return 0;
}

/* The last first: what is deeper comes later in the archive. */
static int finish_directories(struct unpacker *u, struct err *err)
{
	for (size_t i = u->later.count; i-- > 0;) {
		const struct later *later = &u->later.items[i];
		const struct tar_entry entry = { .type = TAR_DIRECTORY,
						 .mode = later->mode,
						 .uid = later->uid,
						 .gid = later->gid,
						 .mtime = later->mtime,
						 .mtime_ns = later->mtime_ns };
		AUTO_CLOSE int fd =
			place_open(u->options->base_fd, *later->path ? later->path : ".",
				   O_RDONLY | O_DIRECTORY, u->options->resolve);
		int r;

		if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
			continue; /* replaced meanwhile */
		if (fd < 0)
			return cannot(u, "open", later->path, fd, err);
		r = set_attributes(u, fd, &entry, later->path, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void release(struct unpacker *u)
{
	if (u->parent_fd >= 0)
		close(u->parent_fd);
	free(u->parent);
	VEC_EACH (&u->later, it)
		free(it->path);
	VEC_FREE(&u->later);
	free(u);
}

int unpack(struct tar_reader *reader, const struct unpack_options *options, struct err *err)
{
	struct unpacker *u = xcalloc(1, sizeof(*u));
	struct tar_entry entry;
	int r;

	u->reader = reader;
	u->options = options;
	u->parent_fd = -1;
	do {
		r = tar_reader_next(reader, &entry, err);
		if (r == 1) {
			int t = take_top(u, &entry, err);

			if (t == 0)
				t = unpack_entry(u, &entry, err);
			r = t < 0 ? t : 1;
		}
	} while (r == 1);
	if (r == 0 && !options->keep_names && !u->has_top)
		r = err_set(err, -EBADMSG, "nothing came");
	if (r == 0)
		r = finish_directories(u, err);
	release(u);
	return r;
}
