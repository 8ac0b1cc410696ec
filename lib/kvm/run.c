/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run loop, and the kick's receiving end. The kick signal is blocked in the
 * thread and has no handler; KVM_SET_SIGNAL_MASK unblocks it inside KVM_RUN
 * only, so it can do nothing but make KVM_RUN return -EINTR.
 */
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/atomic.h"
#include "base/error.h"
#include "base/export.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

/* The kernel's sigset_t is the first 8 bytes of glibc's. */
#define KERNEL_SIGSET_BYTES 8u

/* What the thread had before, and the signal of ours. */
struct signals {
	sigset_t before;
	sigset_t kick;
};

static int set_kvm_mask(struct vdb_vcpu *vcpu, const sigset_t *before, int kick)
{
	unsigned char buffer[sizeof(struct kvm_signal_mask) + KERNEL_SIGSET_BYTES] = {0};
	struct kvm_signal_mask header = {.len = KERNEL_SIGSET_BYTES};
	sigset_t inside = *before;

	sigdelset(&inside, kick);
	memcpy(buffer, &header, sizeof(header));
	memcpy(buffer + offsetof(struct kvm_signal_mask, sigset), &inside, KERNEL_SIGSET_BYTES);
	if (ioctl(vcpu->fd, KVM_SET_SIGNAL_MASK, buffer))
		return vdb__fail_sys(errno, "vCPU %u: KVM_SET_SIGNAL_MASK", vcpu->index);
	return 0;
}

/* Consumes every kick signal that is pending: a real-time signal queues. */
static void drain(const struct signals *signals)
{
	const struct timespec now = {0};
	int rc;

	do
		rc = sigtimedwait(&signals->kick, NULL, &now);
	while (rc > 0 || errno == EINTR);
}

static int enter(struct vdb_vcpu *vcpu, struct signals *signals)
{
	int err, kick = vcpu->vm->config.kick_signal;

	sigemptyset(&signals->kick);
	sigaddset(&signals->kick, kick);
	pthread_sigmask(SIG_BLOCK, &signals->kick, &signals->before);
	err = set_kvm_mask(vcpu, &signals->before, kick);
	if (!err)
		vdb__life_attach(vcpu);
	return err;
}

/* After the last signal can have been sent, and before the thread's own mask is back. */
static void leave(struct vdb_vcpu *vcpu, const struct signals *signals)
{
	vdb__life_detach(vcpu);
	drain(signals);
	pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
}

/*
 * KVM_RUN was interrupted, so what the last access left to do in the kernel is
 * done: between two instructions. The exchange pairs with the kicker's, whose
 * request is seen under the lock in vdb__life_turn(); a later kick sets
 * immediate_exit again. The signal may come without immediate_exit: its sender
 * was between the two, or is a stranger. Left pending, it would bar every entry.
 */
static bool interrupted(struct vdb_vcpu *vcpu, const struct signals *signals)
{
	(void)vdb__exchange(&vcpu->run->immediate_exit, (uint8_t)0);
	drain(signals);
	/* Counted when the kick has been taken: one that comes after is another. */
	vdb__count(&vcpu->stats.exits_intr, 1);
	return !vcpu->ending && vdb__life_turn(vcpu);
}

/*
 * A device's event stops the vCPU (vdb_vcpu_raise()), but the instruction that was the
 * access is half done: KVM finishes it on the next entry, which immediate_exit keeps from
 * going any further. Several accesses of one instruction come one by one.
 */
static bool dispatch(struct vdb_vcpu *vcpu)
{
	bool on = vdb__exit_dispatch(vcpu);

	if (vcpu->ending)
		(void)vdb__exchange(&vcpu->run->immediate_exit, (uint8_t)1);
	return on;
}

static bool step(struct vdb_vcpu *vcpu, const struct signals *signals)
{
	int err = ioctl(vcpu->fd, KVM_RUN, 0) ? errno : 0;

	vdb__count(&vcpu->stats.runs, 1);
	switch (err) {
	case 0:
		return dispatch(vcpu);
	case EINTR:
		return interrupted(vcpu, signals);
	case EAGAIN: /* a processor that waits for its SIPI was woken */
		vdb__count(&vcpu->stats.exits_other, 1);
		return true;
	default:
		return vdb__exit_failed(vcpu, err);
	}
}

int vdb__vcpu_loop(struct vdb_vcpu *vcpu)
{
	struct signals signals;
	int err = enter(vcpu, &signals);

	vcpu->ending = false;
	if (!err && vdb__life_turn(vcpu)) {
		while (step(vcpu, &signals))
			;
	}
	leave(vcpu, &signals);
	vdb__life_leave(vcpu);
	return err;
}

VDB_EXPORT int vdb_vcpu_run(struct vdb_vcpu *vcpu)
{
	int err = vdb__life_claim(vcpu, false);

	return err ? err : vdb__vcpu_loop(vcpu);
}
