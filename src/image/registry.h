/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A repository in a registry, as the OCI distribution specification has it. Used by several threads
 * at once. What it answers is untrusted: documents are bounded here, and content is verified by the
 * caller.
 */
#ifndef IMAGE_REGISTRY_H
#define IMAGE_REGISTRY_H

#include <stdatomic.h>

#include "base/err.h"
#include "image/auth.h"
#include "image/ref.h"
#include "image/stream.h"

enum registry_purpose {
	REGISTRY_PULL,
	REGISTRY_PUSH,
	REGISTRY_LOGIN, /* of no repository */
};

struct registry_options {
	enum registry_purpose purpose;
	const char *scheme;     /* "http", "https", "auto" */
	const char *dns_domain; /* hosts under it are local; NULL none */
	char **insecure;        /* hosts whose certificates are not checked; may be NULL */
	const char *mirror; /* [scheme://]host to ask instead of the reference's registry; NULL */
	const char *certs_dir; /* the user's certificates per host, <dir>/<host>/; NULL none */
	struct credentials credentials; /* borrowed */
	unsigned stall_ms;
	unsigned attempts; /* per request, at least 1 */
	const atomic_bool *cancelled;
};

struct registry;

/* options and ref are borrowed for the registry's life. */
int registry_open(const struct image_ref *ref, const struct registry_options *options,
		  struct registry **ret_registry, struct err *err);
void registry_close(struct registry *registry);
DEFINE_CLEANUP(struct registry *, registry_close)

struct registry_document {
	char *text; /* owned */
	size_t size;
	char media_type[256];
	char digest[128]; /* what the registry says it is; "" if it does not */
};

/* A manifest or index by tag or digest. -ENOENT "image not found: X", -EACCES, -E2BIG … */
int registry_get_manifest(struct registry *registry, const char *reference,
			  struct registry_document *ret_document, struct err *err);
/* A blob from the offset on: a stream that reconnects and continues where it broke. Reading beyond
 * size is left to the caller to notice. */
int registry_open_blob(struct registry *registry, const char *digest, uint64_t size,
		       uint64_t offset, struct stream **ret_stream, struct err *err);

/* Writing (registry_push.c). Each may be asked for what is there already. */

/* Sends a blob from fd (borrowed), unless it is there; from: another repository of the registry
 * that may have it, or NULL. sent tells how far it is; *ret_was_there. */
int registry_put_blob(struct registry *registry, const char *digest, int fd, uint64_t size,
		      const char *from, void (*sent)(void *ctx, uint64_t bytes), void *ctx,
		      bool *ret_was_there, struct err *err);
/* Sends a manifest or index from fd (borrowed), named by tag or digest. */
int registry_put_manifest(struct registry *registry, const char *reference, const char *media_type,
			  int fd, uint64_t size, struct err *err);
/* Asks the registry whether it lets us in. -EACCES when it does not. */
int registry_check_login(struct registry *registry, struct err *err);

#endif
