/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * libarchive parses the tar; everything it says is taken as untrusted and put into a checked form
 * here: names become paths of plain components (layer_path.h), metadata an inode, data go straight
 * to the disk in the order of the archive (layer_data.h). The tree (tree.h) grows beside it. At the
 * end of the archive the tree is written twice: to the index, as it is, for merges; and as EROFS
 * metadata behind the data, so that the layer is a file system of its own. There whiteouts take the
 * form that overlayfs knows (character device 0:0, trusted.overlay.opaque).
 *
 * Semantics are those of the OCI image specification's layers: a later entry of the same name
 * replaces an earlier one, a directory over a directory keeps its content, directories may be
 * implied, whiteouts concern lower layers only. Names below a symbolic link of the same layer go
 * where it points, inside the layer. A hard link to a file that the layer does not have belongs to
 * a lower layer and is resolved by the merge.
 *
 * Refused: names with `..`, components longer than 255 bytes, paths from 4096 bytes, hard links to
 * directories, files below files, ids and device numbers and attributes that cannot be kept. Left
 * out because Linux could not keep them either: attributes of other systems, sockets' data, AUFS's
 * own files (.wh..wh.*).
 */
#include "disk/layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "disk/erofs_write.h"
#include "disk/index.h"
#include "disk/layer_data.h"
#include "disk/layer_path.h"
#include "disk/layer_xattr.h"
#include "disk/out.h"
#include "disk/tree.h"

#define DATA_BUFFER_SIZE (1u << 20)
#define XATTR_COUNT_MAX 1024
#define TAR_BLOCK 512
#define ENTRY_OVERHEAD 4096u /* bytes of tar that an entry may take beside data and metadata */

const struct layer_limits layer_limits_default = {
	.max_file_bytes = 256ull << 30,
	.max_size_bytes = 8ull << 40,
	.max_entries = 2000000,
	.max_metadata_bytes = 256ull << 20,
};

struct layer {
	layer_read_fn read;
	void *read_ctx;
	int read_error;    /* negative errno of the last read */
	const void *first; /* the first bytes, read before libarchive asks for them */
	ssize_t first_size;
	uint64_t stream_bytes;
	bool data_is_whole; /* of the file at hand: what is missing can only be padding */
	const struct layer_limits *limits;
	struct layer_info info;
	uint64_t metadata_bytes;
	struct tree tree;
	struct out out;
	struct layer_path path;     /* of the entry at hand */
	struct layer_path target;   /* of its hard link */
	char parent[TREE_PATH_MAX]; /* the last directory looked up */
	size_t parent_length;
	uint32_t parent_node; /* TREE_NONE: unknown */
	uint32_t last_xattr;
	bool has_links;
	locale_t c_locale; /* owned */
	struct err *err;
};

/* Input */

static int read_more(struct layer *l, const void **ret_data, ssize_t *ret_size)
{
	uint64_t most = l->limits->max_file_bytes + l->limits->max_metadata_bytes +
			l->limits->max_entries * ENTRY_OVERHEAD;
	ssize_t n;

	if (l->first) {
		n = l->first_size;
		*ret_data = TAKE_PTR(l->first);
	} else {
		n = l->read(l->read_ctx, ret_data);
	}
	if (n > 0) {
		l->stream_bytes += (uint64_t)n;
		if (l->stream_bytes > most)
			n = -E2BIG;
	}
	if (n < 0)
		l->read_error = (int)n;
	*ret_size = n;
	return n < 0 ? (int)n : 0;
}

static la_ssize_t archive_read_cb(struct archive *archive, void *ctx, const void **ret_data)
{
	struct layer *l = ctx;
	ssize_t size;

	if (read_more(l, ret_data, &size) < 0) {
		archive_set_error(archive, -l->read_error, "read error");
		return -1;
	}
	/* Some tools write no padding after the last file, and most that read do not miss it. */
	if (size == 0 && l->data_is_whole && l->stream_bytes % TAR_BLOCK) {
		static const char padding[TAR_BLOCK];

		size = TAR_BLOCK - (ssize_t)(l->stream_bytes % TAR_BLOCK);
		l->stream_bytes += (uint64_t)size;
		*ret_data = padding;
	}
	return size;
}

