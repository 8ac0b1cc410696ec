/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/life.h"

#include <signal.h>
#include <stdlib.h>

#include "base/atomic.h"
#include "base/error.h"
#include "base/export.h"
#include "base/gate.h"
#include "base/thread.h"
#include "kvm/vm.h"

struct vdb__waiter {
	struct vdb__waiter *next;
	vdb_done_fn done;
	void *arg;
};

void vdb__life_init(struct vdb_vm *vm)
{
	struct vdb__life *life = &vm->life;

	/* Default attributes: cannot fail. */
	pthread_mutex_init(&life->lock, NULL);
	pthread_cond_init(&life->turn, NULL);
	vdb__list_init(&life->vcpus);
}

void vdb__life_drop(struct vdb_vm *vm)
{
	pthread_cond_destroy(&vm->life.turn);
	pthread_mutex_destroy(&vm->life.lock);
}

/* ---- Completions ---- */

/* Made before anything changes, so that a request fails whole. */
static int make_waiter(vdb_done_fn done, void *arg, struct vdb__waiter **out)
{
	struct vdb__waiter *waiter = NULL;

	if (done) {
		waiter = calloc(1, sizeof(*waiter));
		if (!waiter)
			return vdb__fail(ENOMEM, "vm: no memory for a completion");
		waiter->done = done;
		waiter->arg = arg;
	}
	*out = waiter;
	return 0;
}

static void add_waiter(struct vdb__waiter **list, struct vdb__waiter *waiter)
{
	while (*list)
		list = &(*list)->next;
	*list = waiter;
}

static struct vdb__waiter *take_waiters(struct vdb__waiter **list, bool due)
{
	struct vdb__waiter *first = *list;

	if (!due)
		return NULL;
	*list = NULL;
	return first;
}

static void complete(struct vdb__waiter *waiter)
{
	struct vdb__waiter *next;

	for (; waiter; waiter = next) {
		next = waiter->next;
		waiter->done(waiter->arg);
		free(waiter);
	}
}

/* Visits end by themselves, soon. Whoever asked for this job may still hold the lock. */
static void close_now(void *arg)
{
	struct vdb_vm *vm = arg;

	pthread_mutex_lock(&vm->life.lock);
	while (vm->life.visits)
		pthread_cond_wait(&vm->life.turn, &vm->life.lock);
	pthread_mutex_unlock(&vm->life.lock);
	vdb__vm_close(vm);
}

/* For the last vCPU to leave. The close waits: on the worker if there is one. Without
 * memory for a job it is done here all the same: a vCPU's thread is no loop's. */
static void close_vm(struct vdb_vm *vm)
{
	if (!vm->config.worker || vdb_worker_submit(vm->config.worker, close_now, vm))
		close_now(vm);
}

/*
 * Unlocks, then completes what has become due. Completions may do anything, destroying
 * the VM included: the caller touches it afterwards only if it has a hold on it.
 */
static void settle(struct vdb_vm *vm)
{
	struct vdb__life *life = &vm->life;
	struct vdb__waiter *paused = take_waiters(&life->pause_waiters, !life->active || !life->pauses);
	struct vdb__waiter *stopped = take_waiters(&life->stop_waiters, !life->runners);

	pthread_mutex_unlock(&life->lock);
	complete(paused);
	complete(stopped);
}

/* ---- Kicks ---- */

/*
 * Locked. immediate_exit gets a vCPU out that is about to enter, the signal one that
 * is in. If it was set already, whoever set it has sent the signal too, and the vCPU
 * has yet to take both: interrupted() in run.c, with which the exchange pairs.
 */
static void kick(struct vdb_vcpu *vcpu)
{
	vdb__count(&vcpu->stats.kicks, 1);
	if (!vdb__exchange(&vcpu->run->immediate_exit, (uint8_t)1) && vcpu->turns.attached)
		pthread_kill(vcpu->turns.thread, vcpu->vm->config.kick_signal);
}

static void kick_all(struct vdb_vm *vm)
{
	struct vdb__list *l;

	for (l = vm->life.vcpus.next; l != &vm->life.vcpus; l = l->next)
		kick(vdb__container(l, struct vdb_vcpu, link));
}

VDB_EXPORT void vdb_vcpu_kick(struct vdb_vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->vm->life.lock);
	kick(vcpu);
	pthread_mutex_unlock(&vcpu->vm->life.lock);
}

/* ---- The vCPU's side ---- */

/* Locked. The VM may be gone as soon as the lock is. */
static void end_visit(struct vdb__life *life)
{
	life->visits--;
	pthread_cond_broadcast(&life->turn);
}

