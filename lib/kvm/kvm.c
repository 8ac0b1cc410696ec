/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "kvm/arch.h"
#include "kvm/host.h"

struct capability {
	int number;
	uint64_t feature; /* VDB_KVM_*, 0 if it is one that must be there */
	const char *name;
};

static const struct capability needed[] = {
        {KVM_CAP_USER_MEMORY, 0, "guest memory of user space (KVM_CAP_USER_MEMORY)"},
        {KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 0, "memory slots that can be removed"},
        {KVM_CAP_IOEVENTFD, 0, "doorbells (KVM_CAP_IOEVENTFD)"},
        {KVM_CAP_IRQFD, 0, "interrupts by eventfd (KVM_CAP_IRQFD)"},
        {KVM_CAP_IMMEDIATE_EXIT, 0, "KVM_CAP_IMMEDIATE_EXIT (Linux 4.12)"},
};

static const struct capability optional[] = {
        {KVM_CAP_IRQCHIP, VDB_KVM_IRQCHIP, "an in-kernel interrupt controller (KVM_CAP_IRQCHIP)"},
        {KVM_CAP_SPLIT_IRQCHIP, VDB_KVM_SPLIT_IRQCHIP, "a split irqchip (KVM_CAP_SPLIT_IRQCHIP)"},
        {KVM_CAP_IRQFD_RESAMPLE, VDB_KVM_IRQFD_RESAMPLE,
         "level interrupts by eventfd (KVM_CAP_IRQFD_RESAMPLE)"},
        {KVM_CAP_READONLY_MEM, VDB_KVM_READONLY_MEM, "read-only guest memory (KVM_CAP_READONLY_MEM)"},
        {KVM_CAP_IOEVENTFD_ANY_LENGTH, VDB_KVM_IOEVENTFD_ANY, "ioeventfds of any width"},
        {KVM_CAP_SIGNAL_MSI, VDB_KVM_MSI, "message-signalled interrupts (KVM_CAP_SIGNAL_MSI)"},
        {KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, VDB_KVM_DIRTY_LOG_PROTECT, "manual dirty log protection"},
        {KVM_CAP_XSAVE, VDB_KVM_XSAVE, "KVM_CAP_XSAVE"},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static int capability(const struct vdb_kvm *kvm, int number)
{
	return ioctl(kvm->fd, KVM_CHECK_EXTENSION, number);
}

static uint32_t limit(const struct vdb_kvm *kvm, int number, uint32_t otherwise)
{
	int value = capability(kvm, number);

	return value > 0 ? (uint32_t)value : otherwise;
}

static int open_failed(int err, const char *path)
{
	if (err == ENOENT)
		return vdb__fail(ENOENT,
		                 "%s does not exist; load kvm_intel or kvm_amd, and if that fails enable "
		                 "virtualization in the firmware or the outer hypervisor",
		                 path);
	if (err == EACCES || err == EPERM)
		return vdb__fail(EACCES, "%s: no permission; join its group (usually 'kvm') or run as root",
		                 path);
	return vdb__fail_sys(err, "%s cannot be opened", path);
}

static int probe_needed(const struct vdb_kvm *kvm, const char *path)
{
	if (kvm->info.api_version != KVM_API_VERSION)
		return vdb__fail(ENOTSUP, "%s speaks KVM API version %u; libvdb needs %d", path,
		                 kvm->info.api_version, KVM_API_VERSION);
	for (size_t i = 0; i < COUNT(needed); i++) {
		if (capability(kvm, needed[i].number) <= 0)
			return vdb__fail(ENOTSUP, "%s lacks %s; use a newer kernel", path, needed[i].name);
	}
	return 0;
}

static void probe_optional(struct vdb_kvm *kvm)
{
	int value;

	for (size_t i = 0; i < COUNT(optional); i++) {
		if (capability(kvm, optional[i].number) > 0)
			kvm->info.features |= optional[i].feature;
	}
	kvm->info.size = sizeof(kvm->info);
	kvm->info.max_vcpus = limit(kvm, KVM_CAP_MAX_VCPUS, limit(kvm, KVM_CAP_NR_VCPUS, 4));
	kvm->info.max_memslots = limit(kvm, KVM_CAP_NR_MEMSLOTS, 32);
	kvm->info.max_gsi_routes = limit(kvm, KVM_CAP_IRQ_ROUTING, 0);
	kvm->xsave_bytes = limit(kvm, KVM_CAP_XSAVE2, 0);
	value = capability(kvm, KVM_CAP_DISABLE_QUIRKS2);
	kvm->quirks = value > 0 ? (uint64_t)value : 0;
}

static int probe(struct vdb_kvm *kvm, const char *path)
{
	int version = ioctl(kvm->fd, KVM_GET_API_VERSION, 0), bytes, err;

	if (version < 0)
		return vdb__fail(ENOTSUP, "%s is not a KVM device", path);
	kvm->info.api_version = (uint32_t)version;
	err = probe_needed(kvm, path);
	if (err)
		return err;
	bytes = ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (bytes < (int)sizeof(struct kvm_run))
		return vdb__fail(ENOTSUP, "%s: KVM_GET_VCPU_MMAP_SIZE gives %d, less than a struct kvm_run",
		                 path, bytes);
	kvm->run_bytes = (uint32_t)bytes;
	probe_optional(kvm);
	return vdb__arch_host_init(kvm);
}

VDB_EXPORT int vdb_kvm_open(const char *path, struct vdb_kvm **out)
{
	struct vdb_kvm *kvm = calloc(1, sizeof(*kvm));
	int err;

	if (!kvm)
		return vdb__fail(ENOMEM, "kvm: no memory");
	if (!path)
		path = "/dev/kvm";
	kvm->refs = 1;
	kvm->fd = open(path, O_RDWR | O_CLOEXEC);
	err = kvm->fd < 0 ? open_failed(errno, path) : probe(kvm, path);
	if (err) {
		vdb_kvm_close(kvm);
		return err;
	}
	*out = kvm;
	return 0;
}

VDB_EXPORT void vdb_kvm_close(struct vdb_kvm *kvm)
{
	if (!kvm || !vdb__ref_put(&kvm->refs))
		return;
	if (kvm->fd >= 0)
		close(kvm->fd);
	free(kvm->arch);
	free(kvm);
}

VDB_EXPORT int vdb_kvm_query(struct vdb_kvm *kvm, struct vdb_kvm_info *info)
{
	return vdb__stats_give(info, &kvm->info, sizeof(kvm->info), "vdb_kvm_info");
}

struct vdb_kvm *vdb__kvm_ref(struct vdb_kvm *kvm)
{
	vdb__ref_get(&kvm->refs);
	return kvm;
}

int vdb__kvm_require(const struct vdb_kvm *kvm, uint64_t features, const char *what)
{
	for (size_t i = 0; i < COUNT(optional); i++) {
		if (features & optional[i].feature & ~kvm->info.features)
			return vdb__fail(ENOTSUP, "%s: this host's KVM lacks %s", what, optional[i].name);
	}
	return 0;
}
