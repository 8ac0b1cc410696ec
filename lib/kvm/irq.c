/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vdb/irq.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "kvm/arch.h"
#include "kvm/event_fd.h"
#include "kvm/vm.h"

struct vdb_irq {
	struct vdb_vm *vm;
	uint32_t kind;
	int gsi; /* -1 = none yet */
	int fd, resample_fd;
	bool assigned;
};

static int check(const struct vdb_vm *vm, const struct vdb_irq_config *config)
{
	uint32_t irqchip = vm->config.irqchip;

	if (config->kind > VDB_IRQ_MSI)
		return vdb__fail(EINVAL, "irq: kind %u is none of VDB_IRQ_*", config->kind);
	if (irqchip == VDB_IRQCHIP_NONE)
		return vdb__fail(ENOTSUP, "irq: the VM has no in-kernel irqchip");
	if (config->kind == VDB_IRQ_MSI)
		return vdb__kvm_require(vm->kvm, VDB_KVM_MSI, "irq");
	if (irqchip != VDB_IRQCHIP_KERNEL)
		return vdb__fail(ENOTSUP, "irq: a split irqchip has no pins in the kernel; use MSIs");
	if (config->gsi >= VDB__PINS)
		return vdb__fail(EINVAL, "irq: GSI %u; the irqchip has 0 to %u", config->gsi, VDB__PINS - 1);
	if (config->kind == VDB_IRQ_LEVEL)
		return vdb__kvm_require(vm->kvm, VDB_KVM_IRQFD_RESAMPLE, "irq");
	return 0;
}

static int set_irqfd(const struct vdb_irq *irq, uint32_t flags)
{
	struct kvm_irqfd request = {
	        .fd = (uint32_t)irq->fd,
	        .gsi = (uint32_t)irq->gsi,
	        .flags = flags,
	        .resamplefd = irq->resample_fd >= 0 ? (uint32_t)irq->resample_fd : 0,
	};

	return ioctl(irq->vm->fd, KVM_IRQFD, &request) ? -errno : 0;
}

static int open_fds(struct vdb_irq *irq)
{
	irq->fd = vdb__event_fd("irq");
	if (irq->fd < 0)
		return irq->fd;
	if (irq->kind != VDB_IRQ_LEVEL)
		return 0;
	irq->resample_fd = vdb__event_fd("irq");
	return irq->resample_fd < 0 ? irq->resample_fd : 0;
}

static int build(struct vdb_irq *irq, const struct vdb_irq_config *config)
{
	int err = open_fds(irq);

	if (err)
		return err;
	irq->gsi = config->kind == VDB_IRQ_MSI
	                   ? vdb__route_add(irq->vm, config->msi_address, config->msi_data)
	                   : (int)config->gsi;
	if (irq->gsi < 0)
		return irq->gsi;
	err = set_irqfd(irq, irq->kind == VDB_IRQ_LEVEL ? KVM_IRQFD_FLAG_RESAMPLE : 0);
	if (err)
		return vdb__fail_sys(-err, "irq: KVM_IRQFD for GSI %d", irq->gsi);
	irq->assigned = true;
	return 0;
}

VDB_EXPORT int vdb_irq_create(struct vdb_vm *vm, const struct vdb_irq_config *config, struct vdb_irq **out)
{
	struct vdb_irq_config own;
	struct vdb_irq *irq;
	int err = vdb__config_take(&own, sizeof(own), config, "vdb_irq_config");

	if (!err)
		err = check(vm, &own);
	if (err)
		return err;
	irq = calloc(1, sizeof(*irq));
	if (!irq)
		return vdb__fail(ENOMEM, "irq: no memory");
	*irq = (struct vdb_irq){.vm = vm, .kind = own.kind, .gsi = -1, .fd = -1, .resample_fd = -1};
	vdb__fetch_add(&vm->attached, 1);
	err = build(irq, &own);
	if (err) {
		vdb_irq_destroy(irq);
		return err;
	}
	*out = irq;
	return 0;
}

VDB_EXPORT void vdb_irq_destroy(struct vdb_irq *irq)
{
	if (!irq)
		return;
	if (irq->assigned)
		(void)set_irqfd(irq, KVM_IRQFD_FLAG_DEASSIGN);
	if (irq->kind == VDB_IRQ_MSI && irq->gsi >= 0)
		vdb__route_remove(irq->vm, (uint32_t)irq->gsi);
	if (irq->fd >= 0)
		close(irq->fd);
	if (irq->resample_fd >= 0)
		close(irq->resample_fd);
	vdb__fetch_add(&irq->vm->attached, (uint32_t)-1);
	free(irq);
}

VDB_EXPORT int vdb_irq_retarget(struct vdb_irq *irq, uint64_t msi_address, uint32_t msi_data)
{
	if (irq->kind != VDB_IRQ_MSI)
		return vdb__fail(EINVAL, "irq: GSI %d is a pin, only an MSI can be sent elsewhere", irq->gsi);
	return vdb__route_change(irq->vm, (uint32_t)irq->gsi, msi_address, msi_data);
}

VDB_EXPORT int vdb_irq_fd(const struct vdb_irq *irq)
{
	return irq->fd;
}

VDB_EXPORT int vdb_irq_resample_fd(const struct vdb_irq *irq)
{
	return irq->resample_fd;
}

VDB_EXPORT uint32_t vdb_irq_gsi(const struct vdb_irq *irq)
{
	return (uint32_t)irq->gsi;
}
