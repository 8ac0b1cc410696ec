/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host bridge 00:00.0 and its bus: config space by ECAM and by ports 0xcf8/0xcfc. Slots that are
 * empty, functions beyond 0, and accesses that are no aligned 1, 2 or 4 bytes read
 * as all-ones and write nowhere. There is no extended config space: it reads as zeroes.
 */
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "base/thread.h"
#include "pci/host.h"

#define CONFIG_PORTS 0xcf8u /* address, and data at +4 */
#define CONFIG_PORTS_LEN 8u
#define DATA_PORT 4u
#define ADDRESS_ENABLE 0x80000000u
#define CHIPS_BASE 0xfec00000u /* IOAPIC, LAPIC, firmware: no BAR up to 4 GiB */
#define FUNCTION_BYTES 4096u   /* of config space */
#define PORTS_END 0x10000u
#define PINS 24u /* of the IOAPIC */
#define LINES 4u /* of INTx */

/* Where a config access goes. */
struct place {
	uint32_t slot, function, offset;
};

static void access_config(struct vdb_pci *pci, struct place at, struct vdb_bus_access *access, bool write)
{
	struct vdb__pci_function *function = at.function ? NULL : pci->slots[at.slot];
	uint32_t len = access->len;

	if (!function || len > 4 || at.offset % len) {
		if (!write)
			memset(access->data, 0xff, len);
		return;
	}
	if (at.offset >= VDB__PCI_CONFIG)
		return;
	if (write)
		vdb__pci_config_write(function, at.offset, access->data, len);
	else
		vdb__pci_config_read(function, at.offset, access->data, len);
}

static void ecam_access(struct vdb_pci *pci, struct vdb_bus_access *access, bool write)
{
	uint32_t offset = (uint32_t)access->offset;
	struct place at = {offset >> 15, offset >> 12 & 7, offset % FUNCTION_BYTES};

	pthread_mutex_lock(&pci->lock);
	access_config(pci, at, access, write);
	pthread_mutex_unlock(&pci->lock);
}

static void ecam_read(void *ctx, struct vdb_bus_access *access)
{
	ecam_access(ctx, access, false);
}

static void ecam_write(void *ctx, struct vdb_bus_access *access)
{
	ecam_access(ctx, access, true);
}

/* The address register is there for whole dwords only; other accesses would be another device's. */
static void address_access(struct vdb_pci *pci, struct vdb_bus_access *access, bool write)
{
	if (access->offset || access->len != 4) {
		if (!write)
			memset(access->data, 0xff, access->len);
	} else if (write) {
		memcpy(&pci->address, access->data, 4);
		pci->address &= ~0x7f000003u; /* reserved bits read as zeroes */
	} else {
		memcpy(access->data, &pci->address, 4);
	}
}

static void data_access(struct vdb_pci *pci, struct vdb_bus_access *access, bool write)
{
	uint32_t address = pci->address, byte = (uint32_t)access->offset - DATA_PORT;
	struct place at = {address >> 11 & 31, address >> 8 & 7, (address & 0xfc) + byte};

	/* Another bus, or not a config access at all: as a function that is not there. */
	if (!(address & ADDRESS_ENABLE) || (address >> 16 & 0xff) || byte + access->len > 4)
		at.function = 1;
	access_config(pci, at, access, write);
}

static void ports_access(struct vdb_pci *pci, struct vdb_bus_access *access, bool write)
{
	pthread_mutex_lock(&pci->lock);
	if (access->offset < DATA_PORT)
		address_access(pci, access, write);
	else
		data_access(pci, access, write);
	pthread_mutex_unlock(&pci->lock);
}

static void ports_read(void *ctx, struct vdb_bus_access *access)
{
	ports_access(ctx, access, false);
}

static void ports_write(void *ctx, struct vdb_bus_access *access)
{
	ports_access(ctx, access, true);
}

static const struct vdb_bus_ops ecam_ops = {.size = sizeof(ecam_ops), .read = ecam_read, .write = ecam_write};
static const struct vdb_bus_ops ports_ops = {
        .size = sizeof(ports_ops), .read = ports_read, .write = ports_write};

/* ---- Functions come and go ---- */

