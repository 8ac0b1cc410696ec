/* SPDX-License-Identifier: Apache-2.0 */
/* struct boot_params, the "zero page" (Linux, Documentation/arch/x86/zero-page.rst). */
#include <stddef.h>

#include "base/error.h"
#include "boot/load.h"

#define LOADER_UNDEFINED 0xffu /* no number of our own in Linux's list */

_Static_assert(sizeof(struct boot_params) == VDB_PAGE_SIZE, "it is a page");
_Static_assert(VDB__E820_MAX <= E820_MAX_ENTRIES_ZEROPAGE, "a map fits");

static void put_addresses(struct boot_params *page, const struct vdb__boot *boot)
{
	const struct vdb_boot_info *info = &boot->info;

	page->hdr.type_of_loader = LOADER_UNDEFINED;
	page->hdr.code32_start = (uint32_t)info->kernel;
	page->hdr.cmd_line_ptr = VDB__CMDLINE;
	page->hdr.ramdisk_image = (uint32_t)info->initrd;
	page->hdr.ramdisk_size = (uint32_t)info->initrd_len;
	page->ext_ramdisk_image = (uint32_t)(info->initrd >> 32);
	page->ext_ramdisk_size = (uint32_t)(info->initrd_len >> 32);
	page->acpi_rsdp_addr = boot->config->rsdp;
}

int vdb__zero_page_write(struct vdb__boot *boot)
{
	struct boot_params page = {.hdr = boot->setup};

	put_addresses(&page, boot);
	page.e820_entries = (uint8_t)boot->map.count;
	for (uint32_t i = 0; i < boot->map.count; i++) {
		const struct vdb_e820 *range = &boot->map.entries[i];

		page.e820_table[i] = (struct boot_e820_entry){range->gpa, range->len, range->type};
	}
	boot->info.info = VDB__INFO;
	return vdb_mem_write(boot->mem, VDB__INFO, &page, sizeof(page));
}
