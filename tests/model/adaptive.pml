/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packed virtqueue whose device is polled adaptively: lib/queue/packed.c under lib/loop/poll.c, turn.c and
 * source.c. The loop looks for a while, with the guest told not to ring; then it arms, looks once more, and
 * sleeps. Requests take their time in a backend, and an answer makes a ring that was asleep hot again: what it had
 * asked for is taken back without a fence.
 *
 * Claims: never are both asleep with a buffer outstanding (an invalid end state to Spin); who sees the first
 * descriptor of a chain or a batch sees all of it.
 *
 * -DFLAGS: without EVENT_IDX, bells are asked for by flags alone; a split virtqueue has nothing else then.
 * Broken:  -DNO_..., each must be rejected; STALE_WRAP: asks for a bell with the wrap counter of the lap before.
 */
#ifndef N
#define N 2 /* a request in the backend more for each descriptor: 3 are too many states */
#endif
#include "packed_driver.pml"

mtype = { IDLE, HOT, READY }; /* enum vdb__source_state */

byte started, finished; /* chains in the backend; done, and in the loop's completion queue */

proctype backend()
{
end:	do
	:: atomic { started > 0 -> started--; finished++ }
	od
}

/* packed_complete() and packed_publish() of one chain; then vdb__source_answered() */
inline answer()
{
	atomic {
		finished--;
		i = length[used];
		first = used;
		first_wrap = used_wrap;
		taken = taken - i;
		MOVE(used, used_wrap, i)
	}
	RELEASE(DEVICE, first, USED(first_wrap));
#ifndef NO_DEVICE_PUBLISH_FENCE
	FENCE(DEVICE);
#endif
	atomic {
		call = WANTED(LOAD(DRIVER_EVENT), first, first_wrap, i);
		i = 0;
		first = 0;
		first_wrap = 0
	}
	if
	:: atomic { call -> irq = 1; call = false }
	:: !call
	fi;
	if
	:: atomic { state == IDLE && !awake ->
#ifndef NO_HOT_AFTER_DISARM
		state = HOT;
#endif
		awake = true }
		STORE(DEVICE, DEVICE_EVENT, DISABLE) /* vdb__virtq_disarm() */
	:: true /* it has no budget, or is awake */
	fi
}

/* vdb__virtq_ready(), then packed_pop() until there is none, or the budget is spent */
inline serve()
{
	if
	:: atomic { !awake -> awake = true }
		STORE(DEVICE, DEVICE_EVENT, DISABLE) /* packed_hush() */
	:: awake
	fi;
	do
	:: atomic { LOAD(at) == AVAIL(wrap) && taken < N ->
		i = length[at];
		assert(i == 1 || LOAD((at + 1) % N) == AVAIL((at + 1 < N -> wrap : !wrap)));
		taken = taken + i;
		started++;
		MOVE(at, wrap, i);
		i = 0 }
	:: break /* put_back() sees whether that was all */
	od;
	state = HOT
}

#ifdef FLAGS
#define WISH ENABLE
#else
#ifdef STALE_WRAP
#define WISH DESC(at, !wrap)
#else
#define WISH DESC(at, wrap)
#endif
#endif

/* packed_arm() */
inline arm()
{
	awake = false;
#ifndef NO_DEVICE_EVENT
	STORE(DEVICE, DEVICE_EVENT, WISH);
#endif
#ifndef NO_DEVICE_ARM_FENCE
	FENCE(DEVICE);
#endif
#ifndef NO_DEVICE_RECHECK
	if
	:: atomic { LOAD(at) == AVAIL(wrap) -> state = READY }
	:: atomic { LOAD(at) != AVAIL(wrap) -> state = IDLE }
	fi
#else
	state = IDLE
#endif
}

proctype device()
{
	byte at, used, first, i, taken;
	bit wrap = 1, used_wrap = 1, first_wrap, call;
	bit awake;
	mtype state = READY;

	do
	:: /* vdb__turn(): what has arrived, what is ready, a look at what is hot */
		if
		:: atomic { bell -> bell = 0; state = READY } /* vdb__source_rang() */
		:: !bell
		fi;
		do
		:: finished > 0 -> answer()
		:: finished == 0 -> break
		od;
		if
		:: state == READY -> serve()
		:: state != READY
		fi;
		if
		:: atomic { state == HOT && LOAD(at) == AVAIL(wrap) -> state = READY }
		:: state != HOT || LOAD(at) != AVAIL(wrap)
		fi;
		/* vdb__loop_settle() */
		if
		:: state == HOT -> arm() /* the budget is spent */
		:: state == HOT          /* or not: it looks again */
		:: state == READY
		:: state == IDLE -> (bell || finished > 0) /* io_uring_enter, waiting */
		fi
	od
}

init {
	atomic {
		run drain(DRIVER);
		run drain(DEVICE);
		run backend();
		run device();
		run driver()
	}
}
