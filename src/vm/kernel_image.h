/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel images in memory, as they come: untrusted. */
#ifndef VM_KERNEL_IMAGE_H
#define VM_KERNEL_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define KERNEL_IMAGE_MAX (512ull << 20)
#define KERNEL_ELF_MAX (1ull << 30)
#define KERNEL_RELEASE_MAX 65 /* as in struct utsname */

/* Where the compressed ELF of a bzImage lies (Linux: Documentation/arch/x86/boot.rst): borrowed
 * from image. -EINVAL when it is no bzImage, or an old or truncated one. */
int kernel_image_payload(const uint8_t *image, size_t size, const uint8_t **ret_payload,
			 size_t *ret_size, struct err *err);
/* Whether an ELF image can be booted here: 64-bit x86 with a PVH entry. */
int kernel_image_check_elf(const uint8_t *elf, size_t size, struct err *err);
/* The kernel's release ("6.1.0-18-amd64"), looked up in its ELF. */
int kernel_image_release(const uint8_t *elf, size_t size, char ret_release[KERNEL_RELEASE_MAX],
			 struct err *err);

#endif
