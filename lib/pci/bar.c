/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base address registers: places in the bus's windows, and the ranges of the VM's buses
 * that follow them.
 */
#include <assert.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "base/error.h"
#include "base/thread.h"
#include "pci/host.h"

#define MEM_MIN 4096u
#define IO_MIN 4u
#define IO_MAX 256u /* PCI 3.0, 6.2.5.1 */

static uint32_t reg(uint32_t bar)
{
	return PCI_BASE_ADDRESS_0 + bar * 4;
}

static struct vdb_bus *bus_of(const struct vdb_pci *pci, const struct vdb__bar *bar)
{
	return bar->kind == VDB__BAR_IO ? pci->pio : pci->mmio;
}

static int check(const struct vdb__pci_function *function, uint32_t i)
{
	const struct vdb__bar *bar = &function->identity.bars[i];
	uint64_t min = bar->kind == VDB__BAR_IO ? IO_MIN : MEM_MIN;
	uint64_t max = bar->kind == VDB__BAR_IO ? IO_MAX : 1ull << (bar->kind == VDB__BAR_MEM64 ? 40 : 31);
	bool pair = bar->kind == VDB__BAR_MEM64;

	if (bar->kind > VDB__BAR_IO || bar->len < min || bar->len > max || (bar->len & (bar->len - 1)))
		return vdb__fail(
		        EINVAL, "pci function '%s': BAR %u has %#llx bytes; a power of two from %llu",
		        function->ops->name, i, (unsigned long long)bar->len, (unsigned long long)min);
	if (pair && (i + 1 == VDB__PCI_BARS || function->identity.bars[i + 1].kind))
		return vdb__fail(EINVAL, "pci function '%s': BAR %u needs two registers", function->ops->name,
		                 i);
	return bar->ops ? 0
	                : vdb__fail(EINVAL, "pci function '%s': BAR %u has no ops", function->ops->name, i);
}

static void make_register(struct vdb__pci_function *function, uint32_t i)
{
	const struct vdb__bar *bar = &function->identity.bars[i];
	uint64_t mask = ~(bar->len - 1);
	uint32_t flags = PCI_BASE_ADDRESS_SPACE_IO;

	if (bar->kind != VDB__BAR_IO)
		flags = (bar->kind == VDB__BAR_MEM64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) |
		        (bar->prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0);
	else
		mask &= 0xffff; /* there are no more ports */
	vdb__pci_put(function, reg(i), 4, flags);
	for (uint32_t b = 0; b < (bar->kind == VDB__BAR_MEM64 ? 8u : 4u); b++)
		function->writable[reg(i) + b] = (uint8_t)(mask >> (b * 8));
}

int vdb__bars_init(struct vdb__pci_function *function)
{
	int err = 0;

	for (uint32_t i = 0; i < VDB__PCI_BARS && !err; i++) {
		if (!function->identity.bars[i].kind)
			continue;
		err = check(function, i);
		if (!err)
			make_register(function, i);
	}
	return err;
}

/* ---- What the registers say ---- */

static uint64_t address(const struct vdb__pci_function *function, uint32_t i)
{
	const struct vdb__bar *bar = &function->identity.bars[i];
	uint64_t value = vdb__pci_get(function, reg(i), 4);

	if (bar->kind == VDB__BAR_MEM64)
		value |= (uint64_t)vdb__pci_get(function, reg(i + 1), 4) << 32;
	return value & ~(bar->len - 1);
}

static void set_address(struct vdb__pci_function *function, uint32_t i, uint64_t base)
{
	uint32_t flags = function->identity.bars[i].kind == VDB__BAR_IO ? 0x3 : 0xf;

	flags &= vdb__pci_get(function, reg(i), 4);
	vdb__pci_put(function, reg(i), 4, (uint32_t)base | flags);
	if (function->identity.bars[i].kind == VDB__BAR_MEM64)
		vdb__pci_put(function, reg(i + 1), 4, (uint32_t)(base >> 32));
}

static bool inside(const struct vdb__window *window, uint64_t base, uint64_t len)
{
	return base >= window->base && len <= window->len && base - window->base <= window->len - len;
}

static bool in_window(const struct vdb_pci *pci, const struct vdb__bar *bar, uint64_t base)
{
	if (bar->kind == VDB__BAR_IO)
		return inside(&pci->io, base, bar->len);
	return inside(&pci->mem32, base, bar->len) || inside(&pci->mem64, base, bar->len);
}

