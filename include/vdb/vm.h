/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine: its memory, its buses, its vCPUs' life.
 *
 * pause, stop and destroy are *requests with a completion*: callable from every
 * thread, a loop's own included, and they wait for no vCPU. `done(arg)` is
 * called once, on the thread that finished the work.
 */
#ifndef VDB_VM_H
#define VDB_VM_H

#include <vdb/bus.h>
#include <vdb/kvm.h>
#include <vdb/mem.h>
#include <vdb/types.h>
#include <vdb/worker.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_vm;

/* What happened; kinds that you do not know can be ignored. */
enum {
	VDB_EVENT_SHUTDOWN = 1,       /* triple fault */
	VDB_EVENT_SYSTEM = 2,         /* KVM_EXIT_SYSTEM_EVENT; data[0] = its type */
	VDB_EVENT_HALT = 3,           /* HLT without an in-kernel irqchip */
	VDB_EVENT_INTERNAL_ERROR = 4, /* KVM gave up; data[0] = suberror, data[1..] its words */
	VDB_EVENT_FAIL_ENTRY = 5,     /* data[0] = hardware reason */
	VDB_EVENT_UNKNOWN_EXIT = 6,   /* data[0] = exit reason */
	VDB_EVENT_RUN_FAILED = 7,     /* KVM_RUN returned an error; data[0] = errno */
	/* Raised by devices (vdb_vcpu_raise()): */
	VDB_EVENT_RESET = 8,    /* the guest asks to be reset */
	VDB_EVENT_POWEROFF = 9, /* the guest has powered off */
	VDB_EVENT_PANIC = 10,   /* data[0] = what it wrote to pvpanic */
	VDB_EVENT_EXIT = 11,    /* data[0] = what it wrote to debug-exit */
};

struct vdb_event {
	uint32_t size;
	uint32_t kind; /* VDB_EVENT_* */
	uint32_t vcpu; /* its index */
	uint32_t reserved;
	uint64_t rip; /* where the vCPU was, 0 if unknown */
	uint64_t data[4];
	const char *text; /* a sentence for people; valid during the call */
};

/* What the vCPU does next. */
enum {
	VDB_EVENT_STOP = 0,     /* vdb_vcpu_run() returns */
	VDB_EVENT_CONTINUE = 1, /* enter the guest again */
};

/* Called on the vCPU's thread. May call pause, stop and destroy. */
typedef int (*vdb_event_fn)(void *arg, const struct vdb_event *event);

enum {
	VDB_IRQCHIP_KERNEL = 0,
	VDB_IRQCHIP_SPLIT = 1,
	VDB_IRQCHIP_NONE = 2,
};

#define VDB_VM_PIT (1u << 0) /* i8254 timer (GSI 0) and port 0x61 in the kernel, with VDB_IRQCHIP_KERNEL */

struct vdb_vm_config {
	uint32_t size;
	uint32_t irqchip;    /* VDB_IRQCHIP_* */
	int32_t kick_signal; /* 0 = SIGRTMIN; blocked in vCPU threads, no handler is installed */
	uint32_t split_gsis; /* SPLIT: IOAPIC pins to reserve; 0 = 24 */
	vdb_event_fn event;  /* NULL: stop the vCPU */
	void *event_arg;
	/* Where vdb_doorbell_create() carves pages: `doorbell_pages` self-describing
	 * pages at doorbell_gpa, as many unbacked ones right behind. 0 = 0xd0000000 and 256. */
	vdb_gpa_t doorbell_gpa;
	uint32_t doorbell_pages;
	uint16_t doorbell_port;    /* first of doorbell_ports 4-byte ports; 0 = 0x6000 */
	uint16_t doorbell_ports;   /* 0 = 256 */
	struct vdb_worker *worker; /* runs what waits; NULL: see vdb_vm_destroy() */
	uint32_t flags;            /* VDB_VM_* */
	uint32_t reserved;
};

/*
 * A VM on `mem`, whose present and later regions become its memslots. Regions
 * that exist now are the cheap ones: with an irqchip, every later change of
 * memslots waits milliseconds. Control thread. config may be NULL.
 */
VDB_MUST_CHECK int vdb_vm_create(struct vdb_kvm *kvm, struct vdb_mem *mem, const struct vdb_vm_config *config,
                                 struct vdb_vm **out);

/*
 * Stops every vCPU, undoes what is registered in the kernel (doorbells, irqfds),
 * closes everything, frees the VM and its vCPUs, then calls done(arg) (may be
 * NULL). The close waits, also for those who just save or set a vCPU's state: it runs
 * on config.worker; without one, on the last vCPU's thread to leave, or here if no vCPU
 * runs. On a loop's thread without a
 * worker and with no vCPU running it is -EDEADLK, and nothing happens. NULL vm
 * is fine. Bells, doorbells and irqs of this VM must have been destroyed before: -EBUSY. Stop the VM
 * before you destroy those: then they cost nothing (vdb_bell_destroy()).
 * -EALREADY: it is being destroyed. -ENOMEM: the worker could not be asked.
 */
VDB_MUST_CHECK int vdb_vm_destroy(struct vdb_vm *vm, vdb_done_fn done, void *arg);

/* Parks every vCPU outside the guest, then done(arg): here, if none has to be waited
 * for. A vCPU that waits in vdb_vcpu_wait() counts as parked. Nested pauses count; a
 * pause that is resumed, or whose VM is stopped, before all are parked is done, too.
 * Any thread. */
VDB_MUST_CHECK int vdb_vm_pause(struct vdb_vm *vm, vdb_done_fn done, void *arg);

/* Undoes one pause. -EINVAL when not paused. Any thread. */
VDB_MUST_CHECK int vdb_vm_resume(struct vdb_vm *vm);

/* Makes every vdb_vcpu_run() return 0, now and from now on, then done(arg). Any thread. */
VDB_MUST_CHECK int vdb_vm_stop(struct vdb_vm *vm, vdb_done_fn done, void *arg);

/* The buses exits are dispatched to; they live as long as the VM. */
struct vdb_bus *vdb_vm_mmio(struct vdb_vm *vm);
struct vdb_bus *vdb_vm_pio(struct vdb_vm *vm);

/* The memory it was created with. Any thread. */
struct vdb_mem *vdb_vm_mem(struct vdb_vm *vm);

/* KVM's log of what the *guest* wrote. start/stop switch it for all regions, later
 * ones included (-EALREADY, -EINVAL: it runs, or does not); harvest as
 * vdb_mem_dirty_harvest(), for one whole region. Control thread. */
VDB_MUST_CHECK int vdb_vm_dirty_log_start(struct vdb_vm *vm);
VDB_MUST_CHECK int vdb_vm_dirty_log_stop(struct vdb_vm *vm);
VDB_MUST_CHECK int64_t vdb_vm_dirty_log_harvest(struct vdb_vm *vm, vdb_gpa_t gpa, uint64_t len,
                                                uint64_t *bitmap);

#ifdef __cplusplus
}
#endif
#endif
