/* SPDX-License-Identifier: Apache-2.0 */
#include "machines.h"

#define DEVICE(i)                                                                     \
	{                                                                             \
		.base = 0xd8000000u + (i)*0x1000u, .len = 0x1000, .gsi = 10 + (i) % 6 \
	}
#define FOUR(i) DEVICE(i), DEVICE((i) + 1), DEVICE((i) + 2), DEVICE((i) + 3)

const struct vdb_acpi_mmio machines_mmio[MACHINES_MMIO] = {
        FOUR(0),
        FOUR(4),
        FOUR(8),
        FOUR(12),
        FOUR(16),
        FOUR(20),
        FOUR(24),
        FOUR(28),
        FOUR(32),
        DEVICE(36),
        DEVICE(37),
        {.base = 0x200000000, .len = 0x200, .gsi = 23},
        {.base = 0x200001000, .len = 0x200, .gsi = 20},
};

const struct vdb_pci_config machines_pci = {
        .size = sizeof(machines_pci),
        .intx_gsi = 16,
        .ecam = 0xe0000000,
        .mem32 = 0xc0000000,
        .mem32_len = 0x10000000,
        .mem64 = 0x8000000000,
        .mem64_len = 0x100000000,
        .io = 0xc000,
        .io_len = 0x1000,
};

struct vdb_machine machines_full(void)
{
	return (struct vdb_machine){
	        .size = sizeof(struct vdb_machine),
	        .cpus = 4,
	        .platform_parts =
	                VDB_PLATFORM_I8042 | VDB_PLATFORM_RTC | VDB_PLATFORM_PM | VDB_PLATFORM_PVPANIC,
	        .serial_gsi = 4,
	        .serial_port = 0x3f8,
	        .mmio = machines_mmio,
	        .mmio_count = 3,
	        .pci = &machines_pci,
	};
}

struct vdb_machine machines_small(void)
{
	return (struct vdb_machine){
	        .size = sizeof(struct vdb_machine),
	        .cpus = 1,
	        .mmio = machines_mmio,
	        .mmio_count = 1,
	};
}

struct vdb_machine machines_large(void)
{
	struct vdb_machine machine = machines_full();

	machine.cpus = 300;
	machine.mmio_count = MACHINES_MMIO;
	machine.serial_gsi = 20;
	return machine;
}
