/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/proc.h"
#include "base/str.h"
#include "disk/ext4_groups.h"
#include "disk/index.h"
#include "disk/layer.h"
#include "disk/merge.h"
#include "disk/scratch.h"
#include "erofs_read.h"
#include "tar_make.h"

#define LAYERS_MAX 4

/* Layers on disk in the test's directory, and what the last call said. */
struct stack {
	const char *dir;
	struct merge_layer layers[LAYERS_MAX];
	char *paths[LAYERS_MAX + 1]; /* owned: the merged metadata, then the disks */
	char *indexes[LAYERS_MAX];   /* owned */
	size_t count;
	struct layer_info info;
	struct err err;
	enum merge_extras extras;
};

static void stack_release(struct stack *s)
{
	free(s->paths[0]);
	for (size_t i = 0; i < s->count; i++) {
		free(s->paths[i + 1]);
		free(s->indexes[i]);
	}
}

#define STACK(name) CLEANUP(stack_release) struct stack name = { .dir = *state }

struct piece {
	const char *data;
	size_t left;
	size_t step;
};

static ssize_t read_piece(void *ctx, const void **ret_data)
{
	struct piece *p = ctx;
	size_t n = p->left < p->step ? p->left : p->step;

	*ret_data = p->data;
	p->data += n;
	p->left -= n;
	return (ssize_t)n;
}

