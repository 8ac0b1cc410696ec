/* SPDX-License-Identifier: Apache-2.0 */
#include "pci_rig.h"

#include <check.h>
#include <string.h>

static void bar_read(void *ctx, struct vdb_bus_access *access)
{
	struct pci_test_function *f = ctx;

	access->data[0] = (uint8_t)f->function.slot;
	if (access->len > 1)
		access->data[1] = (uint8_t)access->offset;
}

static void bar_write(void *ctx, struct vdb_bus_access *access)
{
	struct pci_test_function *f = ctx;

	f->writes++;
	f->offset = access->offset;
	f->len = access->len;
	f->value = 0;
	memcpy(&f->value, access->data, access->len);
}

static const struct vdb_bus_ops bar_ops = {.size = sizeof(bar_ops), .read = bar_read, .write = bar_write};

static void mapped(struct vdb__pci_function *function, uint32_t bar, uint64_t base)
{
	struct pci_test_function *f = (void *)function;

	f->mapped[bar] = base;
	f->moves++;
}

static void cap_write(struct vdb__pci_function *function, uint32_t cap, uint32_t offset, const void *data,
                      uint32_t len)
{
	struct pci_test_function *f = (void *)function;

	f->cap = cap;
	f->cap_offset = offset;
	f->cap_len = len;
	f->value = 0;
	memcpy(&f->value, data, len);
	f->cap_writes++;
}

static void cap_read(struct vdb__pci_function *function, uint32_t cap, uint32_t offset, void *data,
                     uint32_t len)
{
	(void)function, (void)cap, (void)len;
	if (offset == 8)
		*(uint8_t *)data = 0x77;
}

static void master(struct vdb__pci_function *function, bool on)
{
	struct pci_test_function *f = (void *)function;

	f->master = on;
	f->masters++;
}

static const struct vdb__pci_function_ops ops = {
        .name = "test function",
        .mapped = mapped,
        .cap_read = cap_read,
        .cap_write = cap_write,
        .master = master,
};

void pci_rig_make(struct pci_rig *rig)
{
	ck_assert_int_eq(vdb_bus_create(&rig->mmio), 0);
	ck_assert_int_eq(vdb_bus_create(&rig->pio), 0);
	ck_assert_int_eq(vdb__pci_create_on(NULL, rig->mmio, rig->pio, NULL, &rig->pci), 0);
}

void pci_rig_end(struct pci_rig *rig)
{
	ck_assert_int_eq(vdb_pci_destroy(rig->pci), 0);
	vdb_bus_destroy(rig->mmio);
	vdb_bus_destroy(rig->pio);
}

void pci_test_function_add(struct pci_rig *rig, struct pci_test_function *f, uint32_t slot, uint32_t vectors)
{
	struct vdb__pci_identity identity = {
	        .vendor = 0x1234,
	        .device = 0x5678,
	        .subsystem_vendor = 0x4321,
	        .subsystem = 0x8765,
	        .revision = 3,
	        .class_code = 1,
	        .subclass = 2,
	        .prog_if = 4,
	        .bars[0] = {.kind = VDB__BAR_MEM32, .len = 0x2000, .ops = &bar_ops},
	        .bars[2] = {.kind = VDB__BAR_MEM64, .len = 0x10000, .prefetchable = true, .ops = &bar_ops},
	        .bars[4] = {.kind = VDB__BAR_IO, .len = 16, .ops = &bar_ops},
	        .vectors = vectors,
	        .msix_bar = 1,
	};

	if (vectors)
		identity.bars[1].kind = VDB__BAR_MEM32;
	memset(f, 0, sizeof(*f));
	for (uint32_t i = 0; i < VDB__PCI_BARS; i++)
		f->mapped[i] = VDB_GPA_ANY;
	ck_assert_int_eq(vdb__pci_function_init(&f->function, NULL, &ops, &identity), 0);
	ck_assert_int_eq(vdb__pci_function_add(&f->function, rig->pci, slot), 0);
}

uint32_t pci_get(struct pci_rig *rig, uint32_t slot, uint32_t offset, uint32_t len)
{
	uint32_t value = 0;

	ck_assert_int_eq(vdb_bus_read(rig->mmio, NULL, PCI_TEST_ECAM + (slot << 15) + offset, &value, len),
	                 1);
	return value;
}

void pci_put(struct pci_rig *rig, uint32_t slot, uint32_t offset, uint32_t len, uint32_t value)
{
	ck_assert_int_eq(vdb_bus_write(rig->mmio, NULL, PCI_TEST_ECAM + (slot << 15) + offset, &value, len),
	                 1);
}

static void latch(struct pci_rig *rig, uint32_t bdf, uint32_t offset)
{
	uint32_t address = 0x80000000 | bdf << 8 | (offset & ~3u);

	ck_assert_int_eq(vdb_bus_write(rig->pio, NULL, 0xcf8, &address, 4), 1);
}

uint32_t pci_port_get(struct pci_rig *rig, uint32_t bdf, uint32_t offset, uint32_t len)
{
	uint32_t value = 0;

	latch(rig, bdf, offset);
	(void)vdb_bus_read(rig->pio, NULL, 0xcfc + offset % 4, &value, len);
	return value;
}

void pci_port_put(struct pci_rig *rig, uint32_t bdf, uint32_t offset, uint32_t len, uint32_t value)
{
	latch(rig, bdf, offset);
	(void)vdb_bus_write(rig->pio, NULL, 0xcfc + offset % 4, &value, len);
}

bool pci_rig_reads(struct vdb_bus *bus, uint64_t addr, uint32_t *value)
{
	return vdb_bus_read(bus, NULL, addr, value, 4);
}