static int choose_slot(const struct vdb_pci *pci, const struct vdb__pci_function *function, uint32_t *slot)
{
	if (*slot >= VDB__PCI_SLOTS)
		return vdb__fail(EINVAL, "pci function '%s': slot %u; 1 to %u", function->ops->name, *slot,
		                 VDB__PCI_SLOTS - 1);
	if (*slot && pci->slots[*slot])
		return vdb__fail(EBUSY, "pci function '%s': slot %u has '%s'", function->ops->name, *slot,
		                 pci->slots[*slot]->ops->name);
	for (uint32_t s = 1; s < VDB__PCI_SLOTS && !*slot; s++) {
		if (!pci->slots[s])
			*slot = s;
	}
	return *slot ? 0 : vdb__fail(ENOSPC, "pci function '%s': no slot is free", function->ops->name);
}

int vdb__pci_function_add(struct vdb__pci_function *function, struct vdb_pci *pci, uint32_t slot)
{
	int err;

	pthread_mutex_lock(&pci->lock);
	err = choose_slot(pci, function, &slot);
	if (!err) {
		function->pci = pci;
		function->slot = slot;
		pci->slots[slot] = function;
		err = vdb__bars_assign(pci, function);
		if (!err)
			err = vdb__intx_init(function);
		if (err)
			pci->slots[slot] = NULL;
	}
	if (err)
		function->pci = NULL;
	pthread_mutex_unlock(&pci->lock);
	return err;
}

void vdb__pci_function_drop(struct vdb__pci_function *function)
{
	struct vdb_pci *pci = function->pci;

	if (pci) {
		pthread_mutex_lock(&pci->lock);
		vdb__pci_put(function, PCI_COMMAND, 2, 0);
		vdb__bars_decode(pci);
		pci->slots[function->slot] = NULL;
		pthread_mutex_unlock(&pci->lock);
		function->pci = NULL;
	}
	vdb__intx_drop(function);
	vdb__msix_destroy(function->msix);
	function->msix = NULL;
	if (function->ready)
		pthread_mutex_destroy(&function->intx_lock);
	function->ready = false;
}

struct vdb_vm *vdb__pci_vm(const struct vdb_pci *pci)
{
	return pci->vm;
}

/* ---- The bridge ---- */

static const struct vdb__pci_function_ops bridge_ops = {.name = "pci host bridge"};
static const struct vdb__pci_identity bridge_identity = {
        .vendor = 0x1b36, /* a generic PCIe host bridge: systems have no driver and no workaround for it */
        .device = 0x0008,
        .class_code = 6, /* a bridge, subclass 0: host */
};

static void fill_defaults(struct vdb_pci_config *config)
{
	config->intx_gsi = config->intx_gsi ? config->intx_gsi : 16;
	config->ecam = config->ecam ? config->ecam : 0xe0000000;
	config->mem32 = config->mem32 ? config->mem32 : 0xc0000000;
	config->mem32_len = config->mem32_len ? config->mem32_len : 0x10000000;
	config->mem64 = config->mem64 ? config->mem64 : 0x8000000000;
	config->mem64_len = config->mem64_len ? config->mem64_len : 0x100000000;
	config->io = config->io ? config->io : 0xc000;
	config->io_len = config->io_len ? config->io_len : 0x1000;
}

/* Whole pages, clear of the interrupt controllers. */
static int check_window(const char *what, uint64_t base, uint64_t len)
{
	if (base % VDB_PAGE_SIZE || len % VDB_PAGE_SIZE || base + len < base ||
	    (base < 0x100000000 && base + len > CHIPS_BASE))
		return vdb__fail(
		        EINVAL,
		        "pci: %s [%#llx, +%#llx): whole pages, below %#x or above 4 GiB, are possible", what,
		        (unsigned long long)base, (unsigned long long)len, CHIPS_BASE);
	return 0;
}

static int check(const struct vdb_pci_config *config)
{
	int err = check_window("ecam", config->ecam, VDB_PCI_ECAM_BYTES);

	if (!err && config->ecam % VDB_PCI_ECAM_BYTES)
		err = vdb__fail(EINVAL, "pci: ecam at %#llx: not a multiple of 1 MiB",
		                (unsigned long long)config->ecam);
	if (!err)
		err = check_window("mem32", config->mem32, config->mem32_len);
	if (!err && (config->mem32 >= CHIPS_BASE || (config->mem32_len & (config->mem32_len - 1))))
		err = vdb__fail(EINVAL, "pci: mem32 [%#llx, +%#llx): a power of two below 4 GiB is possible",
		                (unsigned long long)config->mem32, (unsigned long long)config->mem32_len);
	if (!err)
		err = check_window("mem64", config->mem64, config->mem64_len);
	if (!err && config->mem64 < config->mem32 + config->mem32_len &&
	    config->mem32 < config->mem64 + config->mem64_len)
		err = vdb__fail(EINVAL, "pci: mem32 and mem64 overlap at %#llx",
		                (unsigned long long)config->mem64);
	if (!err && (uint32_t)config->io + config->io_len > PORTS_END)
		err = vdb__fail(EINVAL, "pci: ports [%#x, +%#x) go beyond the last", config->io,
		                config->io_len);
	if (!err && config->loop && config->intx_gsi > PINS - LINES)
		err = vdb__fail(EINVAL, "pci: intx_gsi %u: four pins of the IOAPIC from there on; 1 to %u",
		                config->intx_gsi, PINS - LINES);
	return err;
}

