/* SPDX-License-Identifier: Apache-2.0 */
/* Archives: written and read again, by us and by tar(1), and hostile ones. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/str.h"
#include "proto/copy.h"
#include "tar/format.h"
#include "tar/pack.h"
#include "tar/place.h"
#include "tar/unpack.h"

#define STRICT (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

/* --- archives in memory --- */

struct archive {
	struct sbuf bytes;
	size_t offset;
	size_t step; /* at most so many bytes a read; 0: all */
};

static int archive_write(void *ctx, const void *data, size_t size)
{
	struct archive *archive = ctx;

	sbuf_add_bytes(&archive->bytes, data, size);
	return 0;
}

static long archive_read(void *ctx, void *data, size_t size)
{
	struct archive *archive = ctx;
	size_t left = archive->bytes.length - archive->offset;

	if (size > left)
		size = left;
	if (archive->step && size > archive->step)
		size = archive->step;
	if (size)
		memcpy(data, archive->bytes.text + archive->offset, size);
	archive->offset += size;
	return (long)size;
}

static void add(struct tar_writer *writer, struct tar_entry entry, const char *data)
{
	entry.size = data ? strlen(data) : 0;
	if (!entry.mode)
		entry.mode = entry.type == TAR_DIRECTORY ? 0755 : 0644;
	assert_int_equal(tar_writer_entry(writer, &entry), 0);
	if (data)
		assert_int_equal(tar_writer_data(writer, data, strlen(data)), 0);
}

/* --- codec --- */

static void assert_same(const struct tar_entry *a, const struct tar_entry *b)
{
	assert_int_equal(a->type, b->type);
	assert_string_equal(a->name, b->name);
	assert_string_equal(str_or(a->link, ""), str_or(b->link, ""));
	assert_int_equal(a->mode, b->mode);
	assert_int_equal(a->uid, b->uid);
	assert_int_equal(a->gid, b->gid);
	assert_int_equal(a->size, b->size);
	assert_int_equal(a->mtime, b->mtime);
	assert_int_equal(a->mtime_ns, b->mtime_ns);
	assert_int_equal(a->major, b->major);
	assert_int_equal(a->minor, b->minor);
	assert_int_equal(a->xattr_count, b->xattr_count);
	for (size_t i = 0; i < a->xattr_count; i++) {
		assert_string_equal(a->xattrs[i].name, b->xattrs[i].name);
		assert_int_equal(a->xattrs[i].size, b->xattrs[i].size);
		assert_memory_equal(a->xattrs[i].value, b->xattrs[i].value, a->xattrs[i].size);
	}
	assert_int_equal(a->sparse, b->sparse);
	assert_int_equal(a->extent_count, b->extent_count);
	for (size_t i = 0; i < a->extent_count; i++) {
		assert_int_equal(a->extents[i].offset, b->extents[i].offset);
		assert_int_equal(a->extents[i].size, b->extents[i].size);
	}
}

