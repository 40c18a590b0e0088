/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of containers on the host: `system dns`. A domain is looked after by hull-dns, one process
 * for all domains of a root, on a port of 127.0.0.1, which the host's resolver is told to ask. It
 * lives while there is a domain; what it answers it reads from the store, each time.
 */
#ifndef ENGINE_HOST_NAMES_H
#define ENGINE_HOST_NAMES_H

#include <netinet/in.h>

#include "net/dns.h"
#include "store/store.h"

/* What hull-dns inherits. */
enum {
	DNS_FD_SOCKET = 3, /* UDP, bound */
	DNS_FD_CONTROL,    /* listens: whoever connects wants the domains read again */
	DNS_FD_LISTENER,   /* TCP, listens on the same port */
};

/* The domains, owned by the caller; NULL: none. */
int host_names_domains(struct store *store, char ***ret_domains, struct err *err);
/* Answers a question as the store has it now. domains: lower case. A name of none of them is
 * refused; a container's addresses are those that this host reaches, or else 127.0.0.1, where its
 * published ports are. */
void host_names_answer(struct store *store, char *const *domains, const struct dns_query *query,
		       struct dns_answer *ret_answer);

#endif