/* Converts a tar (taken) as the next layer; fsck and our reader must accept what comes of it. */
static int add_layer(struct stack *s, struct sbuf *tar, const struct layer_limits *limits)
{
	struct piece piece = { tar->text, tar->length, 1000 };
	char *disk = path_join(s->dir, "%zu.erofs", s->count);
	char *index = path_join(s->dir, "%zu.index", s->count);
	AUTO_CLOSE int disk_fd = open(disk, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	AUTO_CLOSE int index_fd = open(index, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	const char *const argv[] = { "fsck.erofs", disk, NULL };
	AUTO_FREE char *output = NULL;
	int r;

	s->err = (struct err){ 0 };
	r = layer_convert(read_piece, &piece, limits ? limits : &layer_limits_default, disk_fd,
			  index_fd, &s->info, &s->err);
	sbuf_release(tar);
	if (r < 0) {
		assert_int_equal(s->err.code, r);
		assert_true(s->err.message[0]);
		free(disk);
		free(index);
		return r;
	}
	assert_int_equal(piece.left, 0);
	assert_int_equal(proc_output((char *const *)argv, true, 65536, &output, NULL), 0);
	s->layers[s->count] = (struct merge_layer){ disk, index };
	s->paths[s->count + 1] = disk;
	s->indexes[s->count] = index;
	s->count++;
	return 0;
}

static int merge_stack(struct stack *s)
{
	free(s->paths[0]);
	s->paths[0] = path_join(s->dir, "meta.erofs");
	AUTO_CLOSE int fd = open(s->paths[0], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	s->err = (struct err){ 0 };
	return merge_layers(s->layers, s->count, s->extras, fd, &s->err);
}

static int print_name(void *ctx, const char *path, const struct erofs_stat *st)
{
	sbuf_addf(ctx, "%s%s\n", path, S_ISDIR(st->mode) ? "/" : "");
	return 0;
}

static void open_merged(struct stack *s, struct erofs_image *image)
{
	struct sbuf ignored = { 0 };

	if (merge_stack(s) < 0)
		fail_msg("%s", s->err.message);
	if (erofs_image_open(image, (const char *const *)s->paths, s->count + 1) < 0 ||
	    erofs_image_walk(image, print_name, &ignored) < 0)
		fail_msg("%s", image->problem);
	sbuf_release(&ignored);
}

/* The names of the merged image, one a line. */
static void assert_names(struct stack *s, const char *want)
{
	CLEANUP(erofs_image_close) struct erofs_image image = { 0 };
	AUTO_SBUF struct sbuf names = { 0 };

	open_merged(s, &image);
	assert_int_equal(erofs_image_walk(&image, print_name, &names), 0);
	assert_string_equal(names.text, want);
}

static struct erofs_stat must_find(struct erofs_image *image, const char *path)
{
	struct erofs_stat st = { 0 };

	if (erofs_image_find(image, path, &st) < 0)
		fail_msg("%s: %s", path, image->problem);
	return st;
}

static void assert_content(struct erofs_image *image, const char *path, const char *want)
{
	struct erofs_stat st = must_find(image, path);
	AUTO_FREE char *content = erofs_image_content(image, &st);

	assert_non_null(content);
	assert_string_equal(content, want);
}

#define ADD(tar, ...) tar_add(tar, (struct tar_entry){ __VA_ARGS__ })
#define TEXT(text) .data = (text), .size = strlen(text)

static void test_metadata(void **state)
{
	CLEANUP(erofs_image_close) struct erofs_image image = { 0 };
	AUTO_SBUF struct sbuf tar = { 0 };
	AUTO_SBUF struct sbuf pax = { 0 };
	AUTO_FREE char *xattrs = NULL;
	struct erofs_stat st;
	STACK(s);

	tar_pax(&pax, "SCHILY.xattr.security.capability", "\1\0\2", 3);
	tar_pax(&pax, "SCHILY.xattr.user.x", "", 0);
	tar_pax(&pax, "SCHILY.xattr.trusted.overlay.opaque", "y", 1);
	tar_pax(&pax, "SCHILY.xattr.com.apple.thing", "y", 1);
	tar_pax(&pax, "mtime", "-5", 2);
	tar_pax(&pax, "uid", "4294967294", 10);
	ADD(&tar, .name = "./", .type = '5', .mode = 0711, .uid = 7);
	ADD(&tar, .name = "f", TEXT("hello"), .mode = 04755, .gid = 9, .pax = pax.text,
	    .pax_size = pax.length);
	ADD(&tar, .name = "dev", .type = '3', .major = 259, .minor = 70000);
	ADD(&tar, .name = "fifo", .type = '6');
	ADD(&tar, .name = "sym", .type = '2', .link = "../../x");
	ADD(&tar, .name = "hard", .type = '1', .link = "/f");
	ADD(&tar, .name = "a/b/c", TEXT(""));
	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	open_merged(&s, &image);
	st = must_find(&image, "");
	assert_int_equal(st.mode, S_IFDIR | 0711);
	assert_int_equal(st.uid, 7);
	st = must_find(&image, "hard");
	assert_int_equal(st.mode, S_IFREG | 04755);
	assert_true(st.uid == 4294967294u && st.gid == 9 && st.mtime == -5 && st.nlink == 2);
	xattrs = erofs_image_xattrs(&image, &st);
	assert_string_equal(xattrs, "security.capability=010002,user.x=");
	assert_int_equal(must_find(&image, "f").nid, st.nid);
	assert_content(&image, "f", "hello");
	assert_content(&image, "sym", "../../x");
	st = must_find(&image, "dev");
	assert_int_equal(st.rdev, (70000 & 0xff) | 259 << 8 | (70000 & ~0xff) << 12);
	assert_int_equal(must_find(&image, "a/b").mode, S_IFDIR | 0755);
	assert_int_equal(must_find(&image, "a/b/c").size, 0);
}

/* Bytes stay bytes, whatever the locale: decomposed, invalid, and not ASCII at all. */
static void test_names_are_bytes(void **state)
{
	static const char *const names[] = { "e\xcc\x81", "\xc3\xa9", "\xff\xfe", "\xe4\xf6" };
	CLEANUP(erofs_image_close) struct erofs_image image = { 0 };
	AUTO_SBUF struct sbuf tar = { 0 };
	STACK(s);

	setlocale(LC_ALL, "C.UTF-8");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		AUTO_SBUF struct sbuf pax = { 0 };

		tar_pax(&pax, "path", names[i], strlen(names[i]));
		tar_pax(&pax, "linkpath", names[i], strlen(names[i]));
		ADD(&tar, .name = "x", .type = '2', .link = "y", .pax = pax.text,
		    .pax_size = pax.length);
	}
	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	setlocale(LC_ALL, "C");
	open_merged(&s, &image);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_content(&image, names[i], names[i]);
}

static void test_whiteouts(void **state)
{
	AUTO_SBUF struct sbuf tar = { 0 };
	STACK(s);

	for (const char *const *name =
		     (const char *const[]){ "a/x", "a/y/z", "b/x", "c", "d/e/f", "g/h", NULL };
	     *name; name++)
		ADD(&tar, .name = *name);
	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	assert_names(&s, "/\na/\na/x\na/y/\na/y/z\nb/\nb/x\nc\nd/\nd/e/\nd/e/f\ng/\ng/h\n");
	ADD(&tar, .name = "a/new");
	ADD(&tar, .name = "a/.wh..wh..opq"); /* after what it must not hide */
	ADD(&tar, .name = "b/.wh.x");
	ADD(&tar, .name = "b/x", .type = '2', .link = "t");
	ADD(&tar, .name = ".wh.c");
	ADD(&tar, .name = "no/such/.wh.thing");
	ADD(&tar, .name = ".wh.d");
	ADD(&tar, .name = "d/own");
	ADD(&tar, .name = "g", TEXT("a file now"));
	ADD(&tar, .name = ".wh..wh.plnk/77");
	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	assert_names(&s, "/\na/\na/new\nb/\nb/x\nd/\nd/own\ng\n");
}

/* Where a guest will mount: made where the image has nothing, and left alone where it has. */
static void test_mount_points(void **state)
{
	AUTO_SBUF struct sbuf tar = { 0 };
	STACK(s);

	s.extras = MERGE_MOUNT_POINTS;
	ADD(&tar, .name = "etc/hosts", TEXT("mine"));
	ADD(&tar, .name = "etc/resolv.conf", .type = '2', .link = "../run/resolv.conf");
	ADD(&tar, .name = "sys", TEXT("a file"));
	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	assert_names(&s, "/\ndev/\netc/\netc/hostname\netc/hosts\netc/resolv.conf\nproc/\nsys\n");
	{
		CLEANUP(erofs_image_close) struct erofs_image image = { 0 };

		open_merged(&s, &image);
		assert_content(&image, "/etc/hosts", "mine");
		assert_content(&image, "/etc/hostname", "");
		assert_int_equal(must_find(&image, "/etc/hostname").mode, S_IFREG | 0644);
	}
}

static void test_links_across_layers(void **state)
{
	CLEANUP(erofs_image_close) struct erofs_image image = { 0 };
	AUTO_SBUF struct sbuf tar = { 0 };
	STACK(s);

	ADD(&tar, .name = "usr/lib/one", TEXT("one"), .uid = 3);
	ADD(&tar, .name = "lib", .type = '2', .link = "/usr/lib");
	ADD(&tar, .name = "etc", .type = '5', .mode = 0700, .uid = 4);
	ADD(&tar, .name = "dir/inside");
	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	ADD(&tar, .name = "two", .type = '1', .link = "lib/one");
	ADD(&tar, .name = "three", .type = '1', .link = "two");
	ADD(&tar, .name = "late", .type = '1', .link = "comes");
	ADD(&tar, .name = "comes", TEXT("late"));
	ADD(&tar, .name = "lib/more", TEXT("more"));
	ADD(&tar, .name = "etc/conf", TEXT("conf"));
	ADD(&tar, .name = "dir", .type = '2', .link = "etc");
	ADD(&tar, .name = "usr/lib/.wh.one");
	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	open_merged(&s, &image);
	assert_content(&image, "two", "one");
	assert_int_equal(must_find(&image, "three").nid, must_find(&image, "two").nid);
	assert_int_equal(must_find(&image, "three").nlink, 2);
	assert_int_equal(must_find(&image, "late").nlink, 2);
	assert_content(&image, "usr/lib/more", "more");
	assert_content(&image, "dir", "etc");
	assert_int_equal(must_find(&image, "etc").uid, 4);
	ADD(&tar, .name = "bad", .type = '1', .link = "nowhere");
	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	assert_int_equal(merge_stack(&s), -EBADMSG);
}

/* Directories of many sizes, so that blocks and tails of every length occur. */
static void test_big_directories(void **state)
{
	CLEANUP(erofs_image_close) struct erofs_image image = { 0 };
	AUTO_SBUF struct sbuf tar = { 0 };
	char name[100];
	STACK(s);

	for (int dir = 0; dir < 60; dir++)
		for (int i = 0; i < dir * 9; i++) {
			snprintf(name, sizeof(name), "d%02d/%c%0*d", dir, "!-.~"[i % 4],
				 1 + (i * 7 + dir) % 60, i);
			ADD(&tar, .name = name, .data = name, .size = strlen(name));
		}
	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	open_merged(&s, &image);
	assert_content(&image, name, name);
}

/* Targets around the size of a block, behind attributes of every alignment: some fit no inode's
 * tail. */
static void test_long_links(void **state)
{
	CLEANUP(erofs_image_close) struct erofs_image image = { 0 };
	char target[4096];
	AUTO_SBUF struct sbuf tar = { 0 };
	STACK(s);

	for (size_t length = 3990; length < sizeof(target); length++) {
		AUTO_SBUF struct sbuf pax = { 0 };
		char name[32];

		memset(target, 't', length);
		target[length] = '\0';
		tar_pax(&pax, "linkpath", target, length);
		if (length % 4)
			tar_pax(&pax, "SCHILY.xattr.user.x", target, length % 37);
		snprintf(name, sizeof(name), "link%zu", length);
		ADD(&tar, .name = name, .type = '2', .link = "x", .pax = pax.text,
		    .pax_size = pax.length);
		ADD(&tar, .name = "other", .type = '1', .link = name);
	}
	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	open_merged(&s, &image);
	for (size_t length = 3990; length < sizeof(target); length++) {
		char name[32];

		snprintf(name, sizeof(name), "link%zu", length);
		memset(target, 't', length);
		target[length] = '\0';
		assert_content(&image, name, target);
	}
	assert_content(&image, "other", target);
	assert_int_equal(must_find(&image, "other").nlink, 2);
}

static void test_duplicates(void **state)
{
	CLEANUP(erofs_image_close) struct erofs_image image = { 0 };
	AUTO_SBUF struct sbuf tar = { 0 };
	STACK(s);

	ADD(&tar, .name = "f", TEXT("1"));
	ADD(&tar, .name = "f", TEXT("2"));
	ADD(&tar, .name = "d/x", TEXT("x"));
	ADD(&tar, .name = "d", .type = '5', .mode = 0700);
	ADD(&tar, .name = "e/x", TEXT("x"));
	ADD(&tar, .name = "e", .type = '2', .link = "d");
	ADD(&tar, .name = "e/through", TEXT("t"));
	ADD(&tar, .name = "f", .type = '1', .link = "f");
	ADD(&tar, .name = "//abs//./name", TEXT("abs"));
	ADD(&tar, .name = "loop", .type = '2', .link = "loop");
	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	assert_names(&s, "/\nabs/\nabs/name\nd/\nd/through\nd/x\ne\nf\nloop\n");
	open_merged(&s, &image);
	assert_content(&image, "f", "2");
	assert_int_equal(must_find(&image, "f").nlink, 1);
	assert_int_equal(must_find(&image, "d").mode, S_IFDIR | 0700);
}

/* One entry that makes the whole layer an error. */
static void assert_refused(void **state, int code, struct tar_entry entry)
{
	AUTO_SBUF struct sbuf tar = { 0 };
	STACK(s);

	ADD(&tar, .name = "file", TEXT("x"));
	ADD(&tar, .name = "dir", .type = '5');
	ADD(&tar, .name = "loop", .type = '2', .link = "loop");
	tar_add(&tar, entry);
	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), code);
	assert_string_not_equal(s.err.message, "");
}