/* BARs claim what they need of a window when they decode: that it is empty now is all that is asked here. */
static int probe(struct vdb_bus *bus, const char *what, const struct vdb__window *window)
{
	int err = vdb_bus_add(bus, what, window->base, window->len, &ecam_ops, NULL);

	return err ? err : vdb_bus_remove(bus, window->base);
}

static int claim(struct vdb_pci *pci)
{
	int err;

	err = vdb_bus_add(pci->mmio, "pci ecam", pci->config.ecam, VDB_PCI_ECAM_BYTES, &ecam_ops, pci);
	if (err)
		return err;
	pci->ecam_claimed = true;
	err = vdb_bus_add(pci->pio, "pci config ports", CONFIG_PORTS, CONFIG_PORTS_LEN, &ports_ops, pci);
	if (err)
		return err;
	pci->ports_claimed = true;
	err = probe(pci->mmio, "pci mem32 window", &pci->mem32);
	if (!err)
		err = probe(pci->mmio, "pci mem64 window", &pci->mem64);
	return err ? err : probe(pci->pio, "pci io window", &pci->io);
}

static void destroy(struct vdb_pci *pci)
{
	if (pci->ecam_claimed)
		pci->ecam_claimed = vdb_bus_remove(pci->mmio, pci->config.ecam) != 0;
	if (pci->ports_claimed)
		pci->ports_claimed = vdb_bus_remove(pci->pio, CONFIG_PORTS) != 0;
	vdb__pci_function_drop(&pci->bridge);
	pthread_mutex_destroy(&pci->lock);
	free(pci);
}

int vdb__pci_create_on(struct vdb_vm *vm, struct vdb_bus *mmio, struct vdb_bus *pio,
                       const struct vdb_pci_config *config, struct vdb_pci **out)
{
	struct vdb_pci *pci = calloc(1, sizeof(*pci));
	int err;

	if (!pci)
		return vdb__fail(ENOMEM, "pci: no memory");
	pthread_mutex_init(&pci->lock, NULL);
	pci->vm = vm;
	pci->mmio = mmio;
	pci->pio = pio;
	err = vdb__config_take(&pci->config, sizeof(pci->config), config, "vdb_pci_config");
	if (!err) {
		fill_defaults(&pci->config);
		err = check(&pci->config);
	}
	pci->mem32 = (struct vdb__window){pci->config.mem32, pci->config.mem32_len};
	pci->mem64 = (struct vdb__window){pci->config.mem64, pci->config.mem64_len};
	pci->io = (struct vdb__window){pci->config.io, pci->config.io_len};
	if (!err)
		err = vdb__pci_function_init(&pci->bridge, vm, &bridge_ops, &bridge_identity);
	if (!err) {
		pci->bridge.pci = pci;
		pci->slots[0] = &pci->bridge;
		err = claim(pci);
	}
	if (err) {
		destroy(pci);
		return err;
	}
	*out = pci;
	return 0;
}

VDB_EXPORT int vdb_pci_create(struct vdb_vm *vm, const struct vdb_pci_config *config, struct vdb_pci **out)
{
	return vdb__pci_create_on(vm, vdb_vm_mmio(vm), vdb_vm_pio(vm), config, out);
}

VDB_EXPORT int vdb_pci_destroy(struct vdb_pci *pci)
{
	if (!pci)
		return 0;
	if (vdb__on_loop_thread())
		return vdb__fail(EDEADLK,
		                 "pci: a loop's thread must not wait for vCPUs; destroy it elsewhere");
	for (uint32_t s = 1; s < VDB__PCI_SLOTS; s++) {
		if (pci->slots[s])
			return vdb__fail(EBUSY, "pci: '%s' is in slot %u; destroy it first",
			                 pci->slots[s]->ops->name, s);
	}
	destroy(pci);
	return 0;
}

VDB_EXPORT int vdb_pci_query(const struct vdb_pci *pci, struct vdb_pci_config *config)
{
	return vdb__stats_give(config, &pci->config, sizeof(pci->config), "vdb_pci_config");
}