/* The error of a call of libarchive that failed. */
static int archive_failed(struct layer *l, struct archive *archive)
{
	const char *text = str_or(archive_error_string(archive), "unknown error");

	if (l->read_error) {
		if (l->err && l->err->code == l->read_error)
			return l->read_error; /* the reader has told the cause */
		return err_set(l->err, l->read_error, "cannot read the layer: %m");
	}
	if (archive_errno(archive) == ENOMEM)
		return err_set(l->err, -ENOMEM, "cannot read the layer: %m");
	return err_set(l->err, -EBADMSG, "malformed layer: %s", text);
}

/* Entries */

static int bad(struct layer *l, int code, const char *what)
{
	return err_set(l->err, code, "malformed layer: entry '/%.500s': %s", l->path.text, what);
}

/* The error of a function that returned a code alone. */
static int failed(struct layer *l, int code)
{
	switch (code) {
	case 0:
		return 0;
	case -ENOTDIR:
		return bad(l, -EBADMSG, "it lies below something that is not a directory");
	case -ELOOP:
		return bad(l, -EBADMSG, "too many symbolic links");
	case -ENAMETOOLONG:
		return bad(l, -EBADMSG, "a name is too long");
	default:
		return err_set(l->err, code, "cannot store layer entry '%s': %m", l->path.text);
	}
}

static int count_metadata(struct layer *l, uint64_t bytes)
{
	l->metadata_bytes += bytes;
	if (l->metadata_bytes > l->limits->max_metadata_bytes)
		return bad(l, -E2BIG, "the layer's names and attributes exceed the limit");
	return 0;
}

/* The directory of the entry at hand; missing ones are implied. Most entries share theirs with the
 * one before. */
static int find_parent(struct layer *l, uint32_t *ret_dir)
{
	const struct layer_path *path = &l->path;
	uint32_t nodes = l->tree.node_count;
	uint32_t dir;
	int r;

	if (l->parent_node != TREE_NONE && l->parent_length == path->parent_length &&
	    memcmp(l->parent, path->text, path->parent_length) == 0) {
		*ret_dir = l->parent_node;
		return 0;
	}
	r = tree_walk(&l->tree, TREE_ROOT, path->text, path->parent_length, true, &dir);
	if (r < 0)
		return failed(l, r);
	l->info.entries += l->tree.node_count - nodes;
	if (l->info.entries > l->limits->max_entries)
		return bad(l, -E2BIG, "the layer has too many entries");
	memcpy(l->parent, path->text, path->parent_length);
	l->parent_length = path->parent_length;
	l->parent_node = dir;
	*ret_dir = dir;
	return 0;
}

/* Puts a node at the path of the entry at hand. */
static int put(struct layer *l, uint8_t flags, uint32_t inode)
{
	const char *base = l->path.text + l->path.base;
	uint32_t parent;
	uint32_t node;
	int r = find_parent(l, &parent);

	if (r < 0)
		return r;
	node = tree_lookup(&l->tree, parent, base, l->path.base_length);
	if (node != TREE_NONE && !(flags & TREE_DIR && tree_is(&l->tree, node, TREE_DIR)))
		l->parent_node = TREE_NONE; /* what is replaced may be on the way there */
	return failed(l,
		      tree_put(&l->tree, parent, base, l->path.base_length, flags, inode, &node));
}

static int add_whiteout(struct layer *l)
{
	const char *name = l->path.text + l->path.base + LAYER_WHITEOUT_PREFIX_LENGTH;
	size_t length = l->path.base_length - LAYER_WHITEOUT_PREFIX_LENGTH;
	uint32_t parent;
	uint32_t node;
	int r = find_parent(l, &parent);

	if (r < 0)
		return r;
	if (l->path.kind == LAYER_PATH_OPAQUE) {
		l->tree.nodes[parent].flags |= TREE_OPAQUE;
		return 0;
	}
	node = tree_lookup(&l->tree, parent, name, length);
	if (node != TREE_NONE) {
		l->tree.nodes[node].flags |= TREE_WHITEOUT;
		return 0;
	}
	return failed(l, tree_add(&l->tree, parent, name, length, TREE_WHITEOUT, TREE_NONE, &node));
}

