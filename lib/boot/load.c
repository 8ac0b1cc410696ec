/* SPDX-License-Identifier: Apache-2.0 */
/* From files to a guest that can be started, step by step. */
#include "boot/load.h"

#include <string.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"

static int make_map(struct vdb__boot *boot)
{
	const struct vdb_boot_config *config = boot->config;
	int err = vdb__e820_init(&boot->map, boot->mem);

	for (uint32_t i = 0; i < config->reserved_count && !err; i++) {
		const struct vdb_e820 *range = &config->reserved[i];

		if (!range->type)
			return vdb__fail(EINVAL, "boot: reserved range %u has no type", i);
		err = vdb__e820_put(&boot->map, range->gpa, range->len, range->type);
	}
	if (!err && !vdb__e820_is_ram(&boot->map, VDB_BOOT_TABLES, VDB__INFO_END - VDB_BOOT_TABLES))
		return vdb__fail(ENOSPC,
		                 "boot: guest memory must have RAM at %#x..%#x, for page tables and the "
		                 "like; it is not there, or reserved",
		                 VDB_BOOT_TABLES, VDB__INFO_END);
	return err;
}

static int open_files(struct vdb__boot *boot)
{
	int err = vdb__image_open(&boot->kernel, "kernel", boot->config->kernel);

	if (!err && boot->config->initrd)
		err = vdb__image_open(&boot->initrd, "initrd", boot->config->initrd);
	return err;
}

static int load_all(struct vdb__boot *boot)
{
	int err = make_map(boot);

	if (!err)
		err = open_files(boot);
	if (!err)
		err = vdb__elf_is(&boot->kernel) ? vdb__elf_load(boot) : vdb__bzimage_load(boot);
	if (!err)
		err = vdb__cmdline_load(boot);
	if (!err && boot->config->initrd)
		err = vdb__initrd_load(boot);
	if (err)
		return err;
	return boot->info.protocol == VDB_BOOT_PVH ? vdb__pvh_write(boot) : vdb__zero_page_write(boot);
}

static int check(const struct vdb_boot_config *config)
{
	if (!config->kernel)
		return vdb__fail(EINVAL, "boot: no kernel given");
	if (config->protocol > VDB_BOOT_PVH)
		return vdb__fail(EINVAL, "boot: unknown protocol %u", config->protocol);
	if (config->reserved_count && !config->reserved)
		return vdb__fail(EINVAL, "boot: %u reserved ranges, but none given", config->reserved_count);
	return 0;
}

VDB_EXPORT int vdb_boot_load(struct vdb_mem *mem, const struct vdb_boot_config *config,
                             struct vdb_boot_info *info)
{
	struct vdb_boot_config own;
	struct vdb__boot boot = {.mem = mem, .config = &own, .kernel.fd = -1, .initrd.fd = -1};
	int err = vdb__config_take(&own, sizeof(own), config, "vdb_boot_config");

	if (!err)
		err = check(&own);
	if (!err)
		err = load_all(&boot);
	vdb__image_close(&boot.kernel);
	vdb__image_close(&boot.initrd);
	return err ? err : vdb__stats_give(info, &boot.info, sizeof(boot.info), "vdb_boot_info");
}
