/* SPDX-License-Identifier: Apache-2.0 */
#include "tar/links.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"

#define BUCKETS 4096
#define LINKS_MAX 500000

struct link {
	struct link *next;
	dev_t device;
	ino_t inode;
	char *name; /* owned */
};

struct links {
	struct link *buckets[BUCKETS]; /* owned */
	size_t count;
};

struct links *links_new(void)
{
	return xcalloc(1, sizeof(struct links));
}

struct links *links_free(struct links *links)
{
	for (size_t i = 0; i < BUCKETS; i++)
		while (links->buckets[i]) {
			struct link *link = links->buckets[i];

			links->buckets[i] = link->next;
			free(link->name);
			free(link);
		}
	free(links);
	return NULL;
}

const char *links_note(struct links *links, dev_t device, ino_t inode, const char *name)
{
	uint64_t hash = ((uint64_t)inode ^ (uint64_t)device << 32) * 0x9e3779b97f4a7c15u;
	struct link **bucket = &links->buckets[hash >> 52];
	struct link *link = *bucket;

	while (link && (link->inode != inode || link->device != device))
		link = link->next;
	if (link)
		return link->name;
	if (links->count == LINKS_MAX)
		return NULL;
	link = xmalloc(sizeof(*link));
	*link = (struct link){
		.next = *bucket, .device = device, .inode = inode, .name = xstrdup(name)
	};
	*bucket = link;
	links->count++;
	return NULL;
}
