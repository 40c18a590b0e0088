/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's side of what a machine knows of its shares, as a file (the encoding is that of
 * proto/pack.h):
 *
 *	string		"hullshares1"
 *	u32 each	shares, user, group, task of the echoes
 *	of each share	u64 last id, u64 device of the root, u32 nodes; of each node: u64 each id,
 *			parent's id, lookups, device, inode, time of change in s, in ns, size; bool
 *			each detached, directory; string name
 *	u32		handles; of each: u32 number, u16 share, u64 node's id, u32 flags of open
 *	u32		CRC-32C of all before
 *
 * Whoever has it can name places below the roots and no others: what a node is, is looked for anew,
 * as all that a guest names.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "proto/pack.h"
#include "share/call.h"

#define MAGIC "hullshares1"
#define STATE_MAX (512u << 20)
#define DEPTH_MAX 65536

/* --- leaving it --- */

static void pack_node(struct sbuf *out, const struct node *node)
{
	pack_u64(out, node->id);
	pack_u64(out, node->parent->id);
	pack_u64(out, node->lookups);
	pack_u64(out, node->device);
	pack_u64(out, node->inode);
	pack_u64(out, (uint64_t)node->changed.tv_sec);
	pack_u64(out, (uint64_t)node->changed.tv_nsec);
	pack_u64(out, node->size);
	pack_u8(out, node->detached);
	pack_u8(out, node->is_dir);
	pack_string(out, node->name);
}

static void pack_share(struct sbuf *out, const struct share *share)
{
	const struct node_table *nodes = &share->nodes;

	pack_u64(out, nodes->last_id);
	pack_u64(out, node_find(nodes, NODE_ROOT)->device);
	pack_u32(out, (uint32_t)nodes->count - 1);
	for (size_t i = 0; i < nodes->bucket_count; i++)
		for (const struct node *node = nodes->buckets[NODE_BY_ID][i]; node;
		     node = node->next[NODE_BY_ID])
			if (node->parent)
				pack_node(out, node);
}

static void pack_handles(struct sbuf *out, const struct share_server *server)
{
	uint32_t count = 0;

	VEC_EACH (&server->handles, it)
		count += it->share && it->fd >= 0;
	pack_u32(out, count);
	for (size_t i = 0; i < server->handles.count; i++) {
		const struct handle *handle = &server->handles.items[i];

		if (!handle->share || handle->fd < 0)
			continue;
		pack_u32(out, (uint32_t)i);
		pack_u16(out, handle->share->index);
		pack_u64(out, handle->node->id);
		pack_u32(out, (uint32_t)fcntl(handle->fd, F_GETFL) & OPEN_FLAGS);
	}
}

int state_write(struct share_server *server)
{
	AUTO_SBUF struct sbuf out = { 0 };

	if (server->state_fd < 0)
		return 0;
	pack_string(&out, MAGIC);
	pack_u32(&out, (uint32_t)server->share_count);
	pack_u32(&out, server->guest_uid);
	pack_u32(&out, server->guest_gid);
	pack_u32(&out, server->echo_task);
	for (size_t i = 0; i < server->share_count; i++)
		pack_share(&out, &server->shares[i]);
	pack_handles(&out, server);
	pack_u32(&out, ~hash_crc32c(~0u, out.text, out.length));
	if (ftruncate(server->state_fd, 0) < 0)
		return -errno;
	return fd_pwrite_all(server->state_fd, out.text, out.length, 0);
}

/* --- taking it over: the file may be anything --- */

static bool is_name(const char *name)
{
	size_t length = strlen(name);

	return length && length <= NAME_LENGTH_MAX && !strchr(name, '/') && !str_eq(name, ".") &&
	       !str_eq(name, "..");
}

/* A node whose parent is not yet known. */
struct orphan {
	struct node *node;
	uint64_t parent;
};

static int take_node(struct unpack *in, struct share *share, uint64_t root_device,
		     struct orphan *ret_orphan)
{
	struct node node = { .id = unpack_u64(in), .watch = -1 };
	const struct node *root = node_find(&share->nodes, NODE_ROOT);

	ret_orphan->parent = unpack_u64(in);
	node.lookups = unpack_u64(in);
	node.device = unpack_u64(in);
	node.inode = unpack_u64(in);
	node.changed.tv_sec = (time_t)unpack_u64(in);
	node.changed.tv_nsec = (long)unpack_u64(in);
	node.size = unpack_u64(in);
	node.detached = unpack_u8(in);
	node.is_dir = unpack_u8(in);
	node.name = (char *)unpack_string(in);
	if (in->failed || !is_name(node.name) || node.id <= NODE_ROOT ||
	    node.id > share->nodes.last_id)
		return -EBADMSG;
	/* Devices have other numbers after a boot. */
	if (node.device == root_device)
		node.device = root->device;
	ret_orphan->node = node_restore(&share->nodes, &node);
	return ret_orphan->node ? 0 : -EBADMSG;
}

/* Whether it is below the root, as all are. */
static bool is_rooted(const struct node *node)
{
	unsigned depth = 0;

	while (node->parent && depth++ < DEPTH_MAX)
		node = node->parent;
	return node->id == NODE_ROOT;
}

