/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations of FUSE (linux/fuse.h, protocol 7.31 and later) on a share. A request has come
 * from a hostile kernel: its fixed part is copied before it is used, its names are checked here,
 * once, and its handles and nodes are looked up in this server's own tables.
 */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "share/call.h"

#define MINOR_MIN 31
#define MINOR 36
#define FIXED_MAX 128

static int op_init(struct call *call)
{
	const struct fuse_init_in *arg = call->fixed;
	struct fuse_init_out *out = (void *)call->out;

	if (arg->major != FUSE_KERNEL_VERSION || arg->minor < MINOR_MIN)
		return -EPROTO;
	*out = (struct fuse_init_out){
		.major = FUSE_KERNEL_VERSION,
		.minor = arg->minor < MINOR ? arg->minor : MINOR,
		.max_readahead =
			arg->max_readahead < SHARE_WRITE_MAX ? arg->max_readahead : SHARE_WRITE_MAX,
		.flags =
			arg->flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ATOMIC_O_TRUNC |
				      FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
				      FUSE_PARALLEL_DIROPS | FUSE_AUTO_INVAL_DATA | FUSE_MAX_PAGES |
				      FUSE_CACHE_SYMLINKS | FUSE_NO_OPENDIR_SUPPORT),
		.max_background = 16,
		.congestion_threshold = 12,
		.max_write = SHARE_WRITE_MAX,
		.time_gran = 1,
		.max_pages = SHARE_WRITE_MAX / 4096,
	};
	call->out_size = sizeof(*out);
	return 0;
}

static int op_forget(struct call *call)
{
	const struct fuse_forget_in *arg = call->fixed;

	fs_forget(call->share, call->in->nodeid, arg->nlookup);
	return CALL_NO_REPLY;
}

static int op_batch_forget(struct call *call)
{
	const struct fuse_batch_forget_in *arg = call->fixed;
	size_t count = call->data_size / sizeof(struct fuse_forget_one);

	for (size_t i = 0; i < count && i < arg->count; i++) {
		struct fuse_forget_one one;

		memcpy(&one, call->data + i * sizeof(one), sizeof(one));
		fs_forget(call->share, one.nodeid, one.nlookup);
	}
	return CALL_NO_REPLY;
}

static int op_ignore(struct call *call)
{
	return CALL_NO_REPLY;
}

static int op_destroy(struct call *call)
{
	return 0;
}

enum op_flags {
	OP_NODE = 1 << 0,   /* works on a node */
	OP_DIR = 1 << 1,    /* which is a directory */
	OP_WRITES = 1 << 2, /* refused on a read-only share */
	OP_DATA = 1 << 3,   /* has data behind the fixed part */
	OP_TARGET = 1 << 4, /* the second name is the target of a link */
	OP_ECHO = 1 << 5,   /* does nothing for the echoing task, also where all is read-only */
};

