/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One loop and the doorbells of two rings: sources that go round idle, hot and ready.
 * Submission only; the two drivers poll for what they submitted to be taken.
 *
 * Claim: the loop, or its embedder between vdb_loop_prepare() and vdb_loop_step(), never
 * sleeps while a driver waits, even if the other driver does nothing any more.
 */
#define WORDS 6
#define SQ_TAIL(i) (i)      /* driver */
#define SQ_HEAD(i) (2 + (i)) /* loop */
#define SQ_EVENT(i) (4 + (i)) /* loop */
#define RELAXED(m) m(4) m(5)
#define BUFFERS 3
#define LOOP 2 /* the drivers' buffers are 0 and 1 */

#include "memory.pml"
#include "index.pml"

bit bell[2];

/* include/vdb/guest.h: submits one request, waits until it is taken */
proctype driver(bit me)
{
	byte tail;

	do
	:: RELEASE(me, SQ_TAIL(me), NEXT(tail));
		FENCE(me);
		atomic {
			if
			:: PASSED(LOAD(SQ_EVENT(me)), tail, NEXT(tail)) -> bell[me] = 1
			:: else
			fi;
			tail = NEXT(tail)
		}
progress:	LOAD(SQ_HEAD(me)) == tail
	:: break /* for ever: the other must not depend on this one's doorbell */
	od
}

mtype = { IDLE, HOT, READY }; /* enum vdb__source_state */

/* vdb__source_rang(), by the engine's reap */
#define REAP(i) \
	atomic { \
		if \
		:: bell[i] -> bell[i] = 0; state[i] = READY \
		:: else \
		fi \
	}
/* visit() of lib/loop/tenant.c: one serve(), then put_back() */
#define SERVE(i) \
	if \
	:: atomic { state[i] == READY && LOAD(SQ_TAIL(i)) != head[i] -> head[i] = NEXT(head[i]) } \
		RELEASE(LOOP, SQ_HEAD(i), head[i]) \
	:: atomic { state[i] == READY && LOAD(SQ_TAIL(i)) == head[i] -> state[i] = HOT } \
	:: state[i] != READY \
	fi

/* vdb__queue_ops.arm, by settle() or when a source that others keep waiting has grown cold */
#define ARM(i) \
	STORE(LOOP, SQ_EVENT(i), head[i]); \
	FENCE(LOOP); \
	ARMED(i)
#ifndef NO_RECHECK
#define ARMED(i) atomic { state[i] = (LOAD(SQ_TAIL(i)) != head[i] -> READY : IDLE) }
#else
#define ARMED(i) state[i] = IDLE
#endif

/* vdb__sources_look(): one look at each hot source */
#define LOOK(i) \
	if \
	:: atomic { state[i] == HOT && LOAD(SQ_TAIL(i)) != head[i] -> state[i] = READY } \
	:: state[i] == HOT && LOAD(SQ_TAIL(i)) == head[i] \
	:: state[i] == HOT -> ARM(i) \
	:: state[i] != HOT \
	fi

/*
 * vdb__source_answered(): a completion makes an idle ring hot, since its guest will soon ask for more, and the
 * wish for its bell is taken back: lib/queue's disarm(). No fence: it will be armed again before any
 * sleep. The bell may have rung, or ring, all the same.
 */
#define BEHIND(x) (((x) + 3) % 4)
#define ANSWER(i) \
	if \
	:: true \
	:: state[i] == IDLE -> \
		STORE(LOOP, SQ_EVENT(i), BEHIND(head[i])); \
		state[i] = AFTER_ANSWER \
	fi
#ifndef NO_HOT_AFTER_DISARM
#define AFTER_ANSWER HOT
#else
#define AFTER_ANSWER IDLE
#endif

/* vdb__loop_arm(); or, ring by ring, vdb__poll() when it is not worth another look */
#define SETTLE(i) \
	if \
	:: state[i] == HOT -> ARM(i) \
	:: state[i] != HOT \
	fi

proctype loop()
{
	mtype state[2] = READY;
	byte head[2];

	do
	:: /* vdb__turn() */
		REAP(0); REAP(1);
#ifdef ANSWERS
		ANSWER(0);
#endif
		SERVE(0); SERVE(1);
		LOOK(0); LOOK(1);
		/* vdb__loop_settle(), of vdb_loop_run() or vdb_loop_prepare() */
		if
		:: state[0] == READY || state[1] == READY
		:: state[0] != READY && state[1] != READY ->
			SETTLE(0);
#ifndef ARM_FIRST_ONLY
			SETTLE(1);
#endif
			if
			:: state[0] == READY || state[1] == READY
			:: state[0] != READY && state[1] != READY -> 
end:				(bell[0] || bell[1])
			fi
		fi
	od
}

init {
	atomic {
		run drain(0);
		run drain(1);
		run drain(LOOP);
		run loop();
		run driver(0);
		run driver(1)
	}
}
