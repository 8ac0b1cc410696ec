/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packed virtqueue between a driver and a device, both of which ask for notifications by the
 * place of a descriptor (flags DESC): lib/queue/packed.c, and a driver as virtio 1.2, 2.8 describes it.
 *
 * Claims: never are both asleep with a buffer outstanding (an invalid end state to Spin: every wait
 * below is a wait for the other side); who sees the first descriptor of a chain or a batch sees all of it.
 *
 * Broken: -DNO_..., each must be rejected.
 */
#include "packed_driver.pml"

/* ---- Device ---- */

/* packed_pop() and packed_stage(): the batch's first is kept back */
inline take()
{
	atomic {
		i = length[at];
		assert(i == 1 || LOAD((at + 1) % N) == AVAIL((at + 1 < N -> wrap : !wrap)));
		if
		:: n > 0 -> STORE(DEVICE, at, USED(wrap))
		:: else
		fi;
		MOVE(at, wrap, i);
		n = n + i;
		i = 0
	}
}

/* packed_publish() */
inline publish()
{
	RELEASE(DEVICE, first, USED(first_wrap));
#ifndef NO_DEVICE_PUBLISH_FENCE
	FENCE(DEVICE);
#endif
	atomic {
		call = WANTED(LOAD(DRIVER_EVENT), first, first_wrap, n);
		n = 0;
		first = at;
		first_wrap = wrap
	}
	if
	:: atomic { call -> irq = 1; call = false }
	:: !call
	fi
}

proctype device()
{
	byte at, first, i, n;
	bit wrap = 1, first_wrap = 1, call;

awake:	STORE(DEVICE, DEVICE_EVENT, DISABLE); /* packed_hush() */
visit:	do
	:: LOAD(at) == AVAIL(wrap) && n < N -> take()
	:: n > 0 -> break
	:: LOAD(at) != AVAIL(wrap) -> break
	od;
	if
	:: n > 0 ->
		publish();
		goto visit
	:: else
	fi;
	/* packed_arm() */
#ifndef NO_DEVICE_EVENT
	STORE(DEVICE, DEVICE_EVENT, DESC(at, wrap));
#endif
#ifndef NO_DEVICE_ARM_FENCE
	FENCE(DEVICE);
#endif
#ifndef NO_DEVICE_RECHECK
	if
	:: LOAD(at) == AVAIL(wrap) -> goto awake
	:: LOAD(at) != AVAIL(wrap)
	fi;
#endif
	atomic { bell -> bell = 0 };
	goto awake
}

init {
	atomic {
		run drain(DRIVER);
		run drain(DEVICE);
		run device();
		run driver()
	}
}