static int place_nodes(struct share *share, const struct orphan *orphans, size_t count)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		struct node *parent = node_find(&share->nodes, orphans[i].parent);

		r = parent && parent != orphans[i].node
			    ? node_place(&share->nodes, orphans[i].node, parent)
			    : -EBADMSG;
	}
	for (size_t i = 0; r == 0 && i < count; i++)
		if (!is_rooted(orphans[i].node))
			r = -EBADMSG;
	return r;
}

static int take_share(struct unpack *in, struct share *share)
{
	uint64_t last_id = unpack_u64(in);
	uint64_t root_device = unpack_u64(in);
	uint32_t count = unpack_u32(in);
	AUTO_FREE struct orphan *orphans = NULL;
	int r = 0;

	/* None takes less than its name and its numbers. */
	if (in->failed || count >= NODE_COUNT_MAX || count > (in->size - in->offset) / 64)
		return -EBADMSG;
	share->nodes.last_id = last_id > NODE_ROOT ? last_id : NODE_ROOT;
	orphans = try_malloc((count + 1) * sizeof(*orphans));
	if (!orphans)
		return -ENOMEM;
	for (uint32_t i = 0; r == 0 && i < count; i++)
		r = take_node(in, share, root_device, &orphans[i]);
	return r < 0 ? r : place_nodes(share, orphans, count);
}

/* Opens what the guest has open again; what is not there any more is no file that can be read. */
static int take_handle(struct unpack *in, struct share_server *server)
{
	uint32_t number = unpack_u32(in);
	uint16_t index = unpack_u16(in);
	uint64_t id = unpack_u64(in);
	uint32_t flags = unpack_u32(in) & OPEN_FLAGS;
	struct share *share = index < server->share_count ? &server->shares[index] : NULL;
	struct node *node = share && !in->failed ? node_find(&share->nodes, id) : NULL;
	AUTO_CLOSE int path_fd = -1;
	int fd;

	if (!node || number >= HANDLES_MAX)
		return -EBADMSG;
	while (server->handles.count <= number)
		VEC_PUSH(&server->handles, (struct handle){ 0 });
	if (server->handles.items[number].share)
		return -EBADMSG;
	path_fd = fs_open_node(share, node, NULL);
	fd = path_fd < 0 ? -1 : file_open(path_fd, flags, share);
	fs_use(node);
	node->opens++;
	server->handles.items[number] = (struct handle){ share, node, fd < 0 ? -1 : fd };
	return 0;
}

/* The directories are watched from now on; what nobody needs goes. */
static void settle(struct share *share)
{
	struct node_table *nodes = &share->nodes;
	VEC(uint64_t) ids = { 0 };

	for (size_t i = 0; i < nodes->bucket_count; i++)
		for (struct node *node = nodes->buckets[NODE_BY_ID][i]; node;
		     node = node->next[NODE_BY_ID])
			VEC_PUSH(&ids, node->id);
	VEC_EACH (&ids, it) {
		struct node *node = node_find(nodes, *it);
		AUTO_CLOSE int fd = -1;

		if (node && node->is_dir && node->watch < 0)
			fd = fs_open_node(share, node, NULL);
		if (fd >= 0)
			watch_add(share, node, fd);
		if (node)
			node_drop(nodes, node, fs_unwatch, share);
	}
	VEC_FREE(&ids);
}

static int take_all(struct share_server *server, const uint8_t *data, size_t size)
{
	struct unpack in = { .data = data, .size = size };
	bool is_one = str_eq(unpack_string(&in), MAGIC);
	uint32_t shares = unpack_u32(&in);
	uint32_t count;
	int r = 0;

	server->guest_uid = unpack_u32(&in);
	server->guest_gid = unpack_u32(&in);
	server->echo_task = unpack_u32(&in);
	if (in.failed || !is_one || shares != server->share_count)
		return -EBADMSG;
	for (size_t i = 0; r == 0 && i < server->share_count; i++)
		r = take_share(&in, &server->shares[i]);
	count = unpack_u32(&in);
	for (uint32_t i = 0; r == 0 && !in.failed && i < count; i++)
		r = take_handle(&in, server);
	if (r < 0)
		return r;
	if (unpack_done(&in) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < server->share_count; i++)
		settle(&server->shares[i]);
	return 0;
}

int state_read(struct share_server *server)
{
	AUTO_FREE uint8_t *data = NULL;
	struct stat st;
	size_t size;

	if (fstat(server->state_fd, &st) < 0)
		return -errno;
	if (st.st_size < 4 || (uint64_t)st.st_size > STATE_MAX)
		return -EBADMSG;
	size = (size_t)st.st_size - 4;
	data = try_malloc(size + 4);
	if (!data)
		return -ENOMEM;
	if (fd_pread_exact(server->state_fd, data, size + 4, 0) < 0 ||
	    ~hash_crc32c(~0u, data, size) != le_get32(data + size))
		return -EBADMSG;
	return take_all(server, data, size);
}