#define REFUSED(code, ...) assert_refused(state, code, (struct tar_entry){ __VA_ARGS__ })

static void test_hostile_entries(void **state)
{
	REFUSED(-EBADMSG, .name = "../up");
	REFUSED(-EBADMSG, .name = "a/../../up");
	REFUSED(-EBADMSG, .name = ".", .type = '2', .link = "x");
	REFUSED(-EBADMSG, .name = "/", .type = '1', .link = "file");
	REFUSED(-EBADMSG, .name = ".wh.");
	REFUSED(-EBADMSG, .name = "dir/.wh...");
	REFUSED(-EBADMSG, .name = ".wh..");
	REFUSED(-EBADMSG, .name = ".wh.a/b");
	REFUSED(-EBADMSG, .name = "h", .type = '1', .link = "dir");
	REFUSED(-EBADMSG, .name = "h", .type = '1', .link = "/");
	REFUSED(-EBADMSG, .name = "h", .type = '1', .link = "../../etc/passwd");
	REFUSED(-EBADMSG, .name = "s", .type = '2', .link = "");
	REFUSED(-EBADMSG, .name = "file/below");
	REFUSED(-EBADMSG, .name = "loop/below");
	REFUSED(-EBADMSG, .name = "c", .type = '3', .major = 4096);
}