int vdb__life_claim(struct vdb_vcpu *vcpu, bool starting)
{
	struct vdb__life *life = &vcpu->vm->life;
	struct vdb__turns *turns = &vcpu->turns;
	bool busy;

	pthread_mutex_lock(&life->lock);
	/* The last run is over before its starter has noted the thread: no longer than that. */
	while (turns->starting && !turns->claimed)
		pthread_cond_wait(&life->turn, &life->lock);
	busy = turns->claimed || turns->examined;
	if (!busy) {
		turns->claimed = true;
		turns->starting = starting;
		life->visits += starting;
		life->runners++;
		life->active++;
		life->holds++;
	}
	pthread_mutex_unlock(&life->lock);
	return busy ? vdb__fail(EBUSY, "vCPU %u: runs already, or its state is in use", vcpu->index) : 0;
}

void vdb__life_started(struct vdb_vcpu *vcpu)
{
	struct vdb__life *life = &vcpu->vm->life;

	pthread_mutex_lock(&life->lock);
	vcpu->turns.starting = false;
	end_visit(life);
	pthread_mutex_unlock(&life->lock);
}

void vdb__life_attach(struct vdb_vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->vm->life.lock);
	vcpu->turns.thread = pthread_self();
	vcpu->turns.attached = true;
	pthread_mutex_unlock(&vcpu->vm->life.lock);
}

void vdb__life_detach(struct vdb_vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->vm->life.lock);
	vcpu->turns.attached = false;
	pthread_mutex_unlock(&vcpu->vm->life.lock);
}

static bool must_park(const struct vdb_vcpu *vcpu)
{
	const struct vdb__life *life = &vcpu->vm->life;

	return vcpu->turns.examined || (life->pauses && !life->stopping);
}

/* Locked before and after; settles in between, which may complete a pause. */
static void begin_park(struct vdb_vcpu *vcpu)
{
	vcpu->turns.parked = true;
	vcpu->vm->life.active--;
	settle(vcpu->vm);
	pthread_mutex_lock(&vcpu->vm->life.lock);
}

static void end_park(struct vdb_vcpu *vcpu)
{
	struct vdb__life *life = &vcpu->vm->life;

	while (must_park(vcpu))
		pthread_cond_wait(&life->turn, &life->lock);
	vcpu->turns.parked = false;
	life->active++;
}

bool vdb__life_turn(struct vdb_vcpu *vcpu)
{
	struct vdb__life *life = &vcpu->vm->life;
	bool go_on;

	pthread_mutex_lock(&life->lock);
	if (must_park(vcpu)) {
		begin_park(vcpu);
		end_park(vcpu);
	}
	go_on = !life->stopping;
	pthread_mutex_unlock(&life->lock);
	return go_on;
}

void vdb__life_leave(struct vdb_vcpu *vcpu)
{
	struct vdb_vm *vm = vcpu->vm;
	bool closing;

	pthread_mutex_lock(&vm->life.lock);
	vcpu->turns.claimed = false;
	vm->life.runners--;
	vm->life.active--;
	/* The hold outlasts the completions, which may use the VM, or begin to destroy it. */
	settle(vm);
	pthread_mutex_lock(&vm->life.lock);
	vm->life.holds--;
	closing = vm->life.destroying && !vm->life.holds;
	pthread_mutex_unlock(&vm->life.lock);
	if (closing)
		close_vm(vm);
}

/* A vCPU at a gate. */
struct gate_wait {
	struct vdb__gate_watch watch;
	struct vdb__life *life;
	bool open;
};

static void gate_opened(struct vdb__gate_watch *watch)
{
	struct gate_wait *wait = vdb__container(watch, struct gate_wait, watch);

	pthread_mutex_lock(&wait->life->lock);
	wait->open = true;
	pthread_cond_broadcast(&wait->life->turn);
	pthread_mutex_unlock(&wait->life->lock);
}

VDB_EXPORT int vdb_vcpu_wait(struct vdb_vcpu *vcpu, struct vdb_gate *gate, int64_t *result)
{
	struct vdb__life *life = &vcpu->vm->life;
	struct gate_wait wait = {.watch.notify = gate_opened, .life = life};

	if (!vdb__gate_attach(gate, &wait.watch))
		wait.open = true;
	pthread_mutex_lock(&life->lock);
	if (!wait.open || must_park(vcpu)) {
		vcpu->turns.waiting = true;
		begin_park(vcpu);
		while (!wait.open && !life->stopping)
			pthread_cond_wait(&life->turn, &life->lock);
		end_park(vcpu);
		vcpu->turns.waiting = false;
	}
	pthread_mutex_unlock(&life->lock);
	vdb__gate_detach(gate, &wait.watch);
	if (vdb_gate_peek(gate, result))
		return 0;
	return vdb__fail(ECANCELED, "vCPU %u: the VM is being stopped", vcpu->index);
}

/* ---- Those who look at a vCPU's state ---- */