/* The node at the target of a hard link, or TREE_NONE if the layer has none. */
static int find_target(struct layer *l, const struct layer_path *target, uint32_t *ret_node)
{
	uint32_t dir;
	uint32_t node;
	int r = tree_walk(&l->tree, TREE_ROOT, target->text, target->parent_length, false, &dir);

	*ret_node = TREE_NONE;
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	node = tree_lookup(&l->tree, dir, target->text + target->base, target->base_length);
	if (node != TREE_NONE && tree_exists(&l->tree, node))
		*ret_node = node;
	return 0;
}

static int add_hard_link(struct layer *l, const char *target)
{
	const char *problem = layer_path_parse(&l->target, target);
	uint32_t node;
	uint32_t inode;
	int r;

	if (problem || l->target.kind != LAYER_PATH_PLAIN)
		return bad(l, -EBADMSG, "the hard link's target is not a valid name");
	r = count_metadata(l, strlen(target));
	if (r < 0)
		return r;
	r = failed(l, find_target(l, &l->target, &node));
	if (r < 0)
		return r;
	if (node != TREE_NONE && tree_is(&l->tree, node, TREE_DIR))
		return bad(l, -EBADMSG, "hard link to a directory");
	if (node != TREE_NONE) {
		inode = l->tree.nodes[node].inode;
		return put(l, l->tree.nodes[node].flags & TREE_LINK, inode);
	}
	l->has_links = true;
	r = failed(l, tree_pool_add(&l->tree, l->target.text, strlen(l->target.text), &inode));
	return r < 0 ? r : put(l, TREE_LINK, inode);
}

static int copy_xattrs(struct layer *l, struct archive_entry *entry, struct tree_inode *inode)
{
	struct layer_xattr xattrs[XATTR_COUNT_MAX];
	uint64_t bytes = 0;
	size_t count = 0;
	int r;

	if (archive_entry_xattr_reset(entry) == 0)
		return 0;
	for (; count < XATTR_COUNT_MAX; count++) {
		struct layer_xattr *x = &xattrs[count];

		if (archive_entry_xattr_next(entry, &x->name, &x->value, &x->size) != ARCHIVE_OK)
			break;
		bytes += strlen(x->name) + x->size;
	}
	if (count == XATTR_COUNT_MAX)
		return bad(l, -E2BIG, "it has too many attributes");
	r = count_metadata(l, bytes);
	if (r == 0)
		r = layer_xattr_pack(&l->tree, xattrs, count, l->last_xattr, &inode->xattr, l->err);
	if (r < 0) {
		err_context(l->err, "malformed layer: entry '/%.500s'", l->path.text);
		return r;
	}
	if (inode->xattr)
		l->last_xattr = inode->xattr;
	return 0;
}

static int copy_metadata(struct layer *l, struct archive_entry *entry, struct tree_inode *inode)
{
	int64_t uid = archive_entry_uid(entry);
	int64_t gid = archive_entry_gid(entry);
	long nsec = archive_entry_mtime_nsec(entry);

	/* 4294967295 is no id: the kernel takes it for "none". */
	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return bad(l, -EBADMSG, "its owner is out of range");
	if (nsec < 0 || nsec >= 1000000000)
		return bad(l, -EBADMSG, "its time is malformed");
	inode->mode = (uint16_t)(archive_entry_filetype(entry) |
				 (archive_entry_mode(entry) & (mode_t)~S_IFMT));
	inode->uid = (uint32_t)uid;
	inode->gid = (uint32_t)gid;
	inode->mtime = archive_entry_mtime(entry);
	inode->mtime_nsec = (uint32_t)nsec;
	return copy_xattrs(l, entry, inode);
}

