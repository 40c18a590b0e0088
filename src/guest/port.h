/* SPDX-License-Identifier: Apache-2.0 */
/* The ports of the virtio console by the names that the host gives them. */
#ifndef GUEST_PORT_H
#define GUEST_PORT_H

/* Opens it, non-blocking. -ENOENT while it is not there. */
int port_open(const char *name);

#endif
