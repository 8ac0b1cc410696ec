/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "boot/elf.h"

#define NOTES_MAX 0x10000u           /* bytes of a note segment that is looked at */
#define XEN_ELFNOTE_PHYS32_ENTRY 18u /* Xen, public/elfnote.h */

#define refuse(err, elf, fmt, ...) vdb__fail(err, "kernel %s: " fmt, (elf)->image->path, ##__VA_ARGS__)

/* What both classes' headers say. */
struct header {
	unsigned type, machine;
	uint64_t table;
	unsigned entry_size, count;
};

static int check_header(const struct vdb__elf *elf, const struct header *header)
{
	size_t entry_size = elf->bits == 64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

	if (header->machine != (elf->bits == 64 ? EM_X86_64 : EM_386))
		return refuse(ENOEXEC, elf, "is an ELF file for machine %u, not for x86-64", header->machine);
	if (header->type != ET_EXEC && header->type != ET_DYN)
		return refuse(ENOEXEC, elf, "is an ELF file of type %u, not an executable", header->type);
	if (header->entry_size != entry_size)
		return refuse(EINVAL, elf, "malformed: program headers of %u bytes", header->entry_size);
	if (!header->count || header->count > VDB__ELF_SEGMENTS)
		return refuse(EINVAL, elf, "malformed: %u program headers; 1 to %u are taken", header->count,
		              VDB__ELF_SEGMENTS);
	return 0;
}

static int read_header(struct vdb__elf *elf, struct header *header)
{
	Elf64_Ehdr h;
	int err = vdb__image_read(elf->image, "ELF header", 0, &h, sizeof(h));

	if (err)
		return err;
	elf->bits = 64;
	elf->entry = h.e_entry;
	*header = (struct header){h.e_type, h.e_machine, h.e_phoff, h.e_phentsize, h.e_phnum};
	return check_header(elf, header);
}

static int read_header32(struct vdb__elf *elf, struct header *header)
{
	Elf32_Ehdr h;
	int err = vdb__image_read(elf->image, "ELF header", 0, &h, sizeof(h));

	if (err)
		return err;
	elf->bits = 32;
	elf->entry = h.e_entry;
	*header = (struct header){h.e_type, h.e_machine, h.e_phoff, h.e_phentsize, h.e_phnum};
	return check_header(elf, header);
}

static int read_segments(struct vdb__elf *elf, const struct header *header)
{
	Elf64_Phdr table[VDB__ELF_SEGMENTS];
	int err = vdb__image_read(elf->image, "program headers", header->table, table,
	                          header->count * sizeof(table[0]));

	for (; !err && elf->count < header->count; elf->count++) {
		const Elf64_Phdr *p = &table[elf->count];

		elf->segments[elf->count] = (struct vdb__segment){
		        .type = p->p_type,
		        .offset = p->p_offset,
		        .file_len = p->p_filesz,
		        .vaddr = p->p_vaddr,
		        .gpa = p->p_paddr,
		        .len = p->p_memsz,
		        .align = p->p_align,
		};
	}
	return err;
}

static int read_segments32(struct vdb__elf *elf, const struct header *header)
{
	Elf32_Phdr table[VDB__ELF_SEGMENTS];
	int err = vdb__image_read(elf->image, "program headers", header->table, table,
	                          header->count * sizeof(table[0]));

	for (; !err && elf->count < header->count; elf->count++) {
		const Elf32_Phdr *p = &table[elf->count];

		elf->segments[elf->count] = (struct vdb__segment){
		        .type = p->p_type,
		        .offset = p->p_offset,
		        .file_len = p->p_filesz,
		        .vaddr = p->p_vaddr,
		        .gpa = p->p_paddr,
		        .len = p->p_memsz,
		        .align = p->p_align,
		};
	}
	return err;
}

static int check_segment(const struct vdb__elf *elf, const struct vdb__segment *s)
{
	int err;

	if (s->type != PT_LOAD && s->type != PT_NOTE)
		return 0;
	err = vdb__image_has(elf->image, "an ELF segment", s->offset, s->file_len);
	if (err || s->type != PT_LOAD)
		return err;
	if (s->file_len > s->len)
		return refuse(EINVAL, elf,
		              "malformed: a segment has %#llx bytes in the file, %#llx in memory",
		              (unsigned long long)s->file_len, (unsigned long long)s->len);
	if (s->gpa + s->len < s->gpa)
		return refuse(EINVAL, elf, "malformed: a segment of %#llx bytes at %#llx wraps round",
		              (unsigned long long)s->len, (unsigned long long)s->gpa);
	return 0;
}

