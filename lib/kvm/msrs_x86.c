/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/error.h"
#include "kvm/msrs.h"
#include "kvm/vm.h"

/* Armed by its write, against the TSC and the APIC's mode: it is set last. */
#define MSR_TSC_DEADLINE 0x6e0u

/* One system call for so many; KVM takes no more than 255. */
#define BATCH 128u

/* A struct kvm_msrs with room: a flexible array must not be followed by anything. */
struct batch {
	uint32_t nmsrs;
	uint32_t pad;
	struct kvm_msr_entry entries[BATCH];
};
_Static_assert(offsetof(struct batch, entries) == sizeof(struct kvm_msrs), "laid out as KVM wants it");

static int index_list(struct vdb_vcpu *vcpu, struct kvm_msr_list **out)
{
	struct kvm_msr_list probe = {0}, *list;
	int err, fd = vcpu->vm->kvm->fd;

	/* E2BIG tells how many there are. */
	if (ioctl(fd, KVM_GET_MSR_INDEX_LIST, &probe) && errno != E2BIG)
		return vdb__fail_sys(errno, "KVM_GET_MSR_INDEX_LIST");
	list = calloc(1, sizeof(*list) + probe.nmsrs * sizeof(list->indices[0]));
	if (!list)
		return vdb__fail(ENOMEM, "MSRs: no memory for a list of %u", probe.nmsrs);
	list->nmsrs = probe.nmsrs;
	if (ioctl(fd, KVM_GET_MSR_INDEX_LIST, list)) {
		err = vdb__fail_sys(errno, "KVM_GET_MSR_INDEX_LIST");
		free(list);
		return err;
	}
	*out = list;
	return 0;
}

/* Reads entries[0..count), dropping those that this vCPU does not have; how many are left. */
static int64_t read_batch(struct vdb_vcpu *vcpu, struct kvm_msr_entry *entries, uint32_t count)
{
	struct batch batch = {0};
	uint32_t left = count, kept = 0;
	int n;

	memcpy(batch.entries, entries, count * sizeof(*entries));
	while (left) {
		batch.nmsrs = left;
		n = ioctl(vcpu->fd, KVM_GET_MSRS, &batch);
		if (n < 0)
			return vdb__fail_sys(errno, "vCPU %u: KVM_GET_MSRS", vcpu->index);
		if ((uint32_t)n > left)
			n = (int)left;
		memcpy(entries + kept, batch.entries, (uint32_t)n * sizeof(*entries));
		kept += (uint32_t)n;
		left -= (uint32_t)n;
		/* It stopped at one that cannot be read. */
		if (left) {
			left--;
			memmove(batch.entries, batch.entries + n + 1, left * sizeof(*entries));
		}
	}
	return kept;
}

/* In the order of the list, the TSC deadline at the end. */
static void fill_indices(struct kvm_msr_entry *entries, const struct kvm_msr_list *list)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < list->nmsrs; i++) {
		if (list->indices[i] != MSR_TSC_DEADLINE)
			entries[n++].index = list->indices[i];
	}
	if (n < list->nmsrs)
		entries[n].index = MSR_TSC_DEADLINE;
}

static int64_t read_all(struct vdb_vcpu *vcpu, struct kvm_msr_entry *entries, uint32_t count)
{
	int64_t kept = 0, n;

	for (uint32_t i = 0; i < count; i += BATCH) {
		uint32_t some = count - i < BATCH ? count - i : BATCH;

		/* What is kept never overtakes what is read. */
		memmove(entries + kept, entries + i, some * sizeof(*entries));
		n = read_batch(vcpu, entries + kept, some);
		if (n < 0)
			return n;
		kept += n;
	}
	return kept;
}

int64_t vdb__msrs_get(struct vdb_vcpu *vcpu, struct kvm_msr_entry **out)
{
	struct kvm_msr_list *list = NULL;
	struct kvm_msr_entry *entries;
	int err = index_list(vcpu, &list);
	int64_t n;

	if (!list)
		return err;
	entries = calloc(list->nmsrs + 1, sizeof(*entries));
	if (entries) {
		fill_indices(entries, list);
		n = read_all(vcpu, entries, list->nmsrs);
	} else {
		n = vdb__fail(ENOMEM, "MSRs: no memory for %u", list->nmsrs);
	}
	free(list);
	if (n < 0)
		free(entries);
	else
		*out = entries;
	return n;
}

/* Some MSRs cannot be written, not even with what they hold: that is no loss. */
static bool holds_already(struct vdb_vcpu *vcpu, const struct kvm_msr_entry *entry)
{
	struct batch batch = {.nmsrs = 1, .entries[0].index = entry->index};

	return ioctl(vcpu->fd, KVM_GET_MSRS, &batch) == 1 && batch.entries[0].data == entry->data;
}

int vdb__msrs_set(struct vdb_vcpu *vcpu, const struct kvm_msr_entry *entries, size_t count)
{
	struct batch batch = {0};
	size_t i = 0, some;
	int n;

	while (i < count) {
		some = count - i < BATCH ? count - i : BATCH;
		memcpy(batch.entries, entries + i, some * sizeof(*entries));
		batch.nmsrs = (uint32_t)some;
		n = ioctl(vcpu->fd, KVM_SET_MSRS, &batch);
		if (n < 0)
			return vdb__fail_sys(errno, "vCPU %u: KVM_SET_MSRS", vcpu->index);
		i += (size_t)n;
		if ((size_t)n == some)
			continue;
		if (!holds_already(vcpu, &entries[i]))
			return vdb__fail(EINVAL, "vCPU %u: KVM refuses %#llx for MSR %#x", vcpu->index,
			                 (unsigned long long)entries[i].data, entries[i].index);
		i++;
	}
	return 0;
}