static const struct {
	int (*run)(struct call *call);
	size_t fixed;
	unsigned names;
	unsigned flags;
} operations[] = {
	[FUSE_INIT] = { op_init, offsetof(struct fuse_init_in, flags2), 0, OP_DATA },
	[FUSE_LOOKUP] = { op_lookup, 0, 1, OP_DIR },
	[FUSE_FORGET] = { op_forget, sizeof(struct fuse_forget_in), 0, 0 },
	[FUSE_BATCH_FORGET] = { op_batch_forget, sizeof(struct fuse_batch_forget_in), 0, OP_DATA },
	[FUSE_GETATTR] = { op_getattr, sizeof(struct fuse_getattr_in), 0, OP_NODE },
	[FUSE_SETATTR] = { op_setattr, sizeof(struct fuse_setattr_in), 0,
			   OP_NODE | OP_WRITES | OP_ECHO },
	[FUSE_READLINK] = { op_readlink, 0, 0, OP_NODE },
	[FUSE_SYMLINK] = { op_symlink, 0, 2, OP_DIR | OP_WRITES | OP_TARGET | OP_ECHO },
	[FUSE_MKNOD] = { op_mknod, sizeof(struct fuse_mknod_in), 1, OP_DIR | OP_WRITES | OP_ECHO },
	[FUSE_MKDIR] = { op_mkdir, sizeof(struct fuse_mkdir_in), 1, OP_DIR | OP_WRITES | OP_ECHO },
	[FUSE_UNLINK] = { op_unlink, 0, 1, OP_DIR | OP_WRITES | OP_ECHO },
	[FUSE_RMDIR] = { op_rmdir, 0, 1, OP_DIR | OP_WRITES | OP_ECHO },
	[FUSE_RENAME] = { op_rename, sizeof(struct fuse_rename_in), 2, OP_DIR | OP_WRITES },
	[FUSE_RENAME2] = { op_rename2, sizeof(struct fuse_rename2_in), 2, OP_DIR | OP_WRITES },
	[FUSE_LINK] = { op_link, sizeof(struct fuse_link_in), 1, OP_DIR | OP_WRITES },
	[FUSE_OPEN] = { op_open, sizeof(struct fuse_open_in), 0, OP_NODE },
	[FUSE_READ] = { op_read, sizeof(struct fuse_read_in), 0, OP_NODE },
	[FUSE_WRITE] = { op_write, sizeof(struct fuse_write_in), 0, OP_NODE | OP_WRITES | OP_DATA },
	[FUSE_STATFS] = { op_statfs, 0, 0, OP_NODE },
	[FUSE_RELEASE] = { op_release, sizeof(struct fuse_release_in), 0, OP_NODE },
	[FUSE_FSYNC] = { op_fsync, sizeof(struct fuse_fsync_in), 0, OP_NODE },
	[FUSE_READDIR] = { op_readdir, sizeof(struct fuse_read_in), 0, OP_DIR },
	[FUSE_READDIRPLUS] = { op_readdirplus, sizeof(struct fuse_read_in), 0, OP_DIR },
	[FUSE_FSYNCDIR] = { op_fsyncdir, sizeof(struct fuse_fsync_in), 0, OP_DIR },
	[FUSE_CREATE] = { op_create, sizeof(struct fuse_create_in), 1, OP_DIR | OP_WRITES },
	[FUSE_FALLOCATE] = { op_fallocate, sizeof(struct fuse_fallocate_in), 0,
			     OP_NODE | OP_WRITES },
	[FUSE_LSEEK] = { op_lseek, sizeof(struct fuse_lseek_in), 0, OP_NODE },
	[FUSE_COPY_FILE_RANGE] = { op_copy_file_range, sizeof(struct fuse_copy_file_range_in), 0,
				   OP_NODE | OP_WRITES },
	[FUSE_INTERRUPT] = { op_ignore, sizeof(struct fuse_interrupt_in), 0, 0 },
	[FUSE_DESTROY] = { op_destroy, 0, 0, 0 },
};

/* A name of one component, as the kernel makes them; *at moves behind it. NULL if it is none. */
static const char *take_name(const uint8_t **at, const uint8_t *end, size_t max, bool is_target)
{
	const uint8_t *nul = memchr(*at, '\0', (size_t)(end - *at));
	const char *name = (const char *)*at;

	if (!nul || nul == *at || (size_t)(nul - *at) > max)
		return NULL;
	*at = nul + 1;
	if (!is_target && (strchr(name, '/') || str_eq(name, ".") || str_eq(name, "..")))
		return NULL;
	return name;
}

