/* SPDX-License-Identifier: Apache-2.0 */
#include "vpci_rig.h"

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <string.h>
#include <time.h>

#include "kvm_fixture.h"

uint64_t vpci_read(struct vpci_rig *rig, uint64_t addr, uint32_t len)
{
	uint64_t value = 0;

	(void)vdb_bus_read(vdb_vm_mmio(rig->vm), NULL, addr, &value, len);
	return value;
}

void vpci_write(struct vpci_rig *rig, uint64_t addr, uint32_t len, uint64_t value)
{
	(void)vdb_bus_write(vdb_vm_mmio(rig->vm), NULL, addr, &value, len);
}

uint32_t vpci_config(struct vpci_rig *rig, uint32_t offset, uint32_t len)
{
	return (uint32_t)vpci_read(rig, VPCI_ECAM + (VPCI_SLOT << 15) + offset, len);
}

void vpci_set_config(struct vpci_rig *rig, uint32_t offset, uint32_t len, uint32_t value)
{
	vpci_write(rig, VPCI_ECAM + (VPCI_SLOT << 15) + offset, len, value);
}

static uint64_t bar(struct vpci_rig *rig, uint32_t i)
{
	uint64_t low = vpci_config(rig, PCI_BASE_ADDRESS_0 + i * 4, 4);

	if (low & PCI_BASE_ADDRESS_SPACE_IO)
		return low & ~3ull;
	if (low & PCI_BASE_ADDRESS_MEM_TYPE_64)
		low |= (uint64_t)vpci_config(rig, PCI_BASE_ADDRESS_0 + i * 4 + 4, 4) << 32;
	return low & ~0xfull;
}

static void found(struct vpci_rig *rig, uint32_t cap)
{
	uint64_t at = bar(rig, vpci_config(rig, cap + VIRTIO_PCI_CAP_BAR, 1) % 6) +
	              vpci_config(rig, cap + VIRTIO_PCI_CAP_OFFSET, 4);

	switch (vpci_config(rig, cap + VIRTIO_PCI_CAP_CFG_TYPE, 1)) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		rig->common = at;
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		rig->isr = at;
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		rig->device = at;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		if (at < 0x10000)
			rig->ports = (uint32_t)at;
		else
			rig->pages = at;
		break;
	case VIRTIO_PCI_CAP_PCI_CFG:
		rig->window = cap;
		break;
	default:
		ck_abort_msg("capability at %#x", cap);
	}
}

void vpci_rig_find(struct vpci_rig *rig)
{
	uint32_t cap = vpci_config(rig, PCI_CAPABILITY_LIST, 1);

	rig->ports = rig->msix_cap = 0;
	for (; cap; cap = vpci_config(rig, cap + PCI_CAP_LIST_NEXT, 1)) {
		if (vpci_config(rig, cap, 1) == PCI_CAP_ID_VNDR)
			found(rig, cap);
		else
			rig->msix_cap = cap;
	}
	if (rig->msix_cap)
		rig->msix = bar(rig, vpci_config(rig, rig->msix_cap + PCI_MSIX_TABLE, 4));
}

void vpci_rig_make(struct vpci_rig *rig)
{
	struct vdb_pci_config pci = {.size = sizeof(pci)};

	memset(rig, 0, sizeof(*rig));
	virtio_rig_make(&rig->v, NULL);
	must(vdb_kvm_open(NULL, &rig->kvm));
	must(vdb_vm_create(rig->kvm, rig->v.ram.mem, NULL, &rig->vm));
	pci.loop = rig->v.loop;
	must(vdb_pci_create(rig->vm, &pci, &rig->pci));
}

