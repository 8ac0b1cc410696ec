/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a VM's vCPUs: who runs, who is parked, who must leave; pause,
 * stop and destroy as requests with a completion. One lock for all of it, held
 * for a few stores, a broadcast and a kick: never while anything waits.
 */
#ifndef VDB_KVM_LIFE_H
#define VDB_KVM_LIFE_H

#include <pthread.h>
#include <stdbool.h>
#include <vdb/types.h>

#include "base/list.h"

struct vdb_vm;
struct vdb_vcpu;
struct vdb__waiter;

struct vdb__life {
	pthread_mutex_t lock;
	pthread_cond_t turn;    /* something that a parked vCPU waits for has changed */
	struct vdb__list vcpus; /* grows only */
	uint32_t pauses;        /* asked for and not undone */
	bool stopping;          /* for good */
	bool destroying;
	uint32_t runners; /* vCPUs in vdb_vcpu_run() */
	uint32_t active;  /* those of them that are not parked */
	uint32_t holds;   /* runners until they touch the VM no more; the last one closes it */
	uint32_t visits;  /* brief uses by others, on any thread: the close waits for them */
	struct vdb__waiter *pause_waiters, *stop_waiters;
	vdb_done_fn destroyed;
	void *destroyed_arg;
};

/* A vCPU's share in it. All under the lock. */
struct vdb__turns {
	bool claimed;      /* a thread is in, or on its way into, vdb_vcpu_run() */
	bool attached;     /* `thread` may be sent the kick signal */
	bool parked;       /* outside the guest, and will stay there until asked */
	bool waiting;      /* parked at a gate, in the middle of an access */
	bool starting;     /* who started the claim's thread has yet to note it */
	uint32_t examined; /* its state is being read or written by another thread */
	pthread_t thread;
};

void vdb__life_init(struct vdb_vm *vm);
void vdb__life_drop(struct vdb_vm *vm);

/* A thread is going to run the vCPU: -EBUSY if one does. Holds the VM. `starting`: it is
 * another than this, which calls vdb__life_started(). */
int vdb__life_claim(struct vdb_vcpu *vcpu, bool starting);

/* The new thread has been noted, or could not be made. It may have run: the vCPU and the
 * VM may be gone when this returns. */
void vdb__life_started(struct vdb_vcpu *vcpu);

/* The calling thread is the one: its kick signal is blocked by now. */
void vdb__life_attach(struct vdb_vcpu *vcpu);

/* No kick signal comes to this thread after it. */
void vdb__life_detach(struct vdb_vcpu *vcpu);

/* Parks as long as asked. False: leave. */
bool vdb__life_turn(struct vdb_vcpu *vcpu);

/* No vCPU runs, and none ever will: what the kernel has of this VM can be left to go with it. */
bool vdb__life_over(struct vdb_vm *vm);

/* Ends a claim. The vCPU and the VM may be gone when it returns. */
void vdb__life_leave(struct vdb_vcpu *vcpu);

/*
 * Between these two the vCPU's state may be read and written: it is not in
 * vdb_vcpu_run(), or parked between two instructions, or this is its own thread
 * in an event handler. -EBUSY otherwise; `what` goes into the message. Calls nobody
 * and waits for nobody in between: the VM's close waits for it.
 */
int vdb__life_examine(struct vdb_vcpu *vcpu, const char *what);
void vdb__life_examined(struct vdb_vcpu *vcpu);

#endif
