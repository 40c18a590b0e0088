/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's resolv.conf for a process that is confined. Landlock lets it read the file that was
 * there when it began, or a directory of its own that it lies in. A file of /etc that others
 * replace (rename) would be out of reach for root, who is not to read all of /etc: then a helper,
 * which does nothing else and sees no frame, opens it.
 */
#ifndef NET_RESOLV_CONF_H
#define NET_RESOLV_CONF_H

#define RESOLV_CONF "/etc/resolv.conf"

/* Starts the helper, if root is to need one; it ends with this process. The result is the
 * connection to it (the caller's), or -1. All other descriptors from 3 on are closed in it. */
int resolv_conf_start_helper(void);
/* The file as it is now, to be read; the caller's. Waits for the helper (-1: there is none) if it
 * is needed. */
int resolv_conf_open(int helper);

#endif
