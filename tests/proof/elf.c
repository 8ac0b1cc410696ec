/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: lib/boot/elf_parse.c */
/* EVA: -cpp-extra-args=-DOWN_HEAP */
/* SHOW: lib/boot/elf_parse.c /if (!header->count/ assert header->count <= 2 || header->count > 2 */
/* SHOW: lib/boot/elf_parse.c /if (!header->count/ split header->count */
/* SHOW: lib/boot/elf_parse.c /desc = (name/ assert note.n_namesz <= 40 || note.n_namesz > 40 */
/* SHOW: lib/boot/elf_parse.c /desc = (name/ split note.n_namesz */
/* SHOW: lib/boot/elf_parse.c /if (at > / split at */
/* BROKEN: no_count lib/boot/elf_parse.c s/ || header->count > VDB__ELF_SEGMENTS// */
/* BROKEN: no_name lib/boot/elf_parse.c s/if (desc > len ||/if (/ */
/* BROKEN: no_desc lib/boot/elf_parse.c s/ || note.n_descsz > len - desc// */
/* BROKEN: no_note lib/boot/elf_parse.c s/ && len - at >= sizeof(note)// */
/* BROKEN: no_end lib/boot/elf_parse.c s/if (at > len)/if (at > UINT32_MAX)/ */
/* BROKEN: no_pvh_len lib/boot/elf_parse.c s/if (len != 4 && len != 8)/if (0)/ */
/* BROKEN: no_pvh_entry lib/boot/elf_parse.c s/if (!entry || entry > UINT32_MAX)/if (0)/ */
/*
 * An ELF file of either class, whatever its headers and its notes say.
 */
#include "boot/elf.h"
#include "stubs.h"
#include <elf.h>

#define NOTES 28u /* bytes: two of them */

static unsigned char heap[NOTES + 1];
static struct vdb__elf elf;
static const struct vdb__image image = {.fd = 3, .what = "kernel", .path = "vmlinux"};

/* ---- What it calls: image.c, which checks the range. A file says anything ---- */

int vdb__image_has(const struct vdb__image *from, const char *part, uint64_t offset, uint64_t len)
{
	(void)offset;
	(void)len;
	CLAIM(from == &image && part);
	return any & 1 ? 0 : -1;
}

/* As long as it is asked for. */
void *proof_malloc(size_t size)
{
	CLAIM(size <= sizeof(heap));
	return any & 1 ? heap + sizeof(heap) - size : NULL;
}

void proof_free(void *p)
{
	(void)p;
}

/* Of program headers. */
static bool more_than_two(size_t len)
{
	return elf.count == 0 && elf.bits &&
	       len > 2 * (elf.bits == 64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr));
}

int vdb__image_read(const struct vdb__image *from, const char *part, uint64_t offset, void *to, size_t len)
{
	unsigned char *bytes = to;

	(void)offset;
	CLAIM(from == &image && part);
	if (!len)
		return 0;
	bytes[0] = bytes[len - 1] = 0; /* there is room */
	if (any & 1 || more_than_two(len))
		return -1; /* as a file that is too short */
	Frama_C_make_unknown((char *)to, len);
	return 0;
}

/* ---- Files ---- */

static void parse(void)
{
	if (vdb__elf_parse(&elf, &image))
		return;
	CLAIM(elf.bits == 32 || elf.bits == 64);
	CLAIM(elf.count >= 1 && elf.count <= VDB__ELF_SEGMENTS);
	REACHED(parsed);
}

static uint64_t any_len(void)
{
	uint64_t len = any;

	if (len > NOTES)
		return UINT64_MAX; /* too many */
	/*@ split len; */
	return len;
}

static void notes(void)
{
	uint64_t align = any & 1 ? 8 : 4;

	elf = (struct vdb__elf){.image = &image, .count = 1};
	elf.segments[0] = (struct vdb__segment){.type = PT_NOTE, .file_len = any_len(), .align = align};
	if (vdb__elf_find_pvh(&elf) || !elf.pvh_entry)
		return;
	CLAIM(elf.pvh_entry <= UINT32_MAX);
	REACHED(entry);
}

int main(void)
{
	if (any)
		parse();
	else
		notes();
	return 0;
}
