/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packed virtqueue between a driver and a device, both of which ask for notifications by the
 * place of a descriptor (flags DESC): lib/queue/packed.c, and a driver as virtio 1.2, 2.8 describes it.
 *
 * Claims: never are both asleep with a buffer outstanding (an invalid end state to Spin: every wait
 * below is a wait for the other side); who sees the first descriptor of a chain or a batch sees all of it.
 *
 * Size:   N descriptors, default 3: no power of two. Chains of one and two.
 * Broken: -DNO_..., each must be rejected.
 */
#ifndef N
#define N 3
#endif
#define WORDS (N + 2)
#define DRIVER_EVENT N       /* driver */
#define DEVICE_EVENT (N + 1) /* device */

/* Words 0..N-1: the flags of descriptors; both sides write them, each when it is its turn. */
#define AVAIL(wrap) (1 + !(wrap))
#define USED(wrap) (3 * (wrap))

/* Events. */
#define ENABLE 0
#define DISABLE 1
#define DESC(at, wrap) (2 + 2 * (at) + (wrap))

#define RELAXED(m) m(0) m(1) m(2) m(3) m(4)
#if N > 3
#error "name its words in RELAXED"
#endif

#include "memory.pml"

/* event_passed(): is it among the n descriptors from `at` on? */
#define DISTANCE(event, at, wrap) (((event) - 2) / 2 + N * ((event) % 2 != (wrap)) - (at))
#define PASSED(event, at, wrap, n) (DISTANCE(event, at, wrap) >= 0 && DISTANCE(event, at, wrap) < (n))
#define WANTED(event, at, wrap, n) ((event) == ENABLE || ((event) > DISABLE && PASSED(event, at, wrap, n)))

bit bell;       /* the doorbell's eventfd was written and its completion is not yet reaped */
bit irq;        /* the interrupt is pending in the vCPU */
byte length[N]; /* of the chain that begins there: NEXT flags, which are as visible as the descriptor is */

#define MOVE(at, wrap, n)                    \
	if                                   \
	:: (at) + (n) < N -> at = at + (n)   \
	:: else ->                           \
		at = at + (n) - N;           \
		wrap = !wrap                 \
	fi

/* ---- Driver ---- */

/* A chain of `size`: all but the first descriptor of the whole batch are shown. */
inline add(size)
{
	atomic {
		length[at] = size;
		i = 0;
		do
		:: i < size ->
			if
			:: n > 0 -> STORE(DRIVER, at, AVAIL(wrap))
			:: else
			fi;
			MOVE(at, wrap, 1);
			n++;
			i++
		:: else -> break
		od;
		i = 0;
		room = room - size
	}
}

inline push()
{
	first = at;
	first_wrap = wrap;
#ifdef NO_FIRST_LAST
	if
	:: room > 0 -> RELEASE(DRIVER, first, AVAIL(first_wrap))
	:: else
	fi;
#endif
	do
	:: room > 0 -> add(1)
	:: room > 1 -> add(2)
	:: n > 0 || room < N -> break
	od;
	if
	:: n > 0 ->
#ifndef NO_FIRST_LAST
		RELEASE(DRIVER, first, AVAIL(first_wrap));
#endif
#ifndef NO_DRIVER_PUBLISH_FENCE
		FENCE(DRIVER);
#endif
		atomic {
			ring = WANTED(LOAD(DEVICE_EVENT), first, first_wrap, n);
			n = 0
		}
		if
		:: atomic { ring -> bell = 1; ring = false }
		:: !ring
		fi
	:: else
	fi
}

inline sleep()
{
#ifndef NO_DRIVER_EVENT
	STORE(DRIVER, DRIVER_EVENT, DESC(used, used_wrap));
#endif
#ifndef NO_DRIVER_SLEEP_FENCE
	FENCE(DRIVER);
#endif
	irq = 0; /* from here on they are masked */
#ifndef NO_DRIVER_RECHECK
	if
	:: LOAD(used) == USED(used_wrap)
	:: LOAD(used) != USED(used_wrap) -> atomic { irq -> irq = 0 } /* sti; hlt */
	fi;
#else
	atomic { irq -> irq = 0 };
#endif
	if /* and as long as it is awake it may say so, or leave the event behind */
	:: STORE(DRIVER, DRIVER_EVENT, DISABLE)
	:: skip
	fi
}

inline reap()
{
	atomic {
		do
		:: LOAD(used) == USED(used_wrap) && room < N ->
			i = length[used];
			room = room + i;
			MOVE(used, used_wrap, i);
			i = 0
		:: else -> break
		od
	}
}

proctype driver()
{
	byte at, used, first, i, n;
	byte room = N;
	bit wrap = 1, used_wrap = 1, first_wrap, ring;

	STORE(DRIVER, DRIVER_EVENT, DISABLE);
	do
	:: push();
		if
		:: LOAD(used) == USED(used_wrap) /* polls until there is something */
		:: sleep()
		fi;
		reap()
	od
}

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