/* Where the guest wants it to decode: VDB_GPA_ANY: nowhere. */
static uint64_t wanted(const struct vdb_pci *pci, const struct vdb__pci_function *function, uint32_t i)
{
	const struct vdb__bar *bar = &function->identity.bars[i];
	uint32_t command = vdb__pci_get(function, PCI_COMMAND, 2);
	uint64_t base = address(function, i);

	if (!(command & (bar->kind == VDB__BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
		return VDB_GPA_ANY;
	return in_window(pci, bar, base) ? base : VDB_GPA_ANY;
}

/* ---- Places for all ---- */

/* The end of a BAR that is in the way of [base, +len), 0: none. */
static uint64_t in_the_way(const struct vdb_pci *pci, bool io, uint64_t base, uint64_t len)
{
	for (uint32_t s = 0; s < VDB__PCI_SLOTS; s++) {
		for (uint32_t i = 0; pci->slots[s] && i < VDB__PCI_BARS; i++) {
			const struct vdb__bar *bar = &pci->slots[s]->identity.bars[i];
			uint64_t other = address(pci->slots[s], i);

			if (bar->kind && io == (bar->kind == VDB__BAR_IO) && other < base + len &&
			    base < other + bar->len)
				return other + bar->len;
		}
	}
	return 0;
}

/* First fit, naturally aligned. */
static uint64_t place(const struct vdb_pci *pci, const struct vdb__window *window, const struct vdb__bar *bar)
{
	uint64_t base = (window->base + bar->len - 1) & ~(bar->len - 1), end;

	for (; inside(window, base, bar->len); base = (end + bar->len - 1) & ~(bar->len - 1)) {
		end = in_the_way(pci, bar->kind == VDB__BAR_IO, base, bar->len);
		if (!end)
			return base;
	}
	return VDB_GPA_ANY;
}

/* 64-bit BARs go below 4 GiB, too, as long as there is room: guests in 32-bit mode, or with few
 * physical address bits, reach them there. */
static uint64_t place_any(const struct vdb_pci *pci, const struct vdb__bar *bar)
{
	uint64_t base = place(pci, bar->kind == VDB__BAR_IO ? &pci->io : &pci->mem32, bar);

	if (base == VDB_GPA_ANY && bar->kind == VDB__BAR_MEM64)
		base = place(pci, &pci->mem64, bar);
	return base;
}

int vdb__bars_assign(struct vdb_pci *pci, struct vdb__pci_function *function)
{
	for (uint32_t i = 0; i < VDB__PCI_BARS; i++) {
		const struct vdb__bar *bar = &function->identity.bars[i];
		uint64_t base;

		if (!bar->kind)
			continue;
		base = place_any(pci, bar);
		if (base == VDB_GPA_ANY)
			return vdb__fail(
			        ENOSPC,
			        "pci function '%s': no room for %#llx bytes of BAR %u; see the windows "
			        "of vdb_pci_config",
			        function->ops->name, (unsigned long long)bar->len, i);
		set_address(function, i, base);
	}
	return 0;
}

/* ---- Decoding ---- */

static void tell(struct vdb__pci_function *function, uint32_t i)
{
	if (function->ops->mapped)
		function->ops->mapped(function, i, function->bar_base[i]);
}

/* Its doorbells first: nothing rings where nothing is. Waits for the handlers in it. */
static void unmap(struct vdb_pci *pci, struct vdb__pci_function *function, uint32_t i)
{
	uint64_t base = function->bar_base[i];
	int err;

	function->bar_base[i] = VDB_GPA_ANY;
	tell(function, i);
	err = vdb_bus_remove(bus_of(pci, &function->identity.bars[i]), base);
	/* No handler of its own (function.h), no loop's thread (below), and it is there. */
	assert(!err);
	(void)err;
}

/* Where something else is, it does not decode; that may have gone at the next change. */
static void map(struct vdb_pci *pci, struct vdb__pci_function *function, uint32_t i, uint64_t base)
{
	const struct vdb__bar *bar = &function->identity.bars[i];

	if (vdb_bus_add(bus_of(pci, bar), function->ops->name, base, bar->len, bar->ops, function))
		return;
	function->bar_base[i] = base;
	tell(function, i);
}

static void each_bar(struct vdb_pci *pci, bool mapping)
{
	for (uint32_t s = 0; s < VDB__PCI_SLOTS; s++) {
		struct vdb__pci_function *function = pci->slots[s];

		for (uint32_t i = 0; function && i < VDB__PCI_BARS; i++) {
			uint64_t is = function->bar_base[i], want;

			if (!function->identity.bars[i].kind)
				continue;
			want = wanted(pci, function, i);
			if (mapping && want != is)
				map(pci, function, i, want);
			else if (want != is && is != VDB_GPA_ANY)
				unmap(pci, function, i);
		}
	}
}

/* All that go, go before any comes: BARs may change places. A loop's thread must not wait for handlers; its
 * writes to config space, which no guest makes, take effect with the next that is not its own. */
void vdb__bars_decode(struct vdb_pci *pci)
{
	if (vdb__on_loop_thread())
		return;
	each_bar(pci, false);
	each_bar(pci, true);
}

/* ---- Windows in config space ---- */

static bool reaches(const struct vdb__pci_function *function, uint32_t bar, uint64_t offset, uint32_t len)
{
	const struct vdb__bar *b = bar < VDB__PCI_BARS ? &function->identity.bars[bar] : NULL;

	return b && b->kind && (len == 1 || len == 2 || len == 4) && offset % len == 0 && offset < b->len &&
	       len <= b->len - offset;
}

void vdb__pci_bar_read(struct vdb__pci_function *function, uint32_t bar, uint64_t offset, void *data,
                       uint32_t len)
{
	struct vdb_bus_access access = {.offset = offset, .len = len, .data = data};

	if (!reaches(function, bar, offset, len) || !function->identity.bars[bar].ops->read)
		return;
	memset(data, 0, len);
	function->identity.bars[bar].ops->read(function, &access);
}

void vdb__pci_bar_write(struct vdb__pci_function *function, uint32_t bar, uint64_t offset, const void *data,
                        uint32_t len)
{
	uint8_t own[4];
	struct vdb_bus_access access = {.offset = offset, .len = len, .data = own};

	if (!reaches(function, bar, offset, len) || !function->identity.bars[bar].ops->write)
		return;
	memcpy(own, data, len);
	function->identity.bars[bar].ops->write(function, &access);
}
