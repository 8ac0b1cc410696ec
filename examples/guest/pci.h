/* SPDX-License-Identifier: Apache-2.0 */
/* PCI config space of bus 0, for bare-metal guests: by ports 0xcf8/0xcfc, or by ECAM, mapped one to one. */
#ifndef EXAMPLES_GUEST_PCI_H
#define EXAMPLES_GUEST_PCI_H

#include <linux/pci_regs.h>
#include <stdbool.h>

#include "runtime.h"

#define PCI_SLOTS 32u
#define PCI_BARS 6u

/* Where ECAM is; 0: go by ports. */
static uintptr_t pci_ecam;

static inline uint16_t pci_port(uint32_t slot, uint32_t offset)
{
	guest_out32(0xcf8, 0x80000000u | slot << 11 | (offset & 0xfcu));
	return (uint16_t)(0xcfcu + offset % 4);
}

static inline uint32_t pci_read32(uint32_t slot, uint32_t offset)
{
	if (pci_ecam)
		return *(volatile uint32_t *)(pci_ecam + (slot << 15) + offset);
	return guest_in32(pci_port(slot, offset));
}

static inline uint16_t pci_read16(uint32_t slot, uint32_t offset)
{
	if (pci_ecam)
		return *(volatile uint16_t *)(pci_ecam + (slot << 15) + offset);
	return guest_in16(pci_port(slot, offset));
}

static inline uint8_t pci_read8(uint32_t slot, uint32_t offset)
{
	if (pci_ecam)
		return *(volatile uint8_t *)(pci_ecam + (slot << 15) + offset);
	return guest_in8(pci_port(slot, offset));
}

static inline void pci_write32(uint32_t slot, uint32_t offset, uint32_t value)
{
	if (pci_ecam)
		*(volatile uint32_t *)(pci_ecam + (slot << 15) + offset) = value;
	else
		guest_out32(pci_port(slot, offset), value);
}

static inline void pci_write16(uint32_t slot, uint32_t offset, uint16_t value)
{
	if (pci_ecam)
		*(volatile uint16_t *)(pci_ecam + (slot << 15) + offset) = value;
	else
		guest_out16(pci_port(slot, offset), value);
}

/* The device number of vendor and device, PCI_SLOTS: there is none. */
static inline uint32_t pci_find(uint16_t vendor, uint16_t device)
{
	uint32_t slot = 0;

	while (slot < PCI_SLOTS && pci_read32(slot, PCI_VENDOR_ID) != ((uint32_t)device << 16 | vendor))
		slot++;
	return slot;
}

static inline uint32_t pci_bar_reg(uint32_t bar)
{
	return PCI_BASE_ADDRESS_0 + bar * 4;
}

static inline bool pci_bar_is_64(uint32_t slot, uint32_t bar)
{
	return (pci_read32(slot, pci_bar_reg(bar)) &
	        (PCI_BASE_ADDRESS_SPACE | PCI_BASE_ADDRESS_MEM_TYPE_MASK)) == PCI_BASE_ADDRESS_MEM_TYPE_64;
}

/* Where it is, memory or port. */
static inline uint64_t pci_bar(uint32_t slot, uint32_t bar)
{
	uint32_t low = pci_read32(slot, pci_bar_reg(bar));

	if (low & PCI_BASE_ADDRESS_SPACE_IO)
		return low & ~3u;
	if (!pci_bar_is_64(slot, bar))
		return low & ~0xfu;
	return (uint64_t)pci_read32(slot, pci_bar_reg(bar + 1)) << 32 | (low & ~0xfu);
}

static inline void pci_set_bar(uint32_t slot, uint32_t bar, uint64_t base)
{
	pci_write32(slot, pci_bar_reg(bar), (uint32_t)base);
	if (pci_bar_is_64(slot, bar))
		pci_write32(slot, pci_bar_reg(bar + 1), (uint32_t)(base >> 32));
}

/* Its size by the book: all ones, read, restore (PCI 3.0, 6.2.5.1). 0: there is none. */
static inline uint64_t pci_bar_size(uint32_t slot, uint32_t bar)
{
	uint32_t low = pci_read32(slot, pci_bar_reg(bar)), mask, high = 0xffffffff, was = 0;
	bool wide = pci_bar_is_64(slot, bar);

	pci_write32(slot, pci_bar_reg(bar), 0xffffffff);
	mask = pci_read32(slot, pci_bar_reg(bar));
	if (wide) {
		was = pci_read32(slot, pci_bar_reg(bar + 1));
		pci_write32(slot, pci_bar_reg(bar + 1), 0xffffffff);
		high = pci_read32(slot, pci_bar_reg(bar + 1));
		pci_write32(slot, pci_bar_reg(bar + 1), was);
	}
	pci_write32(slot, pci_bar_reg(bar), low);
	if (!mask)
		return 0;
	if (mask & PCI_BASE_ADDRESS_SPACE_IO)
		return (uint16_t)(~(mask & ~3u) + 1);
	return ~((uint64_t)high << 32 | (mask & ~0xfu)) + 1;
}

/* The next capability `id` after offset `after` (0: the first); 0: there is none. */
static inline uint32_t pci_cap(uint32_t slot, uint8_t id, uint32_t after)
{
	uint32_t cap = pci_read8(slot, after ? after + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST);

	while (cap && pci_read8(slot, cap) != id)
		cap = pci_read8(slot, cap + PCI_CAP_LIST_NEXT);
	return cap;
}

#endif