/* Checks the request against its operation's line in the table. */
static int prepare(struct call *call, uint32_t opcode, const uint8_t *arg, size_t size,
		   uint64_t fixed[FIXED_MAX / 8])
{
	const __typeof__(operations[0]) *op = &operations[opcode];
	const uint8_t *end = arg + size;

	if (size < op->fixed)
		return -EINVAL;
	memcpy(fixed, arg, op->fixed);
	call->fixed = fixed;
	arg += op->fixed;
	if (op->names > 0 && !(call->name = take_name(&arg, end, NAME_LENGTH_MAX, false)))
		return -EINVAL;
	if (op->names > 1 &&
	    !(call->name2 =
		      take_name(&arg, end, op->flags & OP_TARGET ? TARGET_MAX : NAME_LENGTH_MAX,
				op->flags & OP_TARGET)))
		return -EINVAL;
	call->data = arg;
	call->data_size = (size_t)(end - arg);
	/* Which task echoes is what the guest says. */
	if (op->flags & OP_WRITES && call->share->read_only && !(op->flags & OP_ECHO && call->echo))
		return -EROFS;
	if (op->flags & (OP_NODE | OP_DIR)) {
		call->node = node_find(&call->share->nodes, call->in->nodeid);
		if (!call->node)
			return -ESTALE;
		if (op->flags & OP_DIR && !call->node->is_dir)
			return -ENOTDIR;
	}
	return 0;
}

/* With the block that was lent: what is sent beside it is small. */
static int reply_block(const struct call *call, const struct fuse_out_header *header,
		       const struct share_block *lent)
{
	uint8_t *at = call->server->out + SHARE_HEADER_SIZE;
	size_t size = header->len - call->block_size;

	memmove(at + SHARE_BLOCK_FIXED + sizeof(*header), call->out, size - sizeof(*header));
	memcpy(at + SHARE_BLOCK_FIXED, header, sizeof(*header));
	share_block_encode((struct share_block){ lent->number, (uint32_t)call->block_size }, at);
	return server_send(call->server, call->share->index, SHARE_BLOCK, SHARE_BLOCK_FIXED + size);
}

static int reply(struct call *call, int result, const struct share_block *lent)
{
	struct fuse_out_header header = {
		.len = (uint32_t)(sizeof(header) + (result < 0 ? 0 : call->out_size)),
		.error = result < 0 ? result : 0,
		.unique = call->in->unique,
	};

	if (result < 0)
		call->block_size = 0;
	header.len += (uint32_t)call->block_size;
	if (lent)
		return reply_block(call, &header, lent);
	memcpy(call->server->out + SHARE_HEADER_SIZE, &header, sizeof(header));
	return server_send(call->server, call->share->index, SHARE_FUSE, header.len);
}

/* The data of a WRITE, where the guest may still write: it is passed on and not looked at. */
static int take_block(struct call *call, const struct share_block *lent)
{
	if (!lent)
		return 0;
	call->block = call->server->blocks + (size_t)lent->number * SHARE_BLOCK_SIZE;
	if (!lent->size)
		return 0;
	if (call->in->opcode != FUSE_WRITE || call->data_size)
		return -EINVAL;
	call->data = call->block;
	call->data_size = lent->size;
	return 0;
}

int fs_request(struct share *share, const uint8_t *data, size_t size,
	       const struct share_block *block)
{
	uint64_t fixed[FIXED_MAX / 8];
	struct fuse_in_header in;
	struct node *node;
	struct call call = { .share = share, .server = share->server, .in = &in };
	int r;

	if (size < sizeof(in))
		return -EPROTO;
	memcpy(&in, data, sizeof(in));
	if (in.len != size + (block ? block->size : 0))
		return -EPROTO;
	call.out = share->server->out + SHARE_HEADER_SIZE + sizeof(struct fuse_out_header);
	call.echo = in.pid == share->server->echo_task;
	if (in.opcode >= ARRAY_SIZE(operations) || !operations[in.opcode].run) {
		r = -ENOSYS; /* the kernel does without, and does not ask again */
	} else {
		r = prepare(&call, in.opcode, data + sizeof(in), size - sizeof(in), fixed);
		node = call.node;
		if (node)
			fs_use(node);
		if (r == 0)
			r = take_block(&call, block);
		if (r == 0)
			r = operations[in.opcode].run(&call);
		if (node)
			fs_unuse(share, node);
	}
	return r == CALL_NO_REPLY || in.opcode == FUSE_RELEASE ? 0 : reply(&call, r, block);
}