static void refuse_pax(void **state, int code, char type, const char *key, const char *value,
		       size_t size)
{
	AUTO_SBUF struct sbuf pax = { 0 };

	tar_pax(&pax, key, value, size);
	assert_refused(state, code,
		       (struct tar_entry){ .name = "p",
					   .type = type,
					   .link = "x",
					   .pax = pax.text,
					   .pax_size = pax.length });
}

static void test_hostile_pax(void **state)
{
	static char big[70000];

	memset(big, 'n', sizeof(big));
	refuse_pax(state, -EBADMSG, '0', "path", big, 256);
	refuse_pax(state, -EBADMSG, '0', "path", "../x", 4);
	refuse_pax(state, -EBADMSG, '2', "linkpath", big, 5000);
	refuse_pax(state, -EBADMSG, '0', "uid", "4294967295", 10);
	refuse_pax(state, -EBADMSG, '0', "uid", "-1", 2);
	refuse_pax(state, -EBADMSG, '0', "gid", "99999999999", 11);
	refuse_pax(state, -E2BIG, '0', "SCHILY.xattr.user.big", big, sizeof(big));
	refuse_pax(state, -EBADMSG, '0', "size", "9223372036854775807", 19);
	refuse_pax(state, -EBADMSG, '0', "size", "-1", 2);
	refuse_pax(state, -E2BIG, '0', "size", "8796093022209", 13);
	refuse_pax(state, -EBADMSG, '0', "size", "1099511627776", 13);
	for (size_t i = 0; i < 5000; i++)
		big[i] = i % 2 ? '/' : 'd';
	refuse_pax(state, -EBADMSG, '0', "path", big, 5000);
}

