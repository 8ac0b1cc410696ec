/* SPDX-License-Identifier: Apache-2.0 */
#include "devices.h"

#include <string.h>

#include "caps.h"
#include "layout.h"
#include "net.h"
#include "run.h"
#include "tinyvmm.h"
#include "vsock.h"
#include "wait.h"

/* ---- Where they are ---- */

/* Lines that belong to nobody else. Without ACPI there is no power button, and what the guest knows
 * is the PC's 16 lines; with it, those beyond are free, too. */
static const uint32_t gsis_acpi[] = {16, 17, 18, 19, 20, 21, 22, 23, 5, 6, 7, 10, 11, 12, 14, 15};
static const uint32_t gsis_legacy[] = {5, 6, 7, 9, 10, 11, 12, 14, 15};

static uint32_t mmio_max(const struct run_options *o)
{
	return o->no_acpi ? sizeof(gsis_legacy) / sizeof(gsis_legacy[0])
	                  : sizeof(gsis_acpi) / sizeof(gsis_acpi[0]);
}

struct vdb_acpi_mmio devices_mmio(const struct run_options *options, uint32_t index)
{
	return (struct vdb_acpi_mmio){
	        .base = LAYOUT_MMIO + (vdb_gpa_t)index * VDB_VIRTIO_MMIO_BYTES,
	        .len = VDB_VIRTIO_MMIO_BYTES,
	        .gsi = options->no_acpi ? gsis_legacy[index] : gsis_acpi[index],
	};
}

int devices_check(const struct run_options *options)
{
	if (options->transport != TRANSPORT_MMIO || devices_count(options) <= mmio_max(options))
		return 0;
	return complain("%u virtio devices: --transport mmio has interrupts for %u; use pci",
	                devices_count(options), mmio_max(options));
}

static int create_pci(struct run *run)
{
	struct vdb_pci_config config = {
	        .size = sizeof(config),
	        .intx_gsi = LAYOUT_PCI_INTX,
	        .ecam = LAYOUT_PCI_ECAM,
	        .mem32 = LAYOUT_PCI_MEM32,
	        .mem32_len = LAYOUT_PCI_MEM32_BYTES,
	        .mem64 = LAYOUT_PCI_MEM64,
	        .mem64_len = LAYOUT_PCI_MEM64_BYTES,
	        .loop = run->loop,
	};

	return vdb_pci_create(run->vm, &config, &run->devices.pci);
}

static int place_pci(struct run *run, struct device *device)
{
	struct vdb_virtio_pci_config config = {
	        .size = sizeof(config),
	        .notify = run->options.notify,
	        .flags = run->options.no_msix ? VDB_VIRTIO_PCI_NO_MSIX : 0,
	};

	return vdb_virtio_pci_create(run->devices.pci, device->virtio, &config, &device->pci);
}

static int place_mmio(struct run *run, struct device *device, uint32_t index)
{
	struct vdb_acpi_mmio at = devices_mmio(&run->options, index);
	struct vdb_virtio_mmio_config config = {.size = sizeof(config), .base = at.base, .gsi = at.gsi};

	device->base = at.base;
	device->gsi = at.gsi;
	return vdb_virtio_mmio_create(run->vm, device->virtio, &config, &device->mmio);
}

/* ---- What they are ---- */

static void broken(void *arg, uint32_t queue, uint32_t reason)
{
	const struct device *device = arg;

	vdb_tenant_log(device->tenant, SAYS_BROKEN,
	               "%s: queue %u has been stopped: %s; the guest must reset the device", device->name,
	               queue, reason == VDB_REASON_HOST ? "the host failed" : "the guest broke the rules");
}

static struct vdb_virtio_config config_of(struct run *run, struct device *device, bool packed)
{
	device->tenant = run->devices.tenants[0];
	return (struct vdb_virtio_config){
	        .size = sizeof(struct vdb_virtio_config),
	        .flags = packed ? 0 : VDB_VIRTIO_NO_PACKED,
	        .mem = run->mem,
	        .broken = broken,
	        .broken_arg = device,
	};
}

struct vdb_virtio_config devices_on_first(struct run *run, struct device *device)
{
	struct vdb_virtio_config at = config_of(run, device, run->options.packed);

	at.loop = run->loop;
	at.tenant = run->devices.tenants[0];
	return at;
}

struct vdb_virtio_config devices_spread(struct run *run, struct device *device, uint32_t index, bool packed)
{
	struct vdb_virtio_config at = config_of(run, device, packed);
	uint32_t first = loops_for(&run->options.loops, index);

	at.loops = run->loops;
	at.tenants = run->devices.tenants;
	at.first_loop = first == VDB_PLACE_ANY ? 0 : first;
	return at;
}

