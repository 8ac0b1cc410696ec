/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "base/thread.h"
#include "kvm/arch.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

void vdb__vcpu_free(struct vdb_vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, vcpu->vm->kvm->run_bytes);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	free(vcpu);
}

static int check_index(struct vdb_vm *vm, uint32_t index)
{
	struct vdb__list *l;

	if (index >= vm->kvm->info.max_vcpus)
		return vdb__fail(EINVAL, "vCPU %u: this host's KVM has 0 to %u", index,
		                 vm->kvm->info.max_vcpus - 1);
	for (l = vm->life.vcpus.next; l != &vm->life.vcpus; l = l->next) {
		if (vdb__container(l, struct vdb_vcpu, link)->index == index)
			return vdb__fail(EEXIST, "vCPU %u exists already", index);
	}
	return 0;
}

static int open_vcpu(struct vdb_vcpu *vcpu)
{
	struct vdb_vm *vm = vcpu->vm;
	void *run;

	if (vcpu->fd < 0)
		vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)vcpu->index);
	if (vcpu->fd < 0)
		return vdb__fail_sys(errno, "vCPU %u: KVM_CREATE_VCPU", vcpu->index);
	if (vcpu->run)
		return vdb__arch_vcpu_init(vcpu);
	run = mmap(NULL, vm->kvm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED)
		return vdb__fail_sys(errno, "vCPU %u: its run area cannot be mapped", vcpu->index);
	vcpu->run = run;
	return vdb__arch_vcpu_init(vcpu);
}

/* A new one, or what is left of an earlier attempt. */
static struct vdb_vcpu *obtain(struct vdb_vm *vm, uint32_t index)
{
	struct vdb_vcpu *vcpu;
	struct vdb__list *l;

	for (l = vm->spares.next; l != &vm->spares; l = l->next) {
		vcpu = vdb__container(l, struct vdb_vcpu, link);
		if (vcpu->index == index) {
			vdb__list_remove(l);
			return vcpu;
		}
	}
	vcpu = calloc(1, sizeof(*vcpu));
	if (vcpu) {
		vdb__list_init(&vcpu->link);
		vcpu->vm = vm;
		vcpu->index = index;
		vcpu->fd = -1;
	}
	return vcpu;
}

VDB_EXPORT int vdb_vcpu_create(struct vdb_vm *vm, uint32_t index, struct vdb_vcpu **out)
{
	struct vdb_vcpu *vcpu;
	int err = check_index(vm, index);

	if (err)
		return err;
	vcpu = obtain(vm, index);
	if (!vcpu)
		return vdb__fail(ENOMEM, "vCPU %u: no memory", index);
	err = open_vcpu(vcpu);
	if (err) {
		/* KVM has no way to take a vCPU back, and gives no second one for its index. */
		vdb__list_append(&vm->spares, &vcpu->link);
		return err;
	}
	pthread_mutex_lock(&vm->life.lock);
	vdb__list_append(&vm->life.vcpus, &vcpu->link);
	pthread_mutex_unlock(&vm->life.lock);
	*out = vcpu;
	return 0;
}

VDB_EXPORT uint32_t vdb_vcpu_index(const struct vdb_vcpu *vcpu)
{
	return vcpu->index;
}

static void *thread_main(void *arg)
{
	(void)vdb__vcpu_loop(arg);
	return NULL;
}

void vdb__vcpu_join(struct vdb_vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	if (pthread_equal(vcpu->starter, pthread_self()))
		pthread_detach(vcpu->starter);
	else
		pthread_join(vcpu->starter, NULL);
	vcpu->started = false;
}

VDB_EXPORT int vdb_vcpu_start(struct vdb_vcpu *vcpu, int cpu, const char *name)
{
	char own[16];
	const struct vdb__thread_config thread = {
	        .name = name ? name : own, .cpu = cpu, .kind = VDB_THREAD_VCPU};
	int err = vdb__life_claim(vcpu, true);

	if (err)
		return err;
	(void)snprintf(own, sizeof(own), "vcpu%u", vcpu->index);
	/* The new thread may run, and end, before its id is stored: nobody joins it, and the
	 * VM stays, until vdb__life_started(). */
	vdb__vcpu_join(vcpu);
	err = vdb__thread_start(&vcpu->starter, &thread, thread_main, vcpu);
	vcpu->started = !err;
	vdb__life_started(vcpu);
	if (err)
		vdb__life_leave(vcpu);
	return err;
}

VDB_EXPORT int vdb_vcpu_stats(const struct vdb_vcpu *vcpu, struct vdb_vcpu_stats *stats)
{
	struct vdb_vcpu_stats own = {
	        .size = sizeof(own),
	        .runs = vdb__load(&vcpu->stats.runs),
	        .exits_mmio = vdb__load(&vcpu->stats.exits_mmio),
	        .exits_pio = vdb__load(&vcpu->stats.exits_pio),
	        .exits_intr = vdb__load(&vcpu->stats.exits_intr),
	        .exits_other = vdb__load(&vcpu->stats.exits_other),
	        .unclaimed = vdb__load(&vcpu->stats.unclaimed),
	        .kicks = vdb__load(&vcpu->stats.kicks),
	};

	return vdb__stats_give(stats, &own, sizeof(own), "vdb_vcpu_stats");
}