/* PT_LOAD segments must not lie upon each other, nor must the file be a program for Linux. */
static int check_segments(const struct vdb__elf *elf)
{
	int err = 0;

	for (uint32_t i = 0; i < elf->count && !err; i++) {
		const struct vdb__segment *a = &elf->segments[i];

		err = check_segment(elf, a);
		if (!err && a->type == PT_INTERP)
			err = refuse(ENOEXEC, elf, "is a program for Linux, not a kernel");
		for (uint32_t k = 0; k < i && !err; k++) {
			const struct vdb__segment *b = &elf->segments[k];

			if (a->type == PT_LOAD && b->type == PT_LOAD && a->gpa < b->gpa + b->len &&
			    b->gpa < a->gpa + a->len)
				err = refuse(EINVAL, elf, "malformed: segments %u and %u overlap in memory",
				             k, i);
		}
	}
	return err;
}

int vdb__elf_parse(struct vdb__elf *elf, const struct vdb__image *image)
{
	unsigned char ident[EI_NIDENT];
	struct header header;
	int err = vdb__image_read(image, "ELF header", 0, ident, sizeof(ident));

	*elf = (struct vdb__elf){.image = image};
	if (err)
		return err;
	if (ident[EI_DATA] != ELFDATA2LSB)
		return refuse(ENOEXEC, elf, "is a big-endian ELF file");
	switch (ident[EI_CLASS]) {
	case ELFCLASS64:
		err = read_header(elf, &header);
		if (!err)
			err = read_segments(elf, &header);
		break;
	case ELFCLASS32:
		err = read_header32(elf, &header);
		if (!err)
			err = read_segments32(elf, &header);
		break;
	default:
		err = refuse(EINVAL, elf, "malformed: ELF class %u", ident[EI_CLASS]);
	}
	return err ? err : check_segments(elf);
}

/* The entry that a PHYS32_ENTRY note has: 32 bits, or a 64-bit word of a 64-bit kernel's assembler. */
static int take_entry(struct vdb__elf *elf, const unsigned char *desc, uint32_t len)
{
	uint64_t entry = 0;

	if (len != 4 && len != 8)
		return refuse(EINVAL, elf, "malformed: its PVH note has %u bytes", len);
	memcpy(&entry, desc, len);
	if (!entry || entry > UINT32_MAX)
		return refuse(EINVAL, elf, "malformed: its PVH entry is %#llx", (unsigned long long)entry);
	elf->pvh_entry = entry;
	return 0;
}

/* Notes are padded to 4 bytes, in segments aligned to 8 to 8. All sums are of 32-bit numbers. */
static int walk_notes(struct vdb__elf *elf, const unsigned char *notes, uint64_t len, uint64_t align)
{
	uint64_t pad = align == 8 ? 7 : 3, at = 0;
	Elf64_Nhdr note; /* the same in both classes */

	while (!elf->pvh_entry && len - at >= sizeof(note)) {
		uint64_t name = at + sizeof(note), desc;

		memcpy(&note, notes + at, sizeof(note));
		desc = (name + note.n_namesz + pad) & ~pad;
		if (desc > len || note.n_descsz > len - desc)
			return refuse(EINVAL, elf,
			              "malformed: a note at %llu of %llu bytes is longer than that",
			              (unsigned long long)at, (unsigned long long)len);
		if (note.n_type == XEN_ELFNOTE_PHYS32_ENTRY && note.n_namesz == sizeof("Xen") &&
		    !memcmp(notes + name, "Xen", sizeof("Xen")))
			return take_entry(elf, notes + desc, note.n_descsz);
		at = (desc + note.n_descsz + pad) & ~pad;
		if (at > len)
			break;
	}
	return 0;
}

static int read_notes(struct vdb__elf *elf, const struct vdb__segment *s)
{
	unsigned char *notes;
	int err;

	if (s->file_len > NOTES_MAX)
		return refuse(EINVAL, elf, "malformed: %llu bytes of notes", (unsigned long long)s->file_len);
	notes = malloc(s->file_len + 1);
	if (!notes)
		return refuse(ENOMEM, elf, "no memory for its notes");
	err = vdb__image_read(elf->image, "notes", s->offset, notes, s->file_len);
	if (!err)
		err = walk_notes(elf, notes, s->file_len, s->align);
	free(notes);
	return err;
}

int vdb__elf_find_pvh(struct vdb__elf *elf)
{
	int err = 0;

	for (uint32_t i = 0; i < elf->count && !err && !elf->pvh_entry; i++) {
		if (elf->segments[i].type == PT_NOTE)
			err = read_notes(elf, &elf->segments[i]);
	}
	return err;
}
