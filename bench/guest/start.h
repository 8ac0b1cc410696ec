/* SPDX-License-Identifier: Apache-2.0 */
/* How a guest begins that is started by PVH: its command line, and a device behind virtio-mmio registers
 * where QEMU's microvm and our VMMs have them. */
#ifndef BENCH_START_H
#define BENCH_START_H

#include "virtio_mmio.h"

#define START_MAGIC 0x336ec578u
#define START_SLOTS 0xfeb00000ull
#define START_SLOT_BYTES 0x200u
#define START_SLOT_COUNT 32u

struct start_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, cmdline, rsdp;
};

/* False: whoever started it did not do it by PVH. */
static inline bool start_cmdline(uint64_t start, char *line, uint32_t room)
{
	const struct start_info *info = (const void *)(uintptr_t)start;
	const char *text;

	if (info->magic != START_MAGIC)
		return false;
	text = (const void *)(uintptr_t)info->cmdline;
	for (uint32_t i = 0; i + 1 < room && text[i]; i++)
		line[i] = text[i];
	return true;
}

static inline bool start_device(struct virtio *dev, uint32_t id)
{
	for (uint32_t i = 0; i < START_SLOT_COUNT; i++)
		if (virtio_mmio_find(dev, START_SLOTS + i * START_SLOT_BYTES) && dev->id == id)
			return true;
	return false;
}

#endif