static void test_what_is_written_is_read(void **state)
{
	static char long_name[3001];
	static const struct tar_xattr xattrs[] = { { "user.a", "x\0=\ny", 5 },
						   { "security.capability", "", 0 } };
	static const struct tar_extent extents[] = { { 0, 3 }, { 1 << 20, 4 } };
	memset(long_name, 'n', sizeof(long_name) - 1);
	const struct tar_entry entries[] = {
		{ .type = TAR_DIRECTORY, .name = "d/", .mode = 01777, .mtime = 1 },
		{ .type = TAR_FILE,
		  .name = "d/file",
		  .mode = 04755,
		  .uid = 1000,
		  .gid = 1001,
		  .size = 7,
		  .mtime = 1700000000,
		  .mtime_ns = 123456789 },
		{ .type = TAR_LINK, .name = "d/hard", .link = "d/file" },
		{ .type = TAR_SYMLINK, .name = "d/soft", .link = long_name, .mode = 0777 },
		{ .type = TAR_CHARACTER, .name = "d/null", .major = 1, .minor = 3 },
		{ .type = TAR_BLOCK_DEVICE, .name = "d/sda", .major = 259, .minor = 100000 },
		{ .type = TAR_FIFO, .name = "d/fifo" },
		{ .type = TAR_FILE, .name = long_name, .uid = 4294967294, .gid = 3000000 },
		{ .type = TAR_FILE, .name = "old", .mtime = -2, .mtime_ns = 500000000 },
		{ .type = TAR_FILE, .name = "older", .mtime = -1000 },
		{ .type = TAR_FILE, .name = "far", .mtime = 1ll << 36, .mtime_ns = 10 },
		{ .type = TAR_FILE, .name = "x", .xattrs = xattrs, .xattr_count = 2 },
		{ .type = TAR_FILE,
		  .name = "holes",
		  .sparse = true,
		  .size = (1 << 20) + 100,
		  .extents = extents,
		  .extent_count = 2 },
		{ .type = TAR_FILE, .name = "hole", .sparse = true, .size = 1ull << 40 },
		{ .type = TAR_FILE, .name = "\xff\xfe invalid \xc3" },
	};
	CLEANUP(tar_writer_freep) struct tar_writer *writer = NULL;
	struct archive archive = { .step = 100 };
	struct err err = { 0 };

	writer = tar_writer_new(archive_write, &archive);
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		assert_int_equal(tar_writer_entry(writer, &entries[i]), 0);
		if (tar_writer_missing(writer))
			assert_int_equal(
				tar_writer_data(writer, "content", tar_writer_missing(writer)), 0);
	}
	assert_int_equal(tar_writer_finish(writer), 0);
	assert_int_equal(archive.bytes.length % TAR_BLOCK, 0);

	CLEANUP(tar_reader_freep)
	struct tar_reader *reader = tar_reader_new(archive_read, &archive);
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		struct tar_entry entry;
		const void *data;

		assert_int_equal(tar_reader_next(reader, &entry, &err), 1);
		assert_same(&entry, &entries[i]);
		if (i == 1)
			assert_int_equal(tar_reader_data(reader, &data, &err) > 0, 1);
	}
	assert_int_equal(tar_reader_next(reader, &(struct tar_entry){ 0 }, &err), 0);
	sbuf_release(&archive.bytes);
}

/* A header made by hand. */
static struct tar_header header_of(char type, const char *name, const char *size)
{
	struct tar_header header = { .type = type,
				     .mode = "0000644",
				     .uid = "0000000",
				     .gid = "0000000",
				     .mtime = "00000000000" };

	snprintf(header.name, sizeof(header.name), "%s", name);
	memcpy(header.size, size, strnlen(size, sizeof(header.size)));
	memcpy(header.magic, "ustar", 6);
	return header;
}

static void put_header(struct archive *archive, struct tar_header header)
{
	char text[8];

	snprintf(text, sizeof(text), "%06o", tar_checksum(&header));
	memcpy(header.checksum, text, 7);
	sbuf_add_bytes(&archive->bytes, &header, sizeof(header));
}

static void put_block(struct archive *archive, const char *text)
{
	char block[TAR_BLOCK] = { 0 };

	memcpy(block, text, strlen(text));
	sbuf_add_bytes(&archive->bytes, block, sizeof(block));
}

/* Reads all entries: the number of them, or the first error. */
static int read_all(struct archive *archive)
{
	CLEANUP(tar_reader_freep) struct tar_reader *reader = tar_reader_new(archive_read, archive);
	struct tar_entry entry;
	struct err err = { 0 };
	int count = 0;
	int r;

	while ((r = tar_reader_next(reader, &entry, &err)) == 1)
		count++;
	if (r < 0)
		assert_true(err.message[0]);
	sbuf_release(&archive->bytes);
	return r < 0 ? r : count;
}

static int read_header(struct tar_header header)
{
	struct archive archive = { 0 };

	put_header(&archive, header);
	return read_all(&archive);
}

