/* SPDX-License-Identifier: Apache-2.0 */
/* Small kernels as files, well-formed; tests spoil them. */
#ifndef TESTS_KERNELS_H
#define TESTS_KERNELS_H

#include <asm/bootparam.h>
#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL_ROOM 0x4000u
#define KERNEL_GPA 0x100000u
#define KERNEL_SETUP 0x1f1u /* offset of the setup header */
#define KERNEL_SKIP 0x400u  /* the bzImage's real-mode part: setup_sects is 1 */

struct kernel {
	unsigned char bytes[KERNEL_ROOM];
	size_t len;
	struct setup_header *setup; /* in bytes, of a bzImage */
	Elf64_Ehdr *elf;            /* of an ELF file */
	Elf64_Phdr *load, *notes;
	unsigned char *note; /* the PVH note: Elf64_Nhdr, name, entry */
};

/* Protocol 2.15, relocatable, wants KERNEL_GPA and 64 KiB; `code` is its 64-bit entry. */
void kernel_bzimage(struct kernel *k, const void *code, size_t len);

/* ELF64, one segment at KERNEL_GPA with a page of bss behind it, PVH note of 4 bytes. */
void kernel_elf(struct kernel *k, const void *code, size_t len);

/* The same as ELF32; without pointers into it. */
void kernel_elf32(struct kernel *k, const void *code, size_t len);

/* A file of its own, whose name is written to `path` (at least 64 bytes); kernel_remove() it. */
void kernel_write(const struct kernel *k, char *path);
void kernel_remove(const char *path);

#endif
