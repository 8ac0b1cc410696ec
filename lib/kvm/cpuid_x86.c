/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/error.h"
#include "base/export.h"
#include "kvm/cpuid.h"
#include "kvm/vm.h"

/* KVM takes no more. */
#define MAX_ENTRIES 256u

#define MAX_CORES 4096u

#define LEAF_FEATURES 1u
#define HYPERVISOR_BIT (1u << 31)   /* of leaf 1's ecx */
#define TSC_DEADLINE_BIT (1u << 24) /* the same */
#define LEAF_TOPOLOGY 0xbu
#define LEAF_TOPOLOGY2 0x1fu
#define LEAF_AMD_TOPOLOGY 0x8000001eu

static size_t table_bytes(uint32_t entries)
{
	return sizeof(struct kvm_cpuid2) + entries * sizeof(struct kvm_cpuid_entry2);
}

int vdb__arch_host_init(struct vdb_kvm *kvm)
{
	struct vdb__arch_host *host = calloc(1, sizeof(*host) + table_bytes(MAX_ENTRIES)), *small;

	kvm->arch = host;
	if (!host)
		return vdb__fail(ENOMEM, "cpuid: no memory");
	host->cpuid.nent = MAX_ENTRIES;
	if (ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, &host->cpuid))
		return vdb__fail_sys(errno, "cpuid: KVM_GET_SUPPORTED_CPUID");
	host->deadline_timer = ioctl(kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	small = realloc(host, sizeof(*host) + table_bytes(host->cpuid.nent));
	if (small)
		kvm->arch = small;
	return 0;
}

static struct kvm_cpuid2 *new_table(void)
{
	struct kvm_cpuid2 *table = calloc(1, table_bytes(MAX_ENTRIES));

	if (table)
		table->nent = MAX_ENTRIES;
	else
		vdb__fail(ENOMEM, "cpuid: no memory");
	return table;
}

/* What this processor's number changes. */
static void set_apic_id(struct kvm_cpuid_entry2 *entry, uint32_t id)
{
	switch (entry->function) {
	case LEAF_FEATURES:
		entry->ebx = (entry->ebx & 0x00ffffffu) | (id & 0xffu) << 24;
		entry->ecx |= HYPERVISOR_BIT;
		break;
	case LEAF_TOPOLOGY:
	case LEAF_TOPOLOGY2:
		entry->edx = id;
		break;
	case LEAF_AMD_TOPOLOGY:
		entry->eax = id;
		break;
	default:
		break;
	}
}

static bool matches(const struct kvm_cpuid_entry2 *entry, uint32_t leaf, uint32_t subleaf)
{
	if (entry->function != leaf)
		return false;
	return subleaf == VDB_CPUID_ANY_SUBLEAF || !(entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) ||
	       entry->index == subleaf;
}

static void change(struct kvm_cpuid_entry2 *entry, const struct vdb_cpuid_override *override)
{
	entry->eax = (entry->eax & override->and_mask[0]) | override->or_mask[0];
	entry->ebx = (entry->ebx & override->and_mask[1]) | override->or_mask[1];
	entry->ecx = (entry->ecx & override->and_mask[2]) | override->or_mask[2];
	entry->edx = (entry->edx & override->and_mask[3]) | override->or_mask[3];
}

/* A leaf that KVM does not support starts from zeroes. */
static int add_entry(struct kvm_cpuid2 *table, const struct vdb_cpuid_override *override)
{
	struct kvm_cpuid_entry2 *entry;

	if (table->nent == MAX_ENTRIES)
		return vdb__fail(EINVAL, "cpuid: more than %u entries", MAX_ENTRIES);
	entry = &table->entries[table->nent++];
	memset(entry, 0, sizeof(*entry));
	entry->function = override->leaf;
	if (override->subleaf != VDB_CPUID_ANY_SUBLEAF) {
		entry->index = override->subleaf;
		entry->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	}
	change(entry, override);
	return 0;
}

static int apply_override(struct kvm_cpuid2 *table, const struct vdb_cpuid_override *override)
{
	bool found = false;

	for (uint32_t i = 0; i < table->nent; i++) {
		if (matches(&table->entries[i], override->leaf, override->subleaf)) {
			change(&table->entries[i], override);
			found = true;
		}
	}
	return found ? 0 : add_entry(table, override);
}

/* KVM leaves it to us, who know whether there is a local APIC of its. A guest that has this timer need not
 * measure the APIC's clock. */