static int copy_device(struct layer *l, struct archive_entry *entry, struct tree_inode *inode)
{
	uint64_t major = (uint64_t)archive_entry_rdevmajor(entry);
	uint64_t minor = (uint64_t)archive_entry_rdevminor(entry);

	if (major > 0xfff || minor > 0xfffff)
		return bad(l, -EBADMSG, "its device number is out of range");
	inode->data = (uint32_t)((minor & 0xff) | major << 8 | (minor & ~0xffull) << 12);
	return 0;
}

static int copy_symlink(struct layer *l, struct archive_entry *entry, struct tree_inode *inode)
{
	const char *target = str_or(archive_entry_symlink(entry), "");
	size_t length = strlen(target);
	int r;

	if (length == 0 || length >= TREE_PATH_MAX)
		return bad(l, -EBADMSG, "the symbolic link's target is empty or too long");
	r = count_metadata(l, length);
	if (r < 0)
		return r;
	inode->size = length;
	return failed(l, tree_pool_add(&l->tree, target, length, &inode->data));
}

/* Takes the data of a regular file; the first piece shows whether it begins with a hole. */
static int copy_data(struct layer *l, struct archive *archive, struct archive_entry *entry,
		     struct tree_inode *inode)
{
	int64_t size = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : 0;
	bool sparse = archive_entry_sparse_count(entry) > 0;
	struct layer_file file;
	int r;

	if (size < 0)
		return bad(l, -EBADMSG, "its size is negative");
	if ((uint64_t)size > l->limits->max_size_bytes)
		return bad(l, -E2BIG, "it is too large");
	sparse = sparse && size;
	r = sparse ? count_metadata(l, layer_file_map_size((uint64_t)size)) : 0;
	if (r < 0)
		return r;
	r = failed(l, layer_file_begin(&file, &l->out, &l->tree, (uint64_t)size, sparse));
	while (r == 0) {
		const void *data;
		size_t n;
		int64_t offset;
		int s;

		l->data_is_whole = !sparse && file.position == file.size;
		s = archive_read_data_block(archive, &data, &n, &offset);
		l->data_is_whole = false;
		if (s == ARCHIVE_EOF)
			break;
		if (s != ARCHIVE_OK)
			return archive_failed(l, archive);
		l->info.file_bytes += n;
		if (l->info.file_bytes > l->limits->max_file_bytes)
			return bad(l, -E2BIG, "the layer's files exceed the limit");
		r = layer_file_add(&file, (uint64_t)offset, data, n);
		if (r == -EBADMSG)
			return bad(l, r, "its data do not fit its size");
		r = failed(l, r);
	}
	if (r < 0)
		return r;
	r = layer_file_end(&file, inode);
	return r == -EBADMSG ? bad(l, r, "its data do not fit its size") : failed(l, r);
}

static int copy_content(struct layer *l, struct archive *archive, struct archive_entry *entry,
			struct tree_inode *inode)
{
	switch (inode->mode & S_IFMT) {
	case S_IFREG:
		return copy_data(l, archive, entry, inode);
	case S_IFLNK:
		return copy_symlink(l, entry, inode);
	case S_IFCHR:
	case S_IFBLK:
		return copy_device(l, entry, inode);
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
		return 0;
	default:
		return bad(l, -EBADMSG, "it is of no known type");
	}
}

static int add_root(struct layer *l, const struct tree_inode *inode)
{
	if (!S_ISDIR(inode->mode))
		return bad(l, -EBADMSG, "the root is not a directory");
	l->tree.inodes[l->tree.nodes[TREE_ROOT].inode] = *inode;
	l->tree.nodes[TREE_ROOT].flags &= (uint8_t)~TREE_IMPLICIT;
	return 0;
}

