/* SPDX-License-Identifier: Apache-2.0 */
/* ELF kernels, 32 and 64 bits, with a PVH note or without, changed in places. */
#include <elf.h>

#include "kernel.h"

#define ROOM 0x1000u
#define NOTE 0x300u
#define CODE 0x400u

static const struct {
	Elf64_Nhdr header;
	char name[4];
	uint32_t entry;
} note = {{4, 4, 18}, "Xen", 0x100000};

static void make64(uint8_t *file)
{
	const Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
	                           .e_type = ET_EXEC,
	                           .e_machine = EM_X86_64,
	                           .e_version = EV_CURRENT,
	                           .e_entry = 0x100000,
	                           .e_phoff = sizeof(header),
	                           .e_ehsize = sizeof(header),
	                           .e_phentsize = sizeof(Elf64_Phdr),
	                           .e_phnum = 3};
	const Elf64_Phdr segments[] = {
	        {.p_type = PT_LOAD,
	         .p_offset = CODE,
	         .p_vaddr = 0xffffffff81000000,
	         .p_paddr = 0x100000,
	         .p_filesz = 0x200,
	         .p_memsz = 0x1000},
	        {.p_type = PT_LOAD,
	         .p_offset = CODE,
	         .p_vaddr = 0x400000,
	         .p_paddr = 0x400000,
	         .p_filesz = 8,
	         .p_memsz = 8},
	        {.p_type = PT_NOTE, .p_offset = NOTE, .p_filesz = sizeof(note), .p_align = 4},
	};

	memcpy(file, &header, sizeof(header));
	memcpy(file + sizeof(header), segments, sizeof(segments));
}

static void make32(uint8_t *file)
{
	const Elf32_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
	                           .e_type = ET_EXEC,
	                           .e_machine = EM_386,
	                           .e_version = EV_CURRENT,
	                           .e_entry = 0x100000,
	                           .e_phoff = sizeof(header),
	                           .e_ehsize = sizeof(header),
	                           .e_phentsize = sizeof(Elf32_Phdr),
	                           .e_phnum = 2};
	const Elf32_Phdr segments[] = {
	        {.p_type = PT_LOAD,
	         .p_offset = CODE,
	         .p_vaddr = 0x100000,
	         .p_paddr = 0x100000,
	         .p_filesz = 0x200,
	         .p_memsz = 0x1000},
	        {.p_type = PT_NOTE, .p_offset = NOTE, .p_filesz = sizeof(note), .p_align = 4},
	};

	memcpy(file, &header, sizeof(header));
	memcpy(file + sizeof(header), segments, sizeof(segments));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = fuzz_input(data, size);
	static uint8_t file[ROOM];
	uint8_t how = fuzz_u8(&in);

	memset(file, 0, sizeof(file));
	if (how & 1)
		make32(file);
	else
		make64(file);
	if (!(how & 2))
		memcpy(file + NOTE, &note, sizeof(note));
	fuzz_kernel(file, ROOM, how & 4 ? NOTE : 0, how & 4 ? 32 : 0xe8, &in);
	return 0;
}