static void set_deadline_timer(struct vdb_vm *vm, struct kvm_cpuid2 *table)
{
	bool there = vm->config.irqchip != VDB_IRQCHIP_NONE && vm->kvm->arch->deadline_timer;

	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &table->entries[i];

		if (entry->function == LEAF_FEATURES)
			entry->ecx = there ? entry->ecx | TSC_DEADLINE_BIT : entry->ecx & ~TSC_DEADLINE_BIT;
	}
}

/* All that KVM supports, then the policy, as processor `id` sees it. */
static int build(struct vdb_vm *vm, uint32_t id, struct kvm_cpuid2 *table)
{
	const struct kvm_cpuid2 *supported = &vm->kvm->arch->cpuid;
	int err = 0;

	memcpy(table, supported, table_bytes(supported->nent));
	for (uint32_t i = 0; i < table->nent; i++)
		set_apic_id(&table->entries[i], id);
	set_deadline_timer(vm, table);
	if (vm->policy.cores)
		vdb__topology_set(table, MAX_ENTRIES, vm->policy.cores, id);
	for (uint32_t i = 0; i < vm->policy.count && !err; i++)
		err = apply_override(table, &vm->policy.overrides[i]);
	return err;
}

int vdb__cpuid_apply(struct vdb_vcpu *vcpu)
{
	struct kvm_cpuid2 *table = new_table();
	int err;

	if (!table)
		return -ENOMEM;
	err = build(vcpu->vm, vcpu->index, table);
	if (!err && ioctl(vcpu->fd, KVM_SET_CPUID2, table))
		err = vdb__fail_sys(errno, "vCPU %u: KVM refuses its CPUID (vdb_cpuid_set)", vcpu->index);
	free(table);
	return err;
}

VDB_EXPORT int vdb_cpuid_set(struct vdb_vm *vm, const struct vdb_cpuid_override *overrides, uint32_t count)
{
	struct vdb_cpuid_override *own = NULL;

	if (!vdb__list_empty(&vm->life.vcpus))
		return vdb__fail(EBUSY, "cpuid: a vCPU exists already; set the policy before the first one");
	if (count > MAX_ENTRIES || (count && !overrides))
		return vdb__fail(EINVAL, "cpuid: %u overrides; give at most %u", count, MAX_ENTRIES);
	if (count) {
		own = malloc(count * sizeof(*own));
		if (!own)
			return vdb__fail(ENOMEM, "cpuid: no memory for %u overrides", count);
		memcpy(own, overrides, count * sizeof(*own));
	}
	free(vm->policy.overrides);
	vm->policy.overrides = own;
	vm->policy.count = count;
	return 0;
}

VDB_EXPORT int vdb_cpuid_topology(struct vdb_vm *vm, uint32_t cpus)
{
	if (!vdb__list_empty(&vm->life.vcpus))
		return vdb__fail(EBUSY,
		                 "cpuid: a vCPU exists already; set the topology before the first one");
	if (cpus > MAX_CORES)
		return vdb__fail(EINVAL, "cpuid: %u processors; %u are the most", cpus, MAX_CORES);
	vm->policy.cores = cpus;
	return 0;
}

/* A vCPU knows better than the policy: KVM may insist on some bits. */
static int read_table(struct vdb_vm *vm, struct kvm_cpuid2 *table)
{
	struct vdb_vcpu *first;

	if (vdb__list_empty(&vm->life.vcpus))
		return build(vm, 0, table);
	first = vdb__container(vm->life.vcpus.next, struct vdb_vcpu, link);
	if (ioctl(first->fd, KVM_GET_CPUID2, table))
		return vdb__fail_sys(errno, "cpuid: KVM_GET_CPUID2 of vCPU %u", first->index);
	return 0;
}

static int look_up(const struct kvm_cpuid2 *table, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	for (uint32_t i = 0; i < table->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &table->entries[i];

		if (!matches(entry, leaf, subleaf))
			continue;
		regs[0] = entry->eax;
		regs[1] = entry->ebx;
		regs[2] = entry->ecx;
		regs[3] = entry->edx;
		return 0;
	}
	return vdb__fail(ENOENT, "cpuid: no leaf %#x, subleaf %#x", leaf, subleaf);
}

VDB_EXPORT int vdb_cpuid_get(struct vdb_vm *vm, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	struct kvm_cpuid2 *table = new_table();
	int err;

	if (!table)
		return -ENOMEM;
	err = read_table(vm, table);
	if (!err)
		err = look_up(table, leaf, subleaf, regs);
	free(table);
	return err;
}
