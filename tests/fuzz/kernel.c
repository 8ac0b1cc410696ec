/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vdb/boot.h>
#include <vdb/mem.h>

#define RAM (8u << 20)
#define PATCHES 64

static struct vdb_mem *ram(void)
{
	static struct vdb_mem *mem;
	struct vdb_region_config region = {.size = sizeof(region), .len = RAM, .backing = VDB_MEM_ANON};

	if (mem)
		return mem;
	fuzz_check(vdb_mem_create(&mem) == 0 && vdb_mem_add(mem, &region) == 0);
	region.gpa = 2 * RAM;
	fuzz_check(vdb_mem_add(mem, &region) == 0);
	return mem;
}

/* A file in memory, by a path. */
static void store(int *fd, char path[32], const void *bytes, size_t len)
{
	if (!*fd)
		*fd = memfd_create("kernel", MFD_CLOEXEC);
	fuzz_check(*fd > 0 && !ftruncate(*fd, 0) && pwrite(*fd, bytes, len, 0) == (ssize_t)len);
	(void)snprintf(path, 32, "/proc/self/fd/%d", *fd);
}

static size_t change(uint8_t *file, size_t len, size_t from, size_t head, struct fuzz_input *in)
{
	size_t room = len;

	for (int i = 0; i < PATCHES && fuzz_more(in); i++) {
		uint8_t how = fuzz_u8(in), place = fuzz_u8(in);
		size_t at = place < 0xf0 ? from + place % head : fuzz_u16(in) % room, width = 1u << (how & 3);
		uint64_t value = how & 4 ? fuzz_u64(in) : fuzz_u8(in);

		if (how & 8)
			value = 0 - value;
		if (how & 0x10)
			value <<= how >> 5;
		if (how == 0xff)
			len = at;
		else if (width <= room - at)
			memcpy(file + at, &value, width);
	}
	return len;
}

static void load(const char *kernel, struct fuzz_input *in)
{
	static int initrd_fd;
	uint8_t how = fuzz_u8(in), length = fuzz_u8(in);
	static char cmdline[3000], initrd[32];
	struct vdb_e820 reserved[] = {{.gpa = 0x200000, .len = 0x1000, .type = VDB_E820_ACPI},
	                              {.gpa = fuzz_u32(in), .len = fuzz_u32(in), .type = VDB_E820_RESERVED}};
	struct vdb_boot_config config = {.size = sizeof(config),
	                                 .protocol = how & 3,
	                                 .kernel = kernel,
	                                 .cmdline = how & 4 ? NULL : cmdline,
	                                 .rsdp = how & 8 ? 0xe0000 : 0,
	                                 .reserved = reserved,
	                                 .reserved_count = how >> 4 & 1 ? 2 : 0};
	struct vdb_boot_info info = {.size = sizeof(info)};

	memset(cmdline, 'a', sizeof(cmdline));
	cmdline[length * 11u] = '\0';
	if (how & 0x20) {
		store(&initrd_fd, initrd, cmdline, how & 0x40 ? sizeof(cmdline) : 0);
		config.initrd = initrd;
	}
	if (!vdb_boot_load(ram(), &config, &info)) {
		fuzz_check(info.kernel_len && info.kernel + info.kernel_len <= 3 * RAM);
		fuzz_check(info.initrd_len <= sizeof(cmdline));
	}
}

void fuzz_kernel(uint8_t *file, size_t len, size_t from, size_t head, struct fuzz_input *in)
{
	static int kernel_fd;
	struct fuzz_input how = *in;
	char path[32], skip[10];

	fuzz_bytes(in, skip, sizeof(skip)); /* what load() takes */
	len = change(file, len, from, head, in);
	store(&kernel_fd, path, file, len);
	load(path, &how);
}