void vpci_rig_open(struct vpci_rig *rig, const struct vdb_virtio_pci_config *config)
{
	vpci_rig_make(rig);
	must(vdb_virtio_pci_create(rig->pci, rig->v.device, config, &rig->vpci));
	ck_assert_uint_eq(vdb_virtio_pci_slot(rig->vpci), VPCI_SLOT);
	vpci_set_config(rig, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	vpci_rig_find(rig);
}

void vpci_rig_close(struct vpci_rig *rig)
{
	uint32_t gone = 0;

	vdb_virtio_pci_destroy(rig->vpci);
	must(vdb_pci_destroy(rig->pci));
	must(vdb_vm_destroy(rig->vm, count_done, &gone));
	wait_for32(&gone, 1);
	vdb_kvm_close(rig->kvm);
	virtio_rig_close(&rig->v);
}

/* ---- The device by its registers ---- */

static void set(struct vpci_rig *rig, uint32_t offset, uint32_t len, uint32_t value)
{
	vpci_write(rig, rig->common + offset, len, value);
}

void vpci_reset(struct vpci_rig *rig)
{
	const struct timespec nap = {.tv_nsec = 50000};

	set(rig, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	for (int i = 0; vpci_read(rig, rig->common + VIRTIO_PCI_COMMON_STATUS, 1); i++) {
		ck_assert_int_lt(i, 400000);
		nanosleep(&nap, NULL);
	}
}

static void accept_features(struct vpci_rig *rig, uint64_t features)
{
	for (uint32_t i = 0; i < 2; i++) {
		set(rig, VIRTIO_PCI_COMMON_GFSELECT, 4, i);
		set(rig, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> (i * 32)));
	}
}

static void set64(struct vpci_rig *rig, uint32_t offset, uint64_t value)
{
	set(rig, offset, 4, (uint32_t)value);
	set(rig, offset + 4, 4, (uint32_t)(value >> 32));
}

struct bell {
	struct vpci_rig *rig;
	uint32_t queue;
};

static struct bell bells[VRIG_QUEUES];

static void ring_bell(void *arg)
{
	const struct bell *bell = arg;

	vpci_write(bell->rig, bell->rig->pages + bell->queue * 4096, 2, bell->queue);
}

static void bring_queue(struct vpci_rig *rig, uint32_t queue, uint64_t features)
{
	struct virtq_driver *d = &rig->v.driver[queue];
	struct vdb_virtq_config config = {
	        .size = sizeof(config),
	        .flags = features & VRIG_BIT(VIRTIO_F_RING_PACKED) ? VDB_VIRTQ_PACKED : 0,
	        .entries = 16,
	        .desc = queue * VRIG_STRIDE,
	};

	virtio_rig_forget(&rig->v, queue);
	virtq_driver_open(d, &rig->v.ram, &config);
	bells[queue] = (struct bell){rig, queue};
	d->bell = ring_bell;
	d->bell_arg = &bells[queue];
	rig->v.driven[queue] = true;
	set(rig, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	set(rig, VIRTIO_PCI_COMMON_Q_SIZE, 2, 16);
	set64(rig, VIRTIO_PCI_COMMON_Q_DESCLO, d->config.desc);
	set64(rig, VIRTIO_PCI_COMMON_Q_AVAILLO, d->config.driver);
	set64(rig, VIRTIO_PCI_COMMON_Q_USEDLO, d->config.device);
	set(rig, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	ck_assert_uint_eq(vpci_read(rig, rig->common + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

void vpci_up(struct vpci_rig *rig, uint64_t features, uint32_t queues)
{
	vpci_reset(rig);
	set(rig, VIRTIO_PCI_COMMON_STATUS, 1, 1);
	set(rig, VIRTIO_PCI_COMMON_STATUS, 1, 3);
	accept_features(rig, features | VRIG_V1);
	set(rig, VIRTIO_PCI_COMMON_STATUS, 1, 0xb);
	for (uint32_t i = 0; i < queues; i++)
		bring_queue(rig, i, features);
	set(rig, VIRTIO_PCI_COMMON_STATUS, 1, 0xf);
	ck_assert_uint_eq(vpci_read(rig, rig->common + VIRTIO_PCI_COMMON_STATUS, 1), 0xf);
}
