/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/kernel_image.h"

#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Offsets of the setup header. */
#define SETUP_SECTORS 0x1f1
#define SETUP_MAGIC 0x202 /* "HdrS" */
#define SETUP_VERSION 0x206
#define SETUP_PAYLOAD_OFFSET 0x248
#define SETUP_PAYLOAD_LENGTH 0x24c
#define SETUP_END 0x250
#define SETUP_VERSION_PAYLOAD 0x208 /* the first with a payload's offset */
#define SECTOR 512u

#define PVH_NOTE_NAME "Xen"
#define PVH_NOTE_TYPE 18 /* XEN_ELFNOTE_PHYS32_ENTRY */

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int kernel_image_payload(const uint8_t *image, size_t size, const uint8_t **ret_payload,
			 size_t *ret_size, struct err *err)
{
	uint32_t sectors;
	uint64_t start;
	uint64_t length;

	if (size < SETUP_END || memcmp(image + SETUP_MAGIC, "HdrS", 4) != 0)
		return err_set(err, -EINVAL, "it is neither an ELF vmlinux nor a bzImage");
	if ((le32(image + SETUP_VERSION) & 0xffff) < SETUP_VERSION_PAYLOAD)
		return err_set(err, -EINVAL, "its boot protocol is older than 2.08");
	sectors = image[SETUP_SECTORS] ? image[SETUP_SECTORS] : 4;
	start = (uint64_t)(sectors + 1) * SECTOR + le32(image + SETUP_PAYLOAD_OFFSET);
	length = le32(image + SETUP_PAYLOAD_LENGTH);
	if (length <= 4 || start + length > size)
		return err_set(err, -EINVAL, "its compressed kernel is truncated");
	*ret_payload = image + start;
	*ret_size = (size_t)length;
	return 0;
}

static bool in_bounds(uint64_t offset, uint64_t length, size_t size)
{
	uint64_t end;

	return !__builtin_add_overflow(offset, length, &end) && end <= size;
}

/* Whether a note segment holds the PVH entry. */
static bool has_pvh_note(const uint8_t *notes, size_t size)
{
	while (size >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		uint64_t name_size;
		uint64_t total;

		memcpy(&note, notes, sizeof(note));
		name_size = ((uint64_t)note.n_namesz + 3) & ~3ull;
		total = sizeof(note) + name_size + (((uint64_t)note.n_descsz + 3) & ~3ull);
		if (total > size)
			return false;
		if (note.n_type == PVH_NOTE_TYPE && note.n_namesz == sizeof(PVH_NOTE_NAME) &&
		    memcmp(notes + sizeof(note), PVH_NOTE_NAME, sizeof(PVH_NOTE_NAME)) == 0)
			return true;
		notes += total;
		size -= (size_t)total;
	}
	return false;
}

int kernel_image_check_elf(const uint8_t *elf, size_t size, struct err *err)
{
	static const uint8_t ident[] = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB };
	Elf64_Ehdr header;
	bool pvh = false;

	if (size < sizeof(header) || memcmp(elf, ident, sizeof(ident)) != 0)
		return err_set(err, -EINVAL, "it is no 64-bit ELF image");
	memcpy(&header, elf, sizeof(header));
	if (header.e_machine != EM_X86_64)
		return err_set(err, -EINVAL, "it is for another architecture (ELF machine %u)",
			       header.e_machine);
	if (header.e_phentsize != sizeof(Elf64_Phdr) ||
	    !in_bounds(header.e_phoff, (uint64_t)header.e_phnum * sizeof(Elf64_Phdr), size))
		return err_set(err, -EINVAL, "its program headers are damaged");
	for (unsigned int i = 0; i < header.e_phnum; i++) {
		Elf64_Phdr segment;

		memcpy(&segment, elf + header.e_phoff + i * sizeof(segment), sizeof(segment));
		if ((segment.p_type == PT_LOAD || segment.p_type == PT_NOTE) &&
		    !in_bounds(segment.p_offset, segment.p_filesz, size))
			return err_set(err, -EINVAL, "it is truncated");
		if (segment.p_type == PT_NOTE)
			pvh = pvh || has_pvh_note(elf + segment.p_offset, segment.p_filesz);
	}
	if (!pvh)
		return err_set(err, -EINVAL, "it has no PVH entry (CONFIG_PVH)");
	return 0;
}

int kernel_image_release(const uint8_t *elf, size_t size, char ret_release[KERNEL_RELEASE_MAX],
			 struct err *err)
{
	static const char banner[] = "Linux version ";
	const size_t banner_length = sizeof(banner) - 1;
	const uint8_t *end = elf + size;
	const uint8_t *at = elf;

	while ((at = memmem(at, (size_t)(end - at), banner, banner_length))) {
		size_t n = 0;

		at += banner_length;
		while (n < KERNEL_RELEASE_MAX && at + n < end &&
		       (isalnum(at[n]) || strchr("-+._~", at[n])) && at[n])
			n++;
		if (n > 0 && n < KERNEL_RELEASE_MAX && isdigit(at[0])) {
			memcpy(ret_release, at, n);
			ret_release[n] = '\0';
			return 0;
		}
	}
	return err_set(err, -EINVAL, "it does not tell its version");
}
