/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image.h"

#define CODE 0x400u /* offset of an ELF file's code */
#define NOTE 0x200u
#define BSS 0x1000u

static void put_code(struct kernel *k, size_t at, const void *code, size_t len)
{
	ck_assert_uint_le(at + len + 16, sizeof(k->bytes));
	memcpy(k->bytes + at, code, len);
	k->len = (at + len + 15) & ~(size_t)15;
}

void kernel_bzimage(struct kernel *k, const void *code, size_t len)
{
	memset(k, 0, sizeof(*k));
	put_code(k, KERNEL_SKIP + 0x200u, code, len);
	k->setup = (struct setup_header *)(void *)(k->bytes + KERNEL_SETUP);
	*k->setup = (struct setup_header){
	        .setup_sects = KERNEL_SKIP / 512 - 1,
	        .syssize = (uint32_t)((k->len - KERNEL_SKIP) / 16),
	        .boot_flag = 0xaa55,
	        .jump = 0x6aeb, /* to 0x26c, behind the header */
	        .header = 0x53726448,
	        .version = 0x020f,
	        .loadflags = LOADED_HIGH,
	        .initrd_addr_max = 0x7fffffff,
	        .kernel_alignment = 0x1000,
	        .relocatable_kernel = 1,
	        .xloadflags = XLF_KERNEL_64,
	        .cmdline_size = 255,
	        .pref_address = KERNEL_GPA,
	        .init_size = 0x10000,
	};
}

static void put_note(struct kernel *k, uint32_t entry)
{
	const uint32_t head[3] = {4, 4, 18};

	k->note = k->bytes + NOTE;
	memcpy(k->note, head, sizeof(head));
	memcpy(k->note + 12, "Xen", 4);
	memcpy(k->note + 16, &entry, 4);
}

static void put_ident(struct kernel *k, unsigned class)
{
	memcpy(k->bytes, ELFMAG, SELFMAG);
	k->bytes[EI_CLASS] = (unsigned char)class;
	k->bytes[EI_DATA] = ELFDATA2LSB;
	k->bytes[EI_VERSION] = EV_CURRENT;
}

void kernel_elf(struct kernel *k, const void *code, size_t len)
{
	memset(k, 0, sizeof(*k));
	put_code(k, CODE, code, len);
	put_ident(k, ELFCLASS64);
	put_note(k, KERNEL_GPA);
	k->elf = (Elf64_Ehdr *)(void *)k->bytes;
	k->elf->e_type = ET_EXEC;
	k->elf->e_machine = EM_X86_64;
	k->elf->e_version = EV_CURRENT;
	k->elf->e_entry = KERNEL_GPA;
	k->elf->e_phoff = sizeof(Elf64_Ehdr);
	k->elf->e_ehsize = sizeof(Elf64_Ehdr);
	k->elf->e_phentsize = sizeof(Elf64_Phdr);
	k->elf->e_phnum = 2;
	k->load = (Elf64_Phdr *)(void *)(k->bytes + sizeof(Elf64_Ehdr));
	k->notes = k->load + 1;
	*k->load = (Elf64_Phdr){
	        .p_type = PT_LOAD,
	        .p_flags = PF_R | PF_W | PF_X,
	        .p_offset = CODE,
	        .p_vaddr = KERNEL_GPA,
	        .p_paddr = KERNEL_GPA,
	        .p_filesz = k->len - CODE,
	        .p_memsz = k->len - CODE + BSS,
	        .p_align = 16,
	};
	*k->notes = (Elf64_Phdr){
	        .p_type = PT_NOTE, .p_offset = NOTE, .p_filesz = 20, .p_memsz = 20, .p_align = 4};
}

void kernel_elf32(struct kernel *k, const void *code, size_t len)
{
	Elf32_Ehdr *elf = (Elf32_Ehdr *)(void *)k->bytes;
	Elf32_Phdr *load = (Elf32_Phdr *)(void *)(k->bytes + sizeof(*elf));

	memset(k, 0, sizeof(*k));
	put_code(k, CODE, code, len);
	put_ident(k, ELFCLASS32);
	put_note(k, KERNEL_GPA);
	elf->e_type = ET_EXEC;
	elf->e_machine = EM_386;
	elf->e_version = EV_CURRENT;
	elf->e_entry = KERNEL_GPA;
	elf->e_phoff = sizeof(*elf);
	elf->e_ehsize = sizeof(*elf);
	elf->e_phentsize = sizeof(*load);
	elf->e_phnum = 2;
	load[0] = (Elf32_Phdr){
	        .p_type = PT_LOAD,
	        .p_flags = PF_R | PF_W | PF_X,
	        .p_offset = CODE,
	        .p_vaddr = KERNEL_GPA,
	        .p_paddr = KERNEL_GPA,
	        .p_filesz = (uint32_t)(k->len - CODE),
	        .p_memsz = (uint32_t)(k->len - CODE) + BSS,
	        .p_align = 16,
	};
	load[1] = (Elf32_Phdr){
	        .p_type = PT_NOTE, .p_offset = NOTE, .p_filesz = 20, .p_memsz = 20, .p_align = 4};
}

void kernel_write(const struct kernel *k, char *path)
{
	image_store(path, k->bytes, k->len);
}

void kernel_remove(const char *path)
{
	(void)unlink(path);
}
