/* SPDX-License-Identifier: Apache-2.0 */
/* Registries: what is sent to them, and who we are to them. */
#ifndef ENGINE_REGISTRY_H
#define ENGINE_REGISTRY_H

#include "engine/engine.h"

struct push_options {
	const char *platform; /* NULL: all that is here */
	const char *scheme;   /* "auto" if NULL */
};

/* ret_reference: the normalised one; owned by the caller. */
int engine_image_push(struct engine *engine, const char *reference,
		      const struct push_options *options, char **ret_reference, struct err *err);

struct login {
	char *host;          /* owned */
	char *username;      /* owned; NULL: not known */
	int64_t created_at;  /* Unix seconds; 0: not known */
	int64_t modified_at; /* the same */
};

struct login_list {
	struct login *items; /* owned */
	size_t count, capacity;
};
void login_list_release(struct login_list *list);

/* Asks the registry first; -EACCES when it does not accept them. */
int engine_registry_login(struct engine *engine, const char *host, const char *scheme,
			  const char *username, const char *password, struct err *err);
/* -ENOENT "not logged in to X". */
int engine_registry_logout(struct engine *engine, const char *host, struct err *err);
int engine_registry_list(struct engine *engine, struct login_list *ret_list, struct err *err);

#endif
