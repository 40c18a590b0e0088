/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are to a registry: credentials from the request or Docker's config.json and credential
 * helpers, and what a challenge makes of them (RFC 7617 Basic, the distribution project's Bearer
 * tokens).
 */
#ifndef IMAGE_AUTH_H
#define IMAGE_AUTH_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "image/http.h"

struct credentials {
	char *username, *password; /* owned; NULL: none */
	char *identity_token;      /* owned; an OAuth2 refresh token instead */
};

void credentials_release(struct credentials *credentials);
/* Looks in config_dir/config.json (auths, credHelpers, credsStore) for the registry host. None is
 * no error. Helpers run here. */
int credentials_find(const char *config_dir, const char *registry,
		     struct credentials *ret_credentials, struct err *err);

/* "user:password" as a config.json has it, and back (-EBADMSG); owned by the caller. */
char *credentials_encode(const char *text);
int credentials_decode(const char *text, struct credentials *ret_credentials);
/* The key of an object in which people and tools have written the host; owned, NULL: none. */
char *credentials_find_key(const json_t *object, const char *host);
/* Runs docker-credential-<name> <verb> with the input. -ENOENT: there is none; -EIO: it failed. */
int credential_helper_run(const char *name, const char *verb, const char *input, char **ret_output,
			  struct err *err);

struct challenge {
	bool bearer;
	char *realm, *service, *scope; /* owned; NULL where absent */
};

/* Parses a WWW-Authenticate value. -ENOTSUP for other schemes, -EBADMSG. */
int challenge_parse(const char *header, struct challenge *ret_challenge, struct err *err);
void challenge_release(struct challenge *challenge);
/* The value of the Authorization header that answers the challenge (a token is fetched over http),
 * or -EACCES. scope: what to ask for if the challenge does not say. secure: the registry speaks
 * TLS, so the token service must. Owned by the caller. */
int challenge_answer(const struct challenge *challenge, const struct credentials *credentials,
		     const char *scope, bool secure, struct http *http, char **ret_authorization,
		     struct err *err);

#endif
