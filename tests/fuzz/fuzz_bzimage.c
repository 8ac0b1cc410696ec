/* SPDX-License-Identifier: Apache-2.0 */
/* bzImages, changed in places, mostly in the header. */
#include <asm/bootparam.h>
#include <stddef.h>

#include "kernel.h"

#define SETUP offsetof(struct boot_params, hdr)
#define SECTOR 512u
#define CODE 0x1000u
#define ROOM (5 * SECTOR + CODE)

static void make(uint8_t *file)
{
	struct setup_header setup = {
	        .setup_sects = 4,
	        .syssize = CODE / 16,
	        .boot_flag = 0xaa55,
	        .jump = 0x66eb,
	        .header = 0x53726448,
	        .version = 0x020f,
	        .loadflags = LOADED_HIGH,
	        .initrd_addr_max = 0x7fffffff,
	        .kernel_alignment = 0x200000,
	        .relocatable_kernel = 1,
	        .xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G,
	        .cmdline_size = 2047,
	        .pref_address = 0x100000,
	        .init_size = 0x100000,
	};

	memcpy(file + SETUP, &setup, sizeof(setup));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = fuzz_input(data, size);
	static uint8_t file[ROOM];

	memset(file, 0, sizeof(file));
	make(file);
	fuzz_kernel(file, ROOM, SETUP, sizeof(struct setup_header), &in);
	return 0;
}