static void test_hostile_streams(void **state)
{
	AUTO_SBUF struct sbuf tar = { 0 };
	STACK(s);

	for (int i = 0; i < 100; i++)
		sbuf_add(&tar, "this is not an archive at all; ");
	assert_int_equal(add_layer(&s, &tar, NULL), -EBADMSG);
	ADD(&tar, .name = "cut", .data = "0123456789", .size = 10);
	tar.length -= 510; /* in the middle of the data */
	assert_int_equal(add_layer(&s, &tar, NULL), -EBADMSG);
	ADD(&tar, .name = "cut");
	tar.length -= 100;
	assert_int_equal(add_layer(&s, &tar, NULL), -EBADMSG);
	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	sbuf_add(&tar, "");
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	ADD(&tar, .name = "x");
	tar_end(&tar);
	sbuf_add(&tar, "what follows the end is read and means nothing");
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	assert_names(&s, "/\nx\n");
}

/* What some tools write (umoci insert does), and Go's reader takes. */
static void test_missing_padding(void **state)
{
	static const size_t cuts[] = { 502, 501, 100, 1 };

	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		CLEANUP(erofs_image_close) struct erofs_image image = { 0 };
		AUTO_SBUF struct sbuf tar = { 0 };
		STACK(s);

		ADD(&tar, .name = "first", TEXT("1"));
		ADD(&tar, .name = "last", TEXT("0123456789"));
		tar.length -= cuts[i];
		assert_int_equal(add_layer(&s, &tar, NULL), 0);
		open_merged(&s, &image);
		assert_content(&image, "last", "0123456789");
	}
	for (size_t cut = 503; cut < 512; cut++) {
		AUTO_SBUF struct sbuf tar = { 0 };
		STACK(s);

		ADD(&tar, .name = "last", TEXT("0123456789"));
		tar.length -= cut;
		assert_int_equal(add_layer(&s, &tar, NULL), -EBADMSG);
	}
}

static void test_limits(void **state)
{
	const struct layer_limits cases[] = {
		{ .max_file_bytes = 99,
		  .max_size_bytes = 1000,
		  .max_entries = 10,
		  .max_metadata_bytes = 1000 },
		{ .max_file_bytes = 1000,
		  .max_size_bytes = 99,
		  .max_entries = 10,
		  .max_metadata_bytes = 1000 },
		{ .max_file_bytes = 1000,
		  .max_size_bytes = 1000,
		  .max_entries = 2,
		  .max_metadata_bytes = 1000 },
		{ .max_file_bytes = 1000,
		  .max_size_bytes = 1000,
		  .max_entries = 10,
		  .max_metadata_bytes = 2 },
	};
	char data[100] = { 0 };
	STACK(s);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_SBUF struct sbuf tar = { 0 };

		ADD(&tar, .name = "a/b/c", .data = data, .size = sizeof(data));
		tar_end(&tar);
		assert_int_equal(add_layer(&s, &tar, &cases[i]), -E2BIG);
	}
}