static int read_extended(const char *records)
{
	struct archive archive = { 0 };
	char size[24];

	snprintf(size, sizeof(size), "%011zo", strlen(records));
	put_header(&archive, header_of('x', "pax", size));
	put_block(&archive, records);
	put_header(&archive, header_of('0', "name", "00000000000"));
	return read_all(&archive);
}

static void test_damaged_archives_are_refused(void **state)
{
	struct tar_header header = header_of('0', "name", "00000000000");
	struct archive archive = { 0 };

	assert_int_equal(read_header(header), 1);
	assert_int_equal(read_header(header_of('0', "name", "00000001000")),
			 -EBADMSG); /* cut off */
	assert_int_equal(read_header(header_of('0', "name", "0000000100x")), -EBADMSG);
	assert_int_equal(read_header(header_of('0', "name",
					       "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
			 -EBADMSG);
	assert_int_equal(read_header(header_of('0', "name",
					       "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
			 -EBADMSG);
	assert_int_equal(read_header(header_of('0', "", "00000000000")), -EBADMSG);
	assert_int_equal(read_header(header_of('Z', "name", "00000000000")), -ENOTSUP);
	assert_int_equal(read_header(header_of('S', "name", "00000000000")), -ENOTSUP);
	assert_int_equal(read_header(header_of('L', "name", "77777777777")), -EBADMSG);
	memcpy(header.uid, "\x80\0\0\0\xff\xff\xff\xff", 8);
	assert_int_equal(read_header(header), -EBADMSG); /* -1 */
	put_block(&archive, "this is no header at all");
	assert_int_equal(read_all(&archive), -EBADMSG);

	assert_int_equal(read_extended("12 path=abc\n"), 1);
	assert_int_equal(read_extended("13 path=abc\n"), -EBADMSG);
	assert_int_equal(read_extended("11 path=abc\n"), -EBADMSG);
	assert_int_equal(read_extended("0 path=abc\n"), -EBADMSG);
	assert_int_equal(read_extended("99999999999999999999 path=abc\n"), -EBADMSG);
	assert_int_equal(read_extended("8 path=\n"), -EBADMSG); /* no name */
	assert_int_equal(read_extended("7 path\n"), -EBADMSG);
	assert_int_equal(read_extended("11 size=-1\n"), -EBADMSG);
	assert_int_equal(read_extended("31 size=9999999999999999999999\n"), -EBADMSG);
	assert_int_equal(read_extended("18 uid=4294967295\n"), -EBADMSG);
	assert_int_equal(read_extended("11 mtime=x\n"), -EBADMSG);
	assert_int_equal(read_extended("22 GNU.sparse.major=1\n"), -ENOTSUP);
	assert_int_equal(read_extended("22 GNU.sparse.map=0,1\n"), -ENOTSUP);
}

static void test_bad_maps_of_holes_are_refused(void **state)
{
	static const struct {
		const char *map;
		int result;
	} cases[] = {
		{ "1\n0\n5\n", 1 },         { "1\n95\n5\n", 1 },
		{ "1\n96\n5\n", -EBADMSG }, { "2\n5\n1\n0\n4\n", -EBADMSG },
		{ "1\n0\n4\n", -EBADMSG },  { "99999\n", -E2BIG },
		{ "x\n", -EBADMSG },        { "1\n0\n-5\n", -EBADMSG },
		{ "1\n0", -EBADMSG },       { "1\n18446744073709551615\n5\n", -EBADMSG },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		static const char records[] = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
					      "27 GNU.sparse.realsize=100\n";
		struct archive archive = { 0 };

		put_header(&archive, header_of('x', "pax", "00000000107"));
		put_block(&archive, records);
		put_header(&archive, header_of('0', "holes", "00000001005"));
		put_block(&archive, cases[i].map);
		put_block(&archive, "12345");
		assert_int_equal(read_all(&archive), cases[i].result);
	}
}

static void test_names_are_cleaned(void **state)
{
	static const struct {
		const char *name, *clean;
	} cases[] = {
		{ "a/b", "a/b" }, { "/a//b/", "a/b" },  { "./a/./b/.", "a/b" }, { ".", "" },
		{ "/", "" },      { "a/..", NULL },     { "../a", NULL },       { "..", NULL },
		{ "...", "..." }, { "a/..b", "a/..b" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char out[TAR_PATH_MAX + 1];
		int r = unpack_clean_name(cases[i].name, out);

		assert_int_equal(r, cases[i].clean ? 0 : -EBADMSG);
		if (cases[i].clean)
			assert_string_equal(out, cases[i].clean);
	}
}

/* --- trees --- */

static void run(const char *dir, const char *script)
{
	char *argv[] = { "sh", "-ec", (char *)script, "sh", (char *)dir, NULL };
	AUTO_FREE char *text = NULL;

	if (proc_output(argv, true, 65536, &text, NULL) != 0)
		fail_msg("%s", text);
}

static int open_dir(const char *dir, const char *name)
{
	AUTO_FREE char *path = path_join(dir, "%s", name);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void pack_to(struct archive *archive, const char *dir, const char *leaf, bool past_cache)
{
	AUTO_CLOSE int fd = open_dir(dir, ".");
	CLEANUP(tar_writer_freep)
	struct tar_writer *writer = tar_writer_new(archive_write, archive);
	const struct pack_options options = { .name = leaf, .past_cache = past_cache };
	struct err err = { 0 };

	if (pack(writer, fd, leaf, &options, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(tar_writer_finish(writer), 0);
}

static int unpack_from(struct archive *archive, const struct unpack_options *options,
		       struct err *err)
{
	CLEANUP(tar_reader_freep) struct tar_reader *reader = tar_reader_new(archive_read, archive);

	archive->offset = 0;
	return unpack(reader, options, err);
}

/* An archive, and a directory below the test's in which it is unpacked. */
struct scene {
	const char *dir; /* the test's */
	struct archive archive;
	struct unpack_options options;
	struct err err;
	int fd;
};

/* out is made if it is not there. */
static struct scene scene_of(const char *dir, const char *out)
{
	AUTO_FREE char *path = path_join(dir, "%s", out);
	struct scene scene = { .dir = dir };

	if (mkdir(path, 0755) < 0)
		assert_int_equal(errno, EEXIST);
	scene.fd = open_dir(dir, out);
	scene.options =
		(struct unpack_options){ .base_fd = scene.fd, .resolve = STRICT, .prefix = "" };
	return scene;
}

/* The same, of which nothing is dropped. */
static struct scene scene_of_all(const char *dir, const char *out, const char *top)
{
	struct scene scene = scene_of(dir, out);

	scene.options.top = top;
	scene.options.all_modes = scene.options.keep_owner = true;
	return scene;
}

static void scene_release(struct scene *scene)
{
	close(scene->fd);
	sbuf_release(&scene->archive.bytes);
}

static int scene_unpack(struct scene *scene)
{
	return unpack_from(&scene->archive, &scene->options, &scene->err);
}

static void scene_unpack_well(struct scene *scene)
{
	if (scene_unpack(scene) < 0)
		fail_msg("%s", scene->err.message);
}

/* Type, mode, owner, size, time, link, number of names, holes' data, of all below $1/tree; and
 * extended attributes of one file. */
#define LIST                                                                              \
	"cd \"$1\"/%s; find . -printf '%%p %%y %%m %%U %%G %%s %%T@ %%l %%n\\n' | sort; " \
	"find . -type f -exec sha256sum {} + | sort"

static char *list(const char *dir, const char *name)
{
	AUTO_FREE char *script = xasprintf(LIST, name);
	char *argv[] = { "sh", "-ec", script, "sh", (char *)dir, NULL };
	char *text = NULL;

	assert_int_equal(proc_output(argv, true, 65536, &text, NULL), 0);
	return text;
}

#define MAKE_TREE                                                                                  \
	"cd \"$1\"; mkdir -p tree/sub/empty; echo hello > tree/file; ln tree/file tree/sub/hard; " \
	"ln -s ../nowhere tree/soft; mkfifo tree/fifo; truncate -s 3M tree/sub/holes; "            \
	"printf x | dd of=tree/sub/holes bs=1 seek=2000000 conv=notrunc 2> /dev/null; "            \
	"printf '' > tree/zero; head -c 700000 /dev/urandom > tree/random; "                       \
	"n=$(printf %0200d 1); mkdir tree/$n; echo long > tree/$n/$n; "                            \
	"chmod 4711 tree/file; chmod 1777 tree/sub; touch -d '1960-01-02 03:04:05.678' "           \
	"tree/zero; "                                                                              \
	"touch -h -d '2001-02-03 04:05:06.789' tree/soft; chmod 555 tree/sub/empty"

/* Sizes around pages and blocks, however the archive comes. */
static void test_large_files_go_past_the_page_cache(void **state)
{
	static const size_t steps[] = { 0, 777, 512, 65536 + 512 };
	const char *dir = *state;
	CLEANUP(scene_release) struct scene scene = scene_of_all(dir, "out", "copy");

	run(dir, "cd \"$1\"; mkdir large; for n in 1048576 1048577 3000123 2097664; do "
		 "head -c $n /dev/urandom > large/$n; done; cp large/3000123 large/holes; "
		 "truncate -s 9000000 large/holes; echo end >> large/holes; echo x > large/z");
	AUTO_FREE char *before = list(dir, "large");
	pack_to(&scene.archive, dir, "large", true);
	scene.options.past_cache = true;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		scene.archive.step = steps[i];
		scene_unpack_well(&scene);
		AUTO_FREE char *after = list(dir, "out/copy");
		assert_string_equal(before, after);
	}
}

static void test_a_tree_comes_back_as_it_was(void **state)
{
	const char *dir = *state;
	CLEANUP(scene_release) struct scene scene = scene_of_all(dir, "out", "copy");

	scene.archive.step = 777;
	run(dir, MAKE_TREE);
	AUTO_FREE char *path = path_join(dir, "tree/file");
	bool has_xattrs = setxattr(path, "user.test", "value", 5, 0) == 0;
	AUTO_FREE char *before = list(dir, "tree");
	pack_to(&scene.archive, dir, "tree", false);
	scene_unpack_well(&scene);
	AUTO_FREE char *after = list(dir, "out/copy");
	assert_string_equal(before, after);
	if (has_xattrs) {
		AUTO_FREE char *copy = path_join(dir, "out/copy/file");
		char value[8];

		assert_int_equal(getxattr(copy, "user.test", value, sizeof(value)), 5);
	}
	AUTO_FREE char *holes = path_join(dir, "out/copy/sub/holes");
	struct stat st;
	assert_int_equal(stat(holes, &st), 0);
	assert_true(st.st_blocks * 512 < 1000000);
	/* Once more over itself: nothing changes. */
	scene_unpack_well(&scene);
	AUTO_FREE char *again = list(dir, "out/copy");
	assert_string_equal(before, again);
	run(dir, "chmod -R u+w \"$1\"");
}

static void test_special_modes_are_dropped_unless_asked_for(void **state)
{
	CLEANUP(scene_release) struct scene scene = scene_of(*state, "out");
	struct stat st;

	run(scene.dir, "cd \"$1\"; echo x > file; chmod 6755 file");
	pack_to(&scene.archive, scene.dir, "file", false);
	scene.options.top = "file";
	scene_unpack_well(&scene);
	assert_int_equal(fstatat(scene.fd, "file", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
}

/* Whoever may not give a file away does not let it act as himself. Nobody in particular, for root.
 */
static void test_a_file_that_is_kept_does_not_act_as_its_owner(void **state)
{
	const char *dir = *state;
	CLEANUP(scene_release) struct scene scene = scene_of_all(dir, ".", "f");
	CLEANUP(tar_writer_freep)
	struct tar_writer *writer = tar_writer_new(archive_write, &scene.archive);
	struct stat st;
	pid_t pid;
	int status;

	add(writer,
	    (struct tar_entry){ .type = TAR_FILE, .name = "f", .mode = 06755, .uid = 1, .gid = 1 },
	    "x");
	tar_writer_finish(writer);
	assert_int_equal(chmod(dir, 0777), 0);
	pid = fork();
	if (pid == 0) {
		if (geteuid() == 0 &&
		    (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0))
			_exit(2);
		_exit(scene_unpack(&scene) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fstatat(scene.fd, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
}

static void archive_load(struct archive *archive, const char *dir, const char *name)
{
	AUTO_FREE char *path = path_join(dir, "%s", name);
	AUTO_FREE char *text = NULL;
	size_t size = 0;

	assert_int_equal(file_read(path, 64 << 20, &text, &size, NULL), 0);
	sbuf_add_bytes(&archive->bytes, text, size);
}

static void test_tar_reads_ours_and_we_read_tars(void **state)
{
	static const char *const formats[] = { "gnu", "posix", "oldgnu" };
	const char *dir = *state;
	AUTO_FREE char *path = path_join(dir, "ours.tar");
	struct archive archive = { 0 };

	run(dir, MAKE_TREE "; rm tree/fifo; mkdir tars");
	pack_to(&archive, dir, "tree", false);
	assert_int_equal(file_write_atomic(path, archive.bytes.text, archive.bytes.length, 0600,
					   false, NULL),
			 0);
	sbuf_release(&archive.bytes);
	run(dir, "cd \"$1\"/tars; tar -xpf ../ours.tar");
	AUTO_FREE char *before = list(dir, "tree");
	AUTO_FREE char *theirs = list(dir, "tars/tree");
	assert_string_equal(before, theirs);
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		CLEANUP(scene_release) struct scene scene = scene_of_all(dir, formats[i], NULL);
		AUTO_FREE char *make =
			xasprintf("cd \"$1\"; tar --format=%s %s -cf theirs.tar tree", formats[i],
				  i == 1 ? "-S" : "");
		AUTO_FREE char *compare =
			xasprintf("cd \"$1\"; of=%s; cmp tree/sub/holes $of/tree/sub/holes; "
				  "cmp tree/random $of/tree/random; "
				  "[ $(stat -c %%h $of/tree/file) = 2 ]; "
				  "[ $(stat -c %%a $of/tree/file) = 4711 ]; "
				  "[ $(find tree | wc -l) = $(find $of/tree | wc -l) ]",
				  formats[i]);

		run(dir, make);
		archive_load(&scene.archive, dir, "theirs.tar");
		scene.options.keep_names = true;
		scene_unpack_well(&scene);
		run(dir, compare);
	}
	run(dir, "chmod -R u+w \"$1\"");
}

struct hostile {
	struct tar_entry entries[4];
	const char *data[4];
	int result;
};

static void test_no_name_leads_out(void **state)
{
	static const struct hostile cases[] = {
		{ { { .type = TAR_FILE, .name = "../escaped" } }, { "x" }, -EBADMSG },
		{ { { .type = TAR_FILE, .name = "a/../../escaped" } }, { "x" }, -EBADMSG },
		{ { { .type = TAR_FILE, .name = "/escaped" } }, { "x" }, 0 }, /* below, as all */
		{ { { .type = TAR_SYMLINK, .name = "l", .link = ".." },
		    { .type = TAR_FILE, .name = "l/escaped" } },
		  { NULL, "x" },
		  -ELOOP },
		{ { { .type = TAR_SYMLINK, .name = "l", .link = "/tmp" },
		    { .type = TAR_DIRECTORY, .name = "l/escaped" } },
		  { NULL },
		  -ELOOP },
		{ { { .type = TAR_SYMLINK, .name = "l", .link = "../secret" },
		    { .type = TAR_FILE, .name = "l" } }, /* replaced, not followed */
		  { NULL, "x" },
		  0 },
		{ { { .type = TAR_LINK, .name = "l", .link = "../secret" } }, { NULL }, -EBADMSG },
		{ { { .type = TAR_SYMLINK, .name = "d", .link = ".." },
		    { .type = TAR_LINK, .name = "l", .link = "d/secret" } },
		  { NULL },
		  -ELOOP },
		{ { { .type = TAR_LINK, .name = "l", .link = "l" } }, { NULL }, 0 },
		{ { { .type = TAR_LINK, .name = "l", .link = "gone" } }, { NULL }, -ENOENT },
		{ { { .type = TAR_DIRECTORY, .name = "d" },
		    { .type = TAR_LINK, .name = "l", .link = "d" } },
		  { NULL },
		  -EPERM },
		{ { { .type = TAR_DIRECTORY, .name = "d" }, { .type = TAR_FILE, .name = "d" } },
		  { NULL, "x" },
		  -EISDIR },
		{ { { .type = TAR_FILE, .name = "f" }, { .type = TAR_DIRECTORY, .name = "f" } },
		  { "x" },
		  -ENOTDIR },
		{ { { .type = TAR_FILE, .name = "f" }, { .type = TAR_FILE, .name = "f/g" } },
		  { "x", "x" },
		  -ENOTDIR },
		{ { { .type = TAR_SYMLINK, .name = "s", .link = "" } }, { NULL }, -ENOENT },
		/* No devices; a warning. */
		{ { { .type = TAR_CHARACTER, .name = "c", .major = 1, .minor = 3 } }, { NULL }, 0 },
	};
	const char *dir = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		run(dir, "cd \"$1\"; rm -rf out; echo secret > secret");
		CLEANUP(scene_release) struct scene scene = scene_of(dir, "out");
		CLEANUP(tar_writer_freep)
		struct tar_writer *writer = tar_writer_new(archive_write, &scene.archive);

		for (size_t j = 0; j < 4 && cases[i].entries[j].name; j++)
			add(writer, cases[i].entries[j], cases[i].data[j]);
		tar_writer_finish(writer);
		scene.options.keep_names = true;
		int r = scene_unpack(&scene);
		if (r != cases[i].result)
			fail_msg("case %zu: %d, %s", i, r, scene.err.message);
		run(dir, "cd \"$1\"; [ \"$(ls)\" = \"out\nsecret\" ]; [ $(cat secret) = secret ]; "
			 "[ $(stat -c %h secret) = 1 ]; ! find out -type c | grep .");
	}
}

static void test_nothing_lies_beside_the_top(void **state)
{
	CLEANUP(scene_release) struct scene scene = scene_of(*state, ".");
	CLEANUP(tar_writer_freep)
	struct tar_writer *writer = tar_writer_new(archive_write, &scene.archive);

	add(writer, (struct tar_entry){ .type = TAR_DIRECTORY, .name = "top/" }, NULL);
	add(writer, (struct tar_entry){ .type = TAR_FILE, .name = "top/in" }, "x");
	add(writer, (struct tar_entry){ .type = TAR_FILE, .name = "topless" }, "x");
	tar_writer_finish(writer);
	scene.options.top = "mine";
	assert_int_equal(scene_unpack(&scene), -EBADMSG);
	run(scene.dir, "cd \"$1\"; [ \"$(find . | sort)\" = \".\n./mine\n./mine/in\" ]");
}

/* --- where copies go --- */

static void test_copies_go_where_cp_puts_them(void **state)
{
	static const struct {
		const char *destination, *source;
		int result;
		const char *directory, *name; /* name NULL: the directory itself */
		bool is_directory;
	} cases[] = {
		{ "dir", "src", 0, "dir", "src", false },
		{ "dir/", "src", 0, "dir", "src", false },
		{ "dir/.", "src", 0, "dir", "src", false },
		{ "dir", NULL, 0, "dir", NULL, false },
		{ "new", "src", 0, ".", "new", false },
		{ "new/", "src", 0, ".", "new", true },
		{ "dir/new", "src", 0, "dir", "new", false },
		{ "no/new", "src", -ENOENT, NULL, NULL, false },
		{ "file", "src", 0, ".", "file", false },
		{ "file/", "src", -ENOTDIR, NULL, NULL, false },
		{ "file/x", "src", -ENOTDIR, NULL, NULL, false },
		{ "to_dir", "src", 0, "dir", "src", false },
		{ "to_file", "src", 0, "dir", "inner", false },
		{ "dangling", "src", 0, "dir", "nothing", false },
		{ "loop", "src", -ELOOP, NULL, NULL, false },
		{ ".", "src", 0, ".", "src", false },
		{ "dir/..", "src", 0, ".", "src", false },
	};
	const char *dir = *state;

	run(dir, "cd \"$1\"; mkdir dir; echo x > file; echo x > dir/inner; ln -s dir to_dir; "
		 "ln -s to_dir/inner to_file; ln -s dir/nothing dangling; ln -s loop loop");
	AUTO_CLOSE int root = open_dir(dir, ".");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(place_release) struct place place = { .dir_fd = -1 };
		struct err err = { 0 };
		struct stat wanted;
		struct stat found;
		int r = place_find(root, RESOLVE_IN_ROOT, cases[i].destination, cases[i].source,
				   &place, &err);

		if (r != cases[i].result)
			fail_msg("'%s': %d, %s", cases[i].destination, r, err.message);
		if (r < 0)
			continue;
		assert_int_equal(fstatat(root, cases[i].directory, &wanted, 0), 0);
		assert_int_equal(fstat(place.dir_fd, &found), 0);
		assert_int_equal(wanted.st_ino, found.st_ino);
		assert_true(str_eq(place.name, cases[i].name));
		assert_int_equal(place.is_directory, cases[i].is_directory);
	}
}

static void test_sources_have_names(void **state)
{
	static const char *const cases[][2] = {
		{ "/a/x", "x" }, { "/a/x/", "x" }, { "x", "x" },   { "/", NULL },    { ".", NULL },
		{ "./", NULL },  { "a/.", NULL },  { "..", NULL }, { "a/..", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *name = place_source_name(cases[i][0]);

		assert_true(str_eq(name, cases[i][1]));
	}
}

static void test_copy_message_is_checked(void **state)
{
	const struct msg_copy good = { .id = 7,
				       .op = MSG_COPY_WRITE,
				       .flags = MSG_COPY_KEEP_OWNER,
				       .path = "/a",
				       .name = "x" };
	struct msg_copy bad[] = { good, good, good, good };
	struct msg_copy msg;
	AUTO_SBUF struct sbuf bytes = { 0 };

	msg_copy_encode(&good, &bytes);
	assert_int_equal(msg_copy_decode((uint8_t *)bytes.text, bytes.length, &msg), 0);
	assert_string_equal(msg.path, "/a");
	assert_string_equal(msg.name, "x");
	assert_int_equal(msg_copy_decode((uint8_t *)bytes.text, bytes.length - 1, &msg), -EPROTO);
	bad[0].id = 0;
	bad[1].op = MSG_COPY_OP_COUNT;
	bad[2].flags = 1u << 31;
	bad[3].name = "a/b";
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTO_SBUF struct sbuf other = { 0 };

		msg_copy_encode(&bad[i], &other);
		assert_int_equal(msg_copy_decode((uint8_t *)other.text, other.length, &msg),
				 -EPROTO);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read),
		cmocka_unit_test(test_damaged_archives_are_refused),
		cmocka_unit_test(test_bad_maps_of_holes_are_refused),
		cmocka_unit_test(test_names_are_cleaned),
		TEST_IN_DIR(test_a_tree_comes_back_as_it_was),
		TEST_IN_DIR(test_large_files_go_past_the_page_cache),
		TEST_IN_DIR(test_special_modes_are_dropped_unless_asked_for),
		TEST_IN_DIR(test_a_file_that_is_kept_does_not_act_as_its_owner),
		TEST_IN_DIR(test_tar_reads_ours_and_we_read_tars),
		TEST_IN_DIR(test_no_name_leads_out),
		TEST_IN_DIR(test_nothing_lies_beside_the_top),
		TEST_IN_DIR(test_copies_go_where_cp_puts_them),
		cmocka_unit_test(test_sources_have_names),
		cmocka_unit_test(test_copy_message_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
