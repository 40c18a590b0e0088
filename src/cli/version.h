/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_VERSION_H
#define CLI_VERSION_H

/* The commit this was built of, or "none". */
extern const char version_commit[];

#endif