/* Parked between two instructions, idle, or on its own thread with nothing under way. */
static bool at_rest(const struct vdb_vcpu *vcpu)
{
	const struct vdb__turns *turns = &vcpu->turns;

	if (!turns->claimed)
		return true;
	if (turns->attached && pthread_equal(turns->thread, pthread_self()))
		return !vcpu->handling;
	return turns->parked && !turns->waiting;
}

int vdb__life_examine(struct vdb_vcpu *vcpu, const char *what)
{
	struct vdb__life *life = &vcpu->vm->life;
	bool rests;

	pthread_mutex_lock(&life->lock);
	rests = at_rest(vcpu);
	if (rests) {
		vcpu->turns.examined++;
		life->visits++;
	}
	pthread_mutex_unlock(&life->lock);
	if (rests)
		return 0;
	return vdb__fail(EBUSY,
	                 "%s of vCPU %u: it runs, or an access of its is under way; pause the VM first", what,
	                 vcpu->index);
}

void vdb__life_examined(struct vdb_vcpu *vcpu)
{
	struct vdb__life *life = &vcpu->vm->life;

	pthread_mutex_lock(&life->lock);
	vcpu->turns.examined--;
	end_visit(life);
	pthread_mutex_unlock(&life->lock);
}

bool vdb__life_over(struct vdb_vm *vm)
{
	bool over;

	pthread_mutex_lock(&vm->life.lock);
	over = vm->life.stopping && !vm->life.runners;
	pthread_mutex_unlock(&vm->life.lock);
	return over;
}

/* ---- Requests ---- */

VDB_EXPORT int vdb_vm_pause(struct vdb_vm *vm, vdb_done_fn done, void *arg)
{
	struct vdb__waiter *waiter = NULL;
	int err = make_waiter(done, arg, &waiter);

	if (err)
		return err;
	pthread_mutex_lock(&vm->life.lock);
	vm->life.pauses++;
	add_waiter(&vm->life.pause_waiters, waiter);
	kick_all(vm);
	settle(vm);
	return 0;
}

VDB_EXPORT int vdb_vm_resume(struct vdb_vm *vm)
{
	bool paused;

	pthread_mutex_lock(&vm->life.lock);
	paused = vm->life.pauses;
	if (paused && !--vm->life.pauses)
		pthread_cond_broadcast(&vm->life.turn);
	settle(vm);
	return paused ? 0 : vdb__fail(EINVAL, "vm: is not paused");
}

/* Locked. */
static void begin_stop(struct vdb_vm *vm)
{
	vm->life.stopping = true;
	pthread_cond_broadcast(&vm->life.turn);
	kick_all(vm);
}

VDB_EXPORT int vdb_vm_stop(struct vdb_vm *vm, vdb_done_fn done, void *arg)
{
	struct vdb__waiter *waiter = NULL;
	int err = make_waiter(done, arg, &waiter);

	if (err)
		return err;
	pthread_mutex_lock(&vm->life.lock);
	add_waiter(&vm->life.stop_waiters, waiter);
	begin_stop(vm);
	settle(vm);
	return 0;
}

/* Locked. May this thread take responsibility for the close? */
static int may_destroy(const struct vdb_vm *vm)
{
	uint32_t attached = vdb__load(&vm->attached);

	if (attached)
		return vdb__fail(EBUSY,
		                 "vm: %u bells and interrupts are left; destroy them, and doorbells, first",
		                 attached);
	if (vm->life.destroying)
		return vdb__fail(EALREADY, "vm: is being destroyed");
	if (!vm->life.holds && !vm->config.worker && vdb__on_loop_thread())
		return vdb__fail(EDEADLK, "vm: closing waits, which a loop's thread must not; give the VM "
		                          "a worker (vdb_vm_config.worker)");
	return 0;
}

/* Locked. 1: the close is the calling thread's; 0: the worker's, or the last vCPU's to leave. */
static int begin_destroy(struct vdb_vm *vm, vdb_done_fn done, void *arg)
{
	bool idle = !vm->life.holds;
	int err = may_destroy(vm);

	/* Nobody will leave: the worker is asked now, while a refusal still changes nothing. */
	if (!err && idle && vm->config.worker)
		err = vdb_worker_submit(vm->config.worker, close_now, vm);
	if (err)
		return err;
	vm->life.destroying = true;
	vm->life.destroyed = done;
	vm->life.destroyed_arg = arg;
	begin_stop(vm);
	return idle && !vm->config.worker;
}

VDB_EXPORT int vdb_vm_destroy(struct vdb_vm *vm, vdb_done_fn done, void *arg)
{
	int mine;

	if (!vm) {
		if (done)
			done(arg);
		return 0;
	}
	pthread_mutex_lock(&vm->life.lock);
	mine = begin_destroy(vm, done, arg);
	pthread_mutex_unlock(&vm->life.lock);
	if (mine > 0)
		close_now(vm);
	return mine < 0 ? mine : 0;
}
