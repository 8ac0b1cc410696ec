/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio devices of a VM, and where the guest finds them. */
#ifndef TINYVMM_DEVICES_H
#define TINYVMM_DEVICES_H

#include <vdb/vdb.h>

#include "run_options.h"

#define DEVICES_MAX                                    \
	(RUN_MAX_DISKS + NET_MAX + FS_MAX + PMEM_MAX + \
	 4) /* disks, nets, folders, pmem; console, rng, vsock, balloon */

struct device {
	const char *name; /* in messages and statistics */
	struct vdb_virtio *virtio;
	struct vdb_tenant *tenant;    /* the VM: whose lines are about this device */
	struct vdb_limit *limit;      /* NULL: none */
	struct vdb_netdev *netdev;    /* of a network card */
	struct vdb_virtio_pci *pci;   /* one of these two */
	struct vdb_virtio_mmio *mmio; /* at base, gsi */
	vdb_gpa_t base;
	uint32_t gsi;
};

struct devices {
	struct device all[DEVICES_MAX];
	uint32_t count;
	struct vdb_pci *pci;                       /* NULL: virtio-mmio */
	struct vdb_tenant *tenants[VDB_LOOPS_MAX]; /* the VM, on each of the loops */
};

struct run;

/* How many there will be: whether there is room for them is known before anything is made.
 * 0, or -1 after a complaint. */
int devices_check(const struct run_options *options);

/* Makes all of them, each where it belongs. 0, or -1 after a complaint; in both cases
 * devices_destroy() cleans up. */
int devices_create(struct run *run);
void devices_destroy(struct run *run);

/* What the library is told of a device that runs on the first loop. */
struct vdb_virtio_config devices_on_first(struct run *run, struct device *device);

/* The same of one whose queues go to all loops. Pinned: those of device n of its kind begin on loop n. */
struct vdb_virtio_config devices_spread(struct run *run, struct device *device, uint32_t index, bool packed);

/* Of the disk number `disk`, as in the options. */
struct device *devices_disk(struct run *run, uint32_t disk);

/* NULL: none. */
struct device *devices_console(struct run *run);

/* GSI and address of virtio-mmio device number `index`: they are what they are before
 * the devices exist, since the command line may name them. */
struct vdb_acpi_mmio devices_mmio(const struct run_options *options, uint32_t index);
uint32_t devices_count(const struct run_options *options);

#endif