/* A sparse file as GNU tar's pax form 1.0 has it: the map comes before the data. */
static void add_sparse(struct sbuf *tar, const char *real_size, const char *map, const char *data)
{
	AUTO_SBUF struct sbuf pax = { 0 };
	AUTO_SBUF struct sbuf body = { 0 };

	tar_pax(&pax, "GNU.sparse.major", "1", 1);
	tar_pax(&pax, "GNU.sparse.minor", "0", 1);
	tar_pax(&pax, "GNU.sparse.name", "sparse", 6);
	tar_pax(&pax, "GNU.sparse.realsize", real_size, strlen(real_size));
	tar_body(&body, map, strlen(map));
	sbuf_add(&body, data);
	ADD(tar, .name = "GNUSparseFile.1/sparse", .data = body.text, .size = body.length,
	    .pax = pax.text, .pax_size = pax.length);
	tar_end(tar);
}

static void test_sparse(void **state)
{
	CLEANUP(erofs_image_close) struct erofs_image image = { 0 };
	AUTO_SBUF struct sbuf tar = { 0 };
	AUTO_FREE char *content = NULL;
	struct erofs_stat st;
	STACK(s);

	add_sparse(&tar, "200000003", "2\n1000\n4\n200000000\n3\n", "abcdxyz");
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	open_merged(&s, &image);
	st = must_find(&image, "sparse");
	assert_int_equal(st.layout, 4);
	assert_true(st.size == 200000003 && image.size < 300000);
	content = erofs_image_content(&image, &st);
	assert_memory_equal(content + 999, "\0abcd\0", 6);
	assert_memory_equal(content + 199999999, "\0xyz", 4);
	add_sparse(&tar, "8796093022209", "1\n0\n4\n", "abcd"); /* above 8 TiB */
	assert_int_equal(add_layer(&s, &tar, NULL), -E2BIG);
	add_sparse(&tar, "100", "2\n50\n4\n10\n3\n", "abcdxyz"); /* backwards */
	assert_int_equal(add_layer(&s, &tar, NULL), -EBADMSG);
	add_sparse(&tar, "100", "1\n98\n4\n", "abcd"); /* beyond its end */
	assert_int_equal(add_layer(&s, &tar, NULL), -EBADMSG);
	add_sparse(&tar, "8796093022208", "2\n0\n4\n8796093022000\n3\n", "abcdxyz");
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	assert_true(s.info.file_bytes < 100);
}

static void test_deterministic(void **state)
{
	AUTO_FREE char *texts[4] = { NULL };
	size_t sizes[4];
	STACK(s);

	for (int i = 0; i < 2; i++) {
		AUTO_SBUF struct sbuf tar = { 0 };

		ADD(&tar, .name = "b/x", TEXT("x"));
		ADD(&tar, .name = "a", TEXT("y"));
		tar_end(&tar);
		assert_int_equal(add_layer(&s, &tar, NULL), 0);
		file_read(s.layers[i].disk_path, 1 << 20, &texts[2 * i], &sizes[2 * i], NULL);
		file_read(s.layers[i].index_path, 1 << 20, &texts[2 * i + 1], &sizes[2 * i + 1],
			  NULL);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sizes[i], sizes[i + 2]);
		assert_memory_equal(texts[i], texts[i + 2], sizes[i]);
	}
	for (int i = 1; i < 4; i++)
		free(texts[i]);
}

