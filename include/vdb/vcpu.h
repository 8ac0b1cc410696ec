/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual CPU: runs on the caller's thread, or on one that the library starts
 * when asked. Freed by vdb_vm_destroy().
 */
#ifndef VDB_VCPU_H
#define VDB_VCPU_H

#include <stddef.h>
#include <vdb/gate.h>
#include <vdb/types.h>
#include <vdb/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_vcpu;

/* Index 0, 1, ... is also the APIC id. -EEXIST, -EINVAL beyond KVM's limit. Control
 * thread. Its CPUID is vdb_cpuid_set()'s, or all that KVM supports. */
VDB_MUST_CHECK int vdb_vcpu_create(struct vdb_vm *vm, uint32_t index, struct vdb_vcpu **out);

/* The index it was created with. Any thread. */
uint32_t vdb_vcpu_index(const struct vdb_vcpu *vcpu);

/*
 * Runs the guest on this thread until vdb_vm_stop(), vdb_vm_destroy(), or an
 * event handler that says VDB_EVENT_STOP. The VM's kick signal is blocked in
 * this thread meanwhile, and the thread's mask is restored. Returns 0; -EBUSY:
 * runs already. After a return that vdb_vm_destroy() caused the vCPU is gone.
 */
VDB_MUST_CHECK int vdb_vcpu_run(struct vdb_vcpu *vcpu);

/* vdb_vcpu_run() on a new thread named `name` (NULL = "vcpuN"), pinned to host
 * CPU `cpu` unless -1. -EBUSY: runs already; -EAGAIN: no thread; -EINVAL: no such CPU.
 * The thread ends by itself when the run does; vdb_vm_destroy(), or the next start, joins
 * it. Control threads, or the VM's completions; not a loop's thread, since that joining
 * waits for completions that the last run has yet to call. */
VDB_MUST_CHECK int vdb_vcpu_start(struct vdb_vcpu *vcpu, int cpu, const char *name);

/* Gets the vCPU out of the guest once, whatever it does there; it goes on by
 * itself unless asked to pause or stop. Any thread. */
void vdb_vcpu_kick(struct vdb_vcpu *vcpu);

/*
 * For bus handlers, on the vCPU's thread: waits at a gate. 0: open, *result is
 * set. -ECANCELED: the VM is being stopped; leave the handler. A pause is taken
 * here: the vCPU counts as parked while it waits, and goes on after the resume.
 */
VDB_MUST_CHECK int vdb_vcpu_wait(struct vdb_vcpu *vcpu, struct vdb_gate *gate, int64_t *result);

/* For bus handlers, on the vCPU's thread: tells the VM's event function what the guest asked for by this
 * access. If that says VDB_EVENT_STOP, the vCPU stops when the handler has returned and the access is
 * complete: run again, it goes on behind it. event->size, kind, data and text (NULL: the library's words) are
 * the caller's, the library fills in the rest. vcpu NULL (vdb_bus_access.vcpu of a host's access): nothing
 * happens. */
void vdb_vcpu_raise(struct vdb_vcpu *vcpu, const struct vdb_event *event);

/* Monotonic counters. Any thread, at no cost to the vCPU. */
struct vdb_vcpu_stats {
	uint32_t size;
	uint32_t reserved;
	uint64_t runs;       /* KVM_RUN returns, all reasons together */
	uint64_t exits_mmio; /* dispatched to the MMIO bus */
	uint64_t exits_pio;
	uint64_t exits_intr; /* kicked (or another signal) */
	uint64_t exits_other;
	uint64_t unclaimed; /* accesses that no range claimed */
	uint64_t kicks;     /* vdb_vcpu_kick() and the library's own */
};
VDB_MUST_CHECK int vdb_vcpu_stats(const struct vdb_vcpu *vcpu, struct vdb_vcpu_stats *stats);

/*
 * The whole architectural state (registers, FPU/XSAVE, MSRs, LAPIC, events,
 * debug, MP state) as a blob for a vCPU of this or another VM on the same
 * kind of host. *len: size of buf in, bytes used out; buf NULL asks for the size.
 * -EBUSY: the vCPU runs, or waits at a gate in the middle of an access: pause or stop
 * first. -ENOSPC: buf is too small. -EINVAL: not such a blob; nothing has changed then,
 * unless it is KVM that refuses what is in it.
 */
VDB_MUST_CHECK int vdb_vcpu_save(struct vdb_vcpu *vcpu, void *buf, size_t *len);
VDB_MUST_CHECK int vdb_vcpu_restore(struct vdb_vcpu *vcpu, const void *buf, size_t len);

#ifdef __cplusplus
}
#endif
#endif
