/* SPDX-License-Identifier: Apache-2.0 */
/* What a template is made of, as text: equal text means that the template can be used. */
#ifndef VM_TEMPLATE_KEY_H
#define VM_TEMPLATE_KEY_H

#include "base/err.h"
#include "vm/machine.h"

#define TEMPLATE_NAME_LENGTH 16
/* Where an image's purpose goes on after that of the shape without it. */
#define TEMPLATE_PURPOSE_IMAGE " image "

struct template_key {
	char name[TEMPLATE_NAME_LENGTH + 1]; /* of its directory: a hash of the text */
	char *text;    /* owned; arguments of the machine, host CPU, every input file's identity */
	char *purpose; /* owned; what it is for: a newer template of one purpose replaces an older
			  one */
};

/* -ENOENT and the like when an input is missing. */
int template_key_make(const struct machine_shape *shape, struct template_key *ret_key,
		      struct err *err);
/* The host's processor by name; owned by the caller. */
char *template_key_cpu(void);
void template_key_release(struct template_key *key);

#endif