static int create_disk(struct run *run, struct device *device, uint32_t index)
{
	const struct disk *disk = &run->options.disks[index];
	struct vdb_virtio_config at = devices_spread(run, device, index, disk->packed);
	struct vdb_blk_config config = {
	        .size = sizeof(config),
	        .queues = disk->queues,
	        .at = &at,
	        .backend = disk->backend,
	        .serial = disk->serial,
	        .write_through = disk->write_through,
	};

	device->name = disk->id;
	device->limit = at.limit = disk->limit;
	return vdb_blk_create(&config, &device->virtio);
}

static uint32_t disks(const struct run_options *options)
{
	return options->disk_count;
}

static int create_console(struct run *run, struct device *device, uint32_t index)
{
	const struct vdb_virtio_config at = devices_on_first(run, device); /* as the terminal */

	(void)index;
	device->name = "console";
	return vdb_console_create(&at, run->terminal, &device->virtio);
}

static uint32_t consoles(const struct run_options *options)
{
	return options->console;
}

static int create_rng(struct run *run, struct device *device, uint32_t index)
{
	const struct vdb_virtio_config at = devices_on_first(run, device);

	(void)index;
	device->name = "rng";
	return vdb_rng_create(&at, &device->virtio);
}

static uint32_t rngs(const struct run_options *options)
{
	return options->rng;
}

/* Disks first: the guest numbers them in this order. The console is behind them. */
static const struct kind {
	uint32_t (*count)(const struct run_options *options);
	int (*create)(struct run *run, struct device *device, uint32_t index);
} kinds[] = {
        {disks, create_disk},        {consoles, create_console},      {rngs, create_rng},
        {vsock_count, vsock_create}, {balloon_count, balloon_create}, {fs_count, fs_create},
        {net_count, net_create},     {pmem_count, pmem_create},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

uint32_t devices_count(const struct run_options *options)
{
	uint32_t count = 0;

	for (size_t i = 0; i < KINDS; i++)
		count += kinds[i].count(options);
	return count;
}

static int create(struct run *run, struct device *device, uint32_t index)
{
	const struct kind *kind = kinds;

	for (; index >= kind->count(&run->options); kind++)
		index -= kind->count(&run->options);
	return kind->create(run, device, index);
}

static int create_tenants(struct run *run)
{
	int err = 0;

	for (uint32_t i = 0; i < vdb_loops_count(run->loops) && !err; i++)
		err = vdb_tenant_create(vdb_loops_get(run->loops, i), &run->devices.tenants[i]);
	for (uint32_t i = 0; i < vdb_loops_count(run->loops) && !err; i++)
		err = vdb_tenant_limit(run->devices.tenants[i], run->limit);
	for (uint32_t i = 0; i < vdb_loops_count(run->loops) && !err; i++)
		err = caps_give(run, run->devices.tenants[i]);
	return err;
}

/* The library says which kind of device it is, but not which disk. */
static int complain_of(const struct device *device)
{
	const char *why = vdb_errmsg();
	size_t len = strlen(device->name);

	if (!strncmp(why, device->name, len) && why[len] == ':')
		return complain("%s", why);
	return complain("%s: %s", device->name, why);
}

int devices_create(struct run *run)
{
	struct devices *devices = &run->devices;
	bool pci = run->options.transport == TRANSPORT_PCI;

	if (create_tenants(run) || (pci && create_pci(run)))
		return complain("%s", vdb_errmsg());
	while (devices->count < devices_count(&run->options)) {
		uint32_t index = devices->count++;
		struct device *device = &devices->all[index];

		run->refused = create(run, device, index);
		if (run->refused || (pci ? place_pci(run, device) : place_mmio(run, device, index)))
			return complain_of(device);
	}
	return 0;
}

void devices_destroy(struct run *run)
{
	struct devices *devices = &run->devices;

	while (devices->count) {
		struct device *device = &devices->all[--devices->count];
		struct vdb_gate *gone;

		vdb_virtio_pci_destroy(device->pci);
		vdb_virtio_mmio_destroy(device->mmio);
		if (!device->virtio)
			continue;
		gone = wait_begin();
		vdb_virtio_destroy(device->virtio, wait_done, gone);
		wait_end(gone);
	}
	if (vdb_pci_destroy(devices->pci))
		complain("%s", vdb_errmsg());
	for (uint32_t i = 0; i < VDB_LOOPS_MAX; i++)
		vdb_tenant_destroy(devices->tenants[i]);
}

struct device *devices_disk(struct run *run, uint32_t disk)
{
	return &run->devices.all[disk];
}

struct device *devices_console(struct run *run)
{
	return run->options.console ? &run->devices.all[run->options.disk_count] : NULL;
}