static int add_entry(struct layer *l, struct archive *archive, struct archive_entry *entry)
{
	const char *name = archive_entry_pathname(entry);
	const char *target = archive_entry_hardlink(entry);
	const char *problem = name ? layer_path_parse(&l->path, name) : "it has no name";
	struct tree_inode inode = { 0 };
	uint32_t number;
	int r;

	if (problem)
		return err_set(l->err, -EBADMSG, "malformed layer: entry '%.300s': %s",
			       str_or(name, ""), problem);
	if (++l->info.entries > l->limits->max_entries)
		return bad(l, -E2BIG, "the layer has too many entries");
	r = count_metadata(l, strlen(name));
	if (r < 0 || l->path.kind == LAYER_PATH_IGNORED)
		return r;
	if (l->path.kind == LAYER_PATH_WHITEOUT || l->path.kind == LAYER_PATH_OPAQUE)
		return add_whiteout(l);
	if (target)
		return l->path.kind == LAYER_PATH_ROOT ? bad(l, -EBADMSG, "the root is a hard link")
						       : add_hard_link(l, target);
	r = copy_metadata(l, entry, &inode);
	if (r == 0)
		r = copy_content(l, archive, entry, &inode);
	if (r < 0)
		return r;
	if (l->path.kind == LAYER_PATH_ROOT)
		return add_root(l, &inode);
	r = failed(l, tree_add_inode(&l->tree, &inode, &number));
	return r < 0 ? r : put(l, S_ISDIR(inode.mode) ? TREE_DIR : 0, number);
}

/*
 * Names are bytes. libarchive would have names of pax headers go from UTF-8 to the locale's
 * character set, composed differently on the way; in the C locale it finds that it cannot, keeps
 * the bytes as they are, and warns.
 */
static bool is_about_charset(struct archive *archive)
{
	return strstr(str_or(archive_error_string(archive), ""), "can't be converted");
}

static int read_entries(struct layer *l, struct archive *archive)
{
	for (;;) {
		struct archive_entry *entry;
		int s = archive_read_next_header(archive, &entry);
		int r;

		if (s == ARCHIVE_EOF)
			return 0;
		/* A warning means that something would be lost. */
		if (s != ARCHIVE_OK && !(s == ARCHIVE_WARN && is_about_charset(archive)))
			return archive_failed(l, archive);
		r = add_entry(l, archive, entry);
		if (r < 0)
			return r;
	}
}

static void archive_freep(struct archive **archive)
{
	if (*archive)
		archive_read_free(*archive);
}

static int read_archive(struct layer *l)
{
	CLEANUP(archive_freep) struct archive *archive = archive_read_new();
	ssize_t n;
	int r;

	if (!archive)
		return err_set(l->err, -ENOMEM, "cannot read the layer: %m");
	r = read_more(l, &l->first, &l->first_size);
	if (r < 0)
		return archive_failed(l, archive);
	if (l->first_size == 0)
		return 0; /* an empty stream is an empty layer */
	l->stream_bytes = 0;
	archive_read_support_format_tar(archive);
	archive_read_set_option(archive, "tar", "hdrcharset", "BINARY");
	if (archive_read_open(archive, l, NULL, archive_read_cb, NULL) != ARCHIVE_OK)
		return archive_failed(l, archive);
	r = read_entries(l, archive);
	while (r == 0) {
		const void *data;

		/* What follows the end of the archive belongs to the stream's digest. */
		if (read_more(l, &data, &n) < 0)
			return archive_failed(l, archive);
		if (n == 0)
			break;
	}
	return r;
}

/* Output */

/* Hard links may come before their targets: those that the layer has after all. */
static int resolve_links(struct layer *l)
{
	struct tree *tree = &l->tree;

	for (uint32_t n = 0; l->has_links && n < tree->node_count; n++) {
		uint32_t found;
		int r;

		if ((tree->nodes[n].flags & (TREE_LINK | TREE_DEAD)) != TREE_LINK)
			continue;
		layer_path_parse(&l->target, tree->pool + tree->nodes[n].inode);
		r = find_target(l, &l->target, &found);
		if (r < 0 || found == TREE_NONE || tree_is(tree, found, TREE_LINK))
			continue; /* the merge will find it, or say what is wrong */
		if (tree_is(tree, found, TREE_DIR))
			return err_set(l->err, -EBADMSG,
				       "malformed layer: hard link to a directory '%s'",
				       l->target.text);
		tree->nodes[n].flags &= (uint8_t)~TREE_LINK;
		tree->nodes[n].inode = tree->nodes[found].inode;
	}
	return 0;
}

