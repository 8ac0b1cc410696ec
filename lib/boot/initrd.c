/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "boot/load.h"

/* As high as possible, where a kernel that unpacks itself upwards cannot reach it. */
static bool place(struct vdb__boot *boot, uint64_t len)
{
	struct vdb__span kernel = {.from = boot->info.kernel,
	                           .to = boot->info.kernel + boot->info.kernel_len};
	struct vdb__span low = {.from = VDB__HIGH, .to = boot->initrd_end};
	struct vdb__span high = {.from = VDB__4G, .to = UINT64_MAX};

	if (vdb__e820_highest(&boot->map, low, kernel, len, VDB_PAGE_SIZE, &boot->info.initrd))
		return true;
	return boot->initrd_anywhere &&
	       vdb__e820_highest(&boot->map, high, kernel, len, VDB_PAGE_SIZE, &boot->info.initrd);
}

int vdb__initrd_load(struct vdb__boot *boot)
{
	const struct vdb__image *initrd = &boot->initrd;
	struct vdb__span reach = {.from = VDB__HIGH,
	                          .to = boot->initrd_anywhere ? UINT64_MAX : boot->initrd_end};

	if (!initrd->len)
		return vdb__fail(EINVAL, "initrd %s: is empty", initrd->path);
	if (!place(boot, initrd->len)) {
		boot->info.initrd = 0;
		return vdb__fail(ENOSPC,
		                 "initrd %s: its %llu bytes fit nowhere beside the kernel's %llu, in %llu "
		                 "bytes of memory that the kernel takes one from; give the guest more memory",
		                 initrd->path, (unsigned long long)initrd->len,
		                 (unsigned long long)boot->info.kernel_len,
		                 (unsigned long long)vdb__e820_ram(&boot->map, reach));
	}
	boot->info.initrd_len = initrd->len;
	return vdb__image_load(initrd, "content", 0, initrd->len, boot->mem, boot->info.initrd);
}
