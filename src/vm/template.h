/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates: a machine booted once to the point where its agent is ready, kept as a RAM file and
 * device state, and mapped copy-on-write by every container of that shape. templates/<key>/ holds
 * ram, state and manifest.json, which is written last and says of what (the full key text: every
 * input with size, mtime and inode) and with which sizes and checksums. A template that does not
 * match in all of it is never used: it is removed and made again.
 */
#ifndef VM_TEMPLATE_H
#define VM_TEMPLATE_H

#include "vm/machine.h"

struct template
{
	char *directory;    /* owned */
	char *ram_path;     /* owned */
	char *state_path;   /* owned */
	char *scratch_path; /* owned; what slot 1 must hold a copy of, if it is not empty; or NULL
			     */
	uint64_t ram_bytes;
	uint64_t ram_inode; /* so that only what was tried is discarded */
};

struct template_progress {
	/* A step of making one has begun ("booting the template machine"); may take seconds. */
	void (*step)(void *ctx, const char *text);
	void *ctx;
};

/* The template of the shape, if a good one is there: a few stats and the check of the state file
 * (and, once per boot of the host, of the whole RAM file). -ENOENT when there is none. */
int template_find(const char *templates_dir, const char *run_dir, const struct machine_shape *shape,
		  struct template *ret_template, struct err *err);
/* As template_find, but makes it if there is none. One maker per shape (a lock beside it; others
 * wait). */
int template_ensure(const char *templates_dir, const char *run_dir,
		    const struct machine_shape *shape, const struct template_progress *progress,
		    struct template *ret_template, struct err *err);
/* Makes the template of a shape with an image out of base, the one of that shape without it; what
 * has not been used for longest goes if there are many of that kind. Takes some tenths of a second.
 * -ENOSPC unless half a GiB of the disk stays free, -EEXIST if there is one, -EWOULDBLOCK if
 * somebody else makes it. */
int template_derive(const char *templates_dir, const char *run_dir,
		    const struct machine_shape *shape, const struct template *base,
		    struct err *err);
/* Removes the templates of images whose disk is gone. Returns the bytes that the host got back. */
uint64_t template_prune(const char *templates_dir, const char *run_dir);
/* The template in a directory that template_ensure has returned (to another process): not checked
 * again. */
void template_open(const char *directory, uint64_t ram_bytes, struct template *ret_template);
/* Removes a template that failed to restore, so that the next start makes it again. Running VMs
 * keep their mapping. */
void template_discard(struct template *template);
void template_release(struct template *template);

#endif