/* Turns the tree into what overlayfs expects of a lower layer: its forms of whiteouts, and nothing
 * of lower layers. */
static int make_standalone(struct tree *tree)
{
	static const struct tree_inode whiteout = { .mode = S_IFCHR };
	uint32_t whiteout_inode = TREE_NONE;
	int r = 0;

	for (uint32_t n = 0; r == 0 && n < tree->node_count; n++) {
		struct tree_node *node = &tree->nodes[n];
		uint32_t xattr;

		if (node->flags & TREE_DEAD)
			continue;
		if (node->flags & TREE_LINK) {
			tree_remove(tree, n);
		} else if (node->flags & TREE_DIR && node->flags & (TREE_OPAQUE | TREE_WHITEOUT)) {
			r = layer_xattr_add_opaque(tree, tree->inodes[node->inode].xattr, &xattr);
			if (r == 0)
				tree->inodes[node->inode].xattr = xattr;
		} else if (!tree_exists(tree, n)) {
			if (whiteout_inode == TREE_NONE)
				r = tree_add_inode(tree, &whiteout, &whiteout_inode);
			node->inode = whiteout_inode;
		}
	}
	return r;
}

static int write_metadata(struct layer *l, int disk_fd, int index_fd)
{
	static const uint32_t base = 0;
	struct erofs_place place = { .fd = disk_fd, .layer_base = &base };
	struct index_header header = { 0 };
	struct erofs_plan plan = { 0 };
	uint64_t blocks;
	int r = tree_sort(&l->tree);

	if (r == 0)
		r = out_flush(&l->out);
	if (r == 0)
		r = index_write(&l->tree, index_fd, &header);
	if (r == 0)
		r = make_standalone(&l->tree);
	if (r == 0)
		r = erofs_plan(&l->tree, &plan);
	if (r < 0)
		return r;
	blocks = l->out.offset / EROFS_BLOCK_SIZE;
	place.meta_block = (uint32_t)blocks;
	blocks += (uint64_t)plan.inode_blocks + plan.dir_blocks;
	if (blocks >= EROFS_NULL_BLOCK)
		return -EFBIG;
	place.total_blocks = (uint32_t)blocks;
	r = erofs_write(&l->tree, &plan, &place);
	if (r < 0)
		return r;
	l->info.disk_bytes = blocks * EROFS_BLOCK_SIZE;
	header.data_blocks = place.meta_block;
	header.disk_blocks = place.total_blocks;
	return index_seal(&header, index_fd);
}

static void layer_release(struct layer *l)
{
	tree_release(&l->tree);
	out_release(&l->out);
	if (l->c_locale)
		freelocale(l->c_locale);
}

int layer_convert(layer_read_fn read, void *ctx, const struct layer_limits *limits, int disk_fd,
		  int index_fd, struct layer_info *ret_info, struct err *err)
{
	CLEANUP(layer_release)
	struct layer l = { .read = read,
			   .read_ctx = ctx,
			   .limits = limits,
			   .parent_node = TREE_NONE,
			   .err = err };
	locale_t old;
	int r = tree_init(&l.tree);

	l.c_locale = newlocale(LC_ALL_MASK, "C", NULL);
	if (!l.c_locale)
		r = -ENOMEM;
	if (r == 0)
		r = out_init(&l.out, disk_fd, EROFS_BLOCK_SIZE, DATA_BUFFER_SIZE);
	if (r < 0)
		return err_set(err, r, "cannot convert a layer: %m");
	old = uselocale(l.c_locale); /* before libarchive asks for the character set */
	r = read_archive(&l);
	uselocale(old);
	if (r == 0)
		r = resolve_links(&l);
	if (r < 0)
		return r;
	r = write_metadata(&l, disk_fd, index_fd);
	if (r < 0)
		return err_set(err, r, "cannot write a layer's disk: %m");
	if (ret_info)
		*ret_info = l.info;
	return 0;
}
