/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that musl does not wrap, and one-line files of the kernel. 0 or negative errno. */
#ifndef GUEST_SYS_H
#define GUEST_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Resolves path inside root_fd as if that were "/": no link leads out of it. Returns a descriptor.
 */
int sys_open_in_root(int root_fd, const char *path, int flags, mode_t mode);
/* As above, and no component may be a symbolic link. */
int sys_open_no_links(int root_fd, const char *path, int flags);
/* A detached copy of the mounted tree at fd; recursive takes the mounts below it along. */
int sys_clone_tree(int fd, int recursive);
/* Attaches a detached tree, or moves the mount whose root fd is, to the place target_fd. */
int sys_move_mount(int fd, int target_fd);
int sys_set_read_only(int mount_fd, int recursive);
int sys_pivot_root(const char *new_root, const char *put_old);
int sys_finit_module(int fd);
/* This process and its children on that CPU alone, or (-1) on all that its cgroup allows. */
void sys_use_cpu(int cpu);
/* How many CPUs there are, whatever this process may use. */
unsigned sys_cpu_count(void);
/* fork() into other namespaces and a cgroup (-1: this one). Returns as fork does. */
pid_t sys_clone(uint64_t flags, int cgroup_fd, int *ret_pidfd);

int sys_write_file(const char *path, const char *text);
int sys_write_file_at(int dir_fd, const char *name, const char *text);
/* At most size-1 bytes of a small file as text; returns how many. */
ssize_t sys_read_file(const char *path, char *text, size_t size);
/* read() of text that ends at the buffer or the file's end. */
ssize_t sys_read_file_at(int dir_fd, const char *name, char *text, size_t size);

#endif