static void test_damaged_index(void **state)
{
	AUTO_SBUF struct sbuf tar = { 0 };
	struct stat st;
	char byte;
	STACK(s);

	ADD(&tar, .name = "b/x", TEXT("x"));
	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	AUTO_CLOSE int fd = open(s.layers[0].index_path, O_RDWR | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	for (off_t at = 0; at < st.st_size; at++) {
		pread(fd, &byte, 1, at);
		byte = (char)~byte;
		pwrite(fd, &byte, 1, at);
		assert_int_equal(merge_stack(&s), -EBADMSG);
		byte = (char)~byte;
		pwrite(fd, &byte, 1, at);
	}
	assert_int_equal(merge_stack(&s), 0);
	ftruncate(fd, st.st_size - 1);
	assert_int_equal(merge_stack(&s), -EBADMSG);
}

static void test_descriptor(void **state)
{
	AUTO_FREE char *path = path_join(*state, "image.vmdk");
	AUTO_SBUF struct sbuf tar = { 0 };
	uint64_t bytes = 0;
	STACK(s);

	tar_end(&tar);
	assert_int_equal(add_layer(&s, &tar, NULL), 0);
	assert_int_equal(merge_stack(&s), 0);
	assert_int_equal(merge_write_descriptor(path, s.paths[0], s.layers, 1, &s.err), 0);
	assert_int_equal(merge_check_descriptor(path, &bytes, &s.err), 0);
	assert_int_equal(bytes, 4 * 4096);
	assert_int_equal(truncate(s.layers[0].disk_path, 4096), 0);
	assert_int_equal(merge_check_descriptor(path, &bytes, &s.err), -ESTALE);
	assert_int_equal(unlink(s.layers[0].disk_path), 0);
	assert_int_equal(merge_check_descriptor(path, &bytes, &s.err), -ESTALE);
	assert_int_equal(merge_write_descriptor(path, "relative", NULL, 0, &s.err), -EINVAL);
	assert_int_equal(file_write_atomic(path, "nonsense", 8, 0600, false, NULL), 0);
	assert_int_equal(merge_check_descriptor(path, &bytes, &s.err), -EBADMSG);
}

static void test_scratch(void **state)
{
	AUTO_FREE char *templates = path_join(*state, "templates");
	struct err err = { 0 };
	struct stat st;

	for (int i = 0; i < 4; i++) {
		AUTO_FREE char *path = path_join(*state, "disk%d", i);
		const char *const argv[] = { "/usr/sbin/e2fsck", "-fn", path, NULL };
		AUTO_FREE char *output = NULL;
		uint64_t size = i / 2 ? 16ull << 20 : SCRATCH_SIZE_DEFAULT;

		if (scratch_create(templates, path, size, i % 2, &err) < 0)
			fail_msg("%s", err.message);
		assert_int_equal(scratch_create(templates, path, size, i % 2, &err), -EEXIST);
		assert_int_equal(stat(path, &st), 0);
		assert_true((uint64_t)st.st_size == size && st.st_blocks < 4096);
		assert_int_equal(proc_output((char *const *)argv, true, 65536, &output, NULL), 0);
	}
	assert_int_equal(scratch_create(templates, "/nonexistent", 1000, 0, &err), -EINVAL);
}

static uint32_t journal_blocks(const char *path)
{
	const char *const argv[] = { "/usr/sbin/dumpe2fs", "-h", path, NULL };
	AUTO_FREE char *output = NULL;
	const char *line;
	unsigned blocks = 0;

	assert_int_equal(proc_output((char *const *)argv, true, 65536, &output, NULL), 0);
	line = strstr(output, "Total journal blocks:");
	assert_non_null(line);
	assert_int_equal(sscanf(line, "Total journal blocks: %u", &blocks), 1);
	return blocks;
}

static void test_volume_disks(void **state)
{
	AUTO_FREE char *templates = path_join(*state, "templates");
	const struct {
		uint64_t size_bytes;
		uint32_t journal_mib, journal_blocks;
	} cases[] = {
		{ VOLUME_SIZE_MOST, 0, 16384 },
		{ VOLUME_SIZE_MOST, 0, 16384 }, /* by the template */
		{ 16 << 20, 0, 1024 },
		{ 64 << 20, 8, 2048 },
	};
	struct err err = { 0 };
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *path = path_join(*state, "volume%zu", i);
		const char *const argv[] = { "/usr/sbin/debugfs", "-R", "ls -p /", path, NULL };
		AUTO_FREE char *output = NULL;

		if (volume_disk_create(templates, path, cases[i].size_bytes, cases[i].journal_mib,
				       &err) < 0)
			fail_msg("%s", err.message);
		assert_int_equal(stat(path, &st), 0);
		assert_true((uint64_t)st.st_size == cases[i].size_bytes);
		assert_true(st.st_blocks < 2 * 4096);
		assert_int_equal(proc_output((char *const *)argv, false, 65536, &output, NULL), 0);
		assert_non_null(strstr(output, "/2/040755/0/0/./"));
		assert_null(strstr(output, "lost+found"));
		assert_int_equal(journal_blocks(path), cases[i].journal_blocks);
	}
	assert_int_equal(volume_disk_create(templates, "/nonexistent", 16 << 20, 9, &err), -EINVAL);
	assert_int_equal(volume_disk_create(templates, "/nonexistent", 1ull << 50, 0, &err),
			 -EINVAL);
	assert_int_equal(volume_disk_create(templates, "/nonexistent", 0, 0, &err), -EINVAL);
}

