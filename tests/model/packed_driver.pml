/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a packed virtqueue, and its driver as virtio 1.2, 2.8 describes it: packed.pml and adaptive.pml
 * put a device to it. N descriptors, default 3: no power of two. Chains of one and two.
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
