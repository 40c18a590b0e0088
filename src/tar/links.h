/* SPDX-License-Identifier: Apache-2.0 */
/* Which files with several names were seen, and under which first. Memory is bounded: beyond that,
 * further ones are forgotten, and their names become files of their own. */
#ifndef TAR_LINKS_H
#define TAR_LINKS_H

#include <sys/types.h>

struct links;

struct links *links_new(void);
struct links *links_free(struct links *links);
/* The name it was first noted with (valid until links_free), or NULL: this is the first. */
const char *links_note(struct links *links, dev_t device, ino_t inode, const char *name);

#endif
