/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where things are in the guest-physical address space of `tinyvmm run`:
 *
 *          0 ..      9fc00  memory
 *      9fc00 ..     100000  reserved: ACPI tables from e0000, or the MP table at f0000
 *     100000 ..   c0000000  memory
 *   c0000000 ..   d0000000  PCI: 32-bit window
 *   d1000000 ..   d1100000  virtio-mmio: a page for each device
 *   e0000000 ..   e0100000  PCI: configuration space (ECAM)
 *   fec00000 ..  100000000  interrupt controllers
 *  100000000 ..             memory beyond 3 GiB
 * 8000000000 .. 8100000000  PCI: 64-bit window
 * 8200000000 .. a200000000  files as memory, 32 GiB for each
 *
 * GSI 4 is the serial port's, 9 the power button's, 16..19 are PCI's INTx.
 */
#ifndef TINYVMM_LAYOUT_H
#define TINYVMM_LAYOUT_H

#define LAYOUT_RESERVED 0x9fc00u
#define LAYOUT_ACPI 0xe0000u
#define LAYOUT_ACPI_BYTES 0x10000u
#define LAYOUT_MPTABLE 0xf0000u
#define LAYOUT_MPTABLE_BYTES 0x10000u
#define LAYOUT_HIGH 0x100000u

#define LAYOUT_HOLE 0xc0000000ull /* memory goes on at LAYOUT_HOLE_END */
#define LAYOUT_HOLE_END 0x100000000ull
#define LAYOUT_MEMORY_MIN 0x200000u
#define LAYOUT_MEMORY_MAX 0x7f00000000ull

#define LAYOUT_PCI_MEM32 0xc0000000u
#define LAYOUT_PCI_MEM32_BYTES 0x10000000u
#define LAYOUT_MMIO 0xd1000000u
#define LAYOUT_PCI_ECAM 0xe0000000u
#define LAYOUT_PCI_MEM64 0x8000000000ull
#define LAYOUT_PCI_MEM64_BYTES 0x100000000ull
#define LAYOUT_PMEM 0x8200000000ull
#define LAYOUT_PMEM_STRIDE 0x800000000ull
#define LAYOUT_PCI_INTX 16u

#define LAYOUT_SERIAL_PORT 0x3f8u
#define LAYOUT_SERIAL_GSI 4u

#endif