static void test_volume_size(void **state)
{
	const uint64_t gib = 1 << 30;

	assert_int_equal(volume_size_default(0), VOLUME_SIZE_LEAST);
	assert_int_equal(volume_size_default(VOLUME_SIZE_LEAST), VOLUME_SIZE_LEAST);
	assert_int_equal(volume_size_default(VOLUME_SIZE_LEAST + 1), 128 * gib);
	assert_int_equal(volume_size_default(252 * gib), 256 * gib);
	assert_int_equal(volume_size_default(UINT64_MAX), VOLUME_SIZE_MOST);
}

static size_t count_of(const char *text, const char *word)
{
	size_t count = 0;

	for (; (text = strstr(text, word)); text += strlen(word))
		count++;
	return count;
}

/* All groups but the first ones count as initialised, without a block more. */
static void test_block_groups(void **state)
{
	AUTO_FREE char *path = path_join(*state, "disk");
	const char *const dump[] = { "/usr/sbin/dumpe2fs", path, NULL };
	const char *const check[] = { "/usr/sbin/e2fsck", "-fn", path, NULL };
	const uint64_t size_bytes = 20001ull << 20; /* the last of 157 groups is not whole */
	AUTO_FREE char *groups = NULL;
	AUTO_FREE char *output = NULL;
	struct err err = { 0 };
	struct stat st;

	if (volume_disk_create(*state, path, size_bytes, 0, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(proc_output((char *const *)check, true, 65536, &output, NULL), 0);
	assert_int_equal(proc_output((char *const *)dump, true, 1 << 20, &groups, NULL), 0);
	assert_int_equal(count_of(groups, ": (Blocks "), 157);
	assert_in_range(count_of(groups, "BLOCK_UNINIT"), 1, EXT4_GROUPS_LEFT);
	assert_non_null(strstr(strstr(groups, "\nGroup 100:"), "32768 free blocks"));
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks < 4096);
}

static void test_block_groups_of_others(void **state)
{
	AUTO_FREE char *path = path_join(*state, "disk");
	struct err err = { 0 };

	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ext4_groups_settle(fd, &err), -EPIPE);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(ext4_groups_settle(fd, &err), -EBADMSG);
}

static void test_scratch_damaged_template(void **state)
{
	AUTO_FREE char *template = path_join(*state, "ext4-v3-16M-j4-overlay.img");
	AUTO_FREE char *path = path_join(*state, "disk");
	struct err err = { 0 };

	assert_int_equal(file_write_atomic(template, "", 0, 0600, false, NULL), 0);
	assert_int_equal(truncate(template, 16 << 20), 0);
	assert_int_equal(scratch_create(*state, path, 16 << 20, 1, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(test_metadata),
		TEST_IN_DIR(test_names_are_bytes),
		TEST_IN_DIR(test_whiteouts),
		TEST_IN_DIR(test_mount_points),
		TEST_IN_DIR(test_links_across_layers),
		TEST_IN_DIR(test_big_directories),
		TEST_IN_DIR(test_long_links),
		TEST_IN_DIR(test_duplicates),
		TEST_IN_DIR(test_hostile_entries),
		TEST_IN_DIR(test_hostile_pax),
		TEST_IN_DIR(test_hostile_streams),
		TEST_IN_DIR(test_missing_padding),
		TEST_IN_DIR(test_limits),
		TEST_IN_DIR(test_sparse),
		TEST_IN_DIR(test_deterministic),
		TEST_IN_DIR(test_damaged_index),
		TEST_IN_DIR(test_descriptor),
		TEST_IN_DIR(test_scratch),
		TEST_IN_DIR(test_volume_disks),
		cmocka_unit_test(test_volume_size),
		TEST_IN_DIR(test_block_groups),
		TEST_IN_DIR(test_block_groups_of_others),
		TEST_IN_DIR(test_scratch_damaged_template),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
