/* SPDX-License-Identifier: Apache-2.0 */
/* hvm_start_info, version 1 (Xen, public/arch-x86/hvm/start_info.h). */
#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "boot/load.h"

#define MAGIC 0x336ec578u
#define VERSION 1u

struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t modules;
	uint64_t modlist;
	uint64_t cmdline;
	uint64_t rsdp;
	uint64_t memmap;
	uint32_t memmap_entries;
	uint32_t reserved;
};
_Static_assert(sizeof(struct start_info) == 56, "as Xen has it");

struct module {
	uint64_t gpa;
	uint64_t len;
	uint64_t cmdline;
	uint64_t reserved;
};

/* All of it in one page. */
struct page {
	struct start_info start;
	struct module initrd;
	struct vdb_e820 memmap[VDB__E820_MAX]; /* the same layout as hvm_memmap_table_entry */
};
_Static_assert(sizeof(struct page) <= VDB_PAGE_SIZE, "a map fits");
_Static_assert(sizeof(struct vdb_e820) == 24, "as Xen has it");

int vdb__pvh_write(struct vdb__boot *boot)
{
	struct page page = {
	        .start = {.magic = MAGIC,
	                  .version = VERSION,
	                  .cmdline = VDB__CMDLINE,
	                  .rsdp = boot->config->rsdp,
	                  .memmap = VDB__INFO + offsetof(struct page, memmap),
	                  .memmap_entries = boot->map.count},
	        .initrd = {.gpa = boot->info.initrd, .len = boot->info.initrd_len},
	};

	if (boot->info.initrd_len) {
		page.start.modules = 1;
		page.start.modlist = VDB__INFO + offsetof(struct page, initrd);
	}
	memcpy(page.memmap, boot->map.entries, boot->map.count * sizeof(page.memmap[0]));
	boot->info.info = VDB__INFO;
	return vdb_mem_write(boot->mem, VDB__INFO, &page, sizeof(page));
}
