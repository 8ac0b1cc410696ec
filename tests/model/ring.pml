/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One native ring between a driver and a device, both directions, from READY on.
 *
 * Claims: never are both asleep with a request outstanding (an invalid end state
 * to Spin: every wait below is a wait for the other side); every slot holds what
 * its reader expects; the driver that has reaped everything finds room; the CQ
 * never overflows. With -DPROGRESS: requests go on being reaped for ever.
 *
 * Driver:    waits polling or for the interrupt, as it likes, or -DPOLL: polling only.
 * Device:    run by vdb_loop_run(), or -DNESTED: by an embedder's loop with
 *            vdb_loop_step() and vdb_loop_prepare().
 * Sizes:     SQ and CQ entries, default 2 and 2; INFLIGHT requests at once in the backend.
 * Broken:    -DNO_..., each must be rejected.
 */
#define WORDS 10
#define SQ_TAIL 0  /* driver */
#define SQ_HEAD 1  /* device */
#define SQ_EVENT 2 /* device */
#define CQ_TAIL 3  /* device */
#define CQ_HEAD 4  /* driver */
#define CQ_EVENT 5 /* driver */
#define SQE(i) (6 + (i) % SQ)
#define CQE(i) (8 + (i) % CQ)

#ifndef SQ
#define SQ 2
#endif
#ifndef CQ
#define CQ 2
#endif

#ifndef INFLIGHT
#define INFLIGHT SQ
#endif

#ifdef NO_CQ_LIMIT
#define CQ_LIMIT (CQ + 1)
#else
#define CQ_LIMIT CQ
#endif

#ifdef NO_SQ_RELEASE
#define RELAXED(m) m(SQ_TAIL) m(SQ_EVENT) m(CQ_EVENT) m(6) m(7) m(8) m(9)
#define PUBLISH_SQ STORE
#else
#define RELAXED(m) m(SQ_EVENT) m(CQ_EVENT) m(6) m(7) m(8) m(9)
#define PUBLISH_SQ RELEASE
#endif

#include "memory.pml"
#include "index.pml"

bit bell; /* the doorbell's eventfd was written and its completion is not yet reaped */
bit irq;  /* the interrupt is pending in the vCPU */
byte started, finished; /* requests in the backend; done, and in the loop's completion queue */

/*
 * ---- Driver: include/vdb/guest.h ----
 */
bool kick; /* the driver's publish found that it must ring */

/* vdb_guest_sqe(), as often as there is room or less, but once if nothing is outstanding; and the
 * stores of vdb_guest_submit() */
inline push()
{
	atomic {
		old = tail;
		seen = LOAD(SQ_HEAD);
		do
		:: DIST(tail, seen) < SQ && DIST(tail, head) < CQ_LIMIT ->
			STORE(DRIVER, SQE(tail), tail);
			tail = NEXT(tail)
		:: else ->
			assert(tail != head); /* nothing outstanding and no room: stuck for ever */
			break
		:: tail != head -> break
		od;
		seen = 0;
		if
		:: tail != old ->
#ifndef NO_HEAD_BEFORE_TAIL
			RELEASE(DRIVER, CQ_HEAD, head); /* vdb_guest_publish_head() */
			PUBLISH_SQ(DRIVER, SQ_TAIL, tail)
#else
			PUBLISH_SQ(DRIVER, SQ_TAIL, tail);
			RELEASE(DRIVER, CQ_HEAD, head)
#endif
		:: else
		fi
	}
}

/* The rest of vdb_guest_submit(): does the device want to be rung? */
inline notify()
{
	if
	:: tail != old ->
#ifndef NO_DRIVER_SUBMIT_FENCE
		FENCE(DRIVER);
#endif
		atomic {
			if
			:: PASSED(LOAD(SQ_EVENT), old, tail) -> kick = true
			:: else
			fi;
			old = 0
		}
		if
		:: atomic { kick -> bell = 1; kick = false } /* VDB_GUEST_RING() */
		:: else
		fi
	:: else -> old = 0
	fi
}

/* vdb_guest_arm(), then halt */
inline sleep()
{
	RELEASE(DRIVER, CQ_HEAD, head);
#ifndef NO_CQ_EVENT
	STORE(DRIVER, CQ_EVENT, head);
#endif
#ifndef NO_DRIVER_SLEEP_FENCE
	FENCE(DRIVER);
#endif
	irq = 0; /* an interrupt that came while awake is spent; from here on they are masked */
#ifndef NO_DRIVER_RECHECK
	if
	:: LOAD(CQ_TAIL) != head
	:: LOAD(CQ_TAIL) == head -> atomic { irq -> irq = 0 } /* sti; hlt */
	fi
#else
	atomic { irq -> irq = 0 }
#endif
}

/* vdb_guest_reap(), until there is none */
inline reap()
{
	if
	:: atomic { LOAD(CQ_TAIL) != head ->
		seen = LOAD(CQ_TAIL);
		assert(DIST(seen, head) <= CQ);
		do
		:: seen != head ->
			assert(LOAD(CQE(head)) == head);
			head = NEXT(head)
		:: else -> break
		od;
		seen = 0 }
progress:	skip
	:: LOAD(CQ_TAIL) == head /* the interrupt was an old one */
	fi
}

proctype driver()
{
	byte tail, head; /* private: next SQE to write, next CQE to read */
	byte old, seen;

	do
	:: push();
		notify();
		if
		:: LOAD(CQ_TAIL) != head /* polls until there is something */
#ifndef POLL
		:: sleep()
#endif
		fi;
		reap()
	od
}

/*
 * ---- Device: lib/queue/ring.c, driven by lib/io/lane.c and lib/loop ----
 */
mtype = { IDLE, HOT, READY }; /* enum vdb__source_state */

bool call; /* the device's publish found that it must interrupt */

/* ring_complete() */
inline complete()
{
	STORE(DEVICE, CQE(cq_staged), cq_staged);
	cq_staged = NEXT(cq_staged)
}

/* ring_publish(): freed slots, then completions; then interrupt_wanted() */
inline publish()
{
	atomic {
		if
		:: sq_head != sq_freed ->
			RELEASE(DEVICE, SQ_HEAD, sq_head);
			sq_freed = sq_head
		:: else
		fi;
		if
		:: cq_staged != cq_tail -> RELEASE(DEVICE, CQ_TAIL, cq_staged)
		:: else
		fi
	}
	if
	:: cq_staged != cq_tail ->
#ifndef NO_DEVICE_PUBLISH_FENCE
		FENCE(DEVICE);
#endif
		atomic {
			if
			:: PASSED(LOAD(CQ_EVENT), cq_tail, cq_staged) -> call = true
			:: else
			fi;
			cq_tail = cq_staged
		}
		if
		:: atomic { call -> irq = 1; call = false } /* the lane's trigger: one write to an eventfd */
		:: else
		fi
	:: else
	fi
}

/* look(): how far the driver is, in this order */
inline look()
{
	atomic {
		sq_tail = LOAD(SQ_TAIL);
		assert(DIST(sq_tail, sq_head) <= SQ) /* VDB_REASON_SQ_INDEX */
	}
	if
	:: atomic { sq_tail != sq_head ->
		assert(DIST(LOAD(CQ_HEAD), cq_head) <= DIST(cq_tail, cq_head)); /* VDB_REASON_CQ_INDEX */
		cq_head = LOAD(CQ_HEAD) }
	:: sq_tail == sq_head
	fi
}

/* ring_pop(), and the backend's start() */
inline pop()
{
	atomic {
		assert(DIST(sq_head, cq_head) < CQ); /* VDB_REASON_CQ_FULL */
		assert(LOAD(SQE(sq_head)) == sq_head);
		sq_head = NEXT(sq_head);
		if
		:: complete() /* VDB_REQ_DONE */
		:: started++  /* VDB_REQ_PENDING */
		fi
	}
}

/* is_waiting() of the lane: no request is free, and a completion will bring it back */
#define WAITING (started + finished >= INFLIGHT)

/* The lane's serve(): pops until empty, or until the budget or the pool is spent; publishes once */
inline serve()
{
	starved = false;
	do
	:: atomic { WAITING -> starved = true; break }
	:: atomic { !WAITING -> skip }
		if
		:: sq_head == sq_tail -> look()
		:: sq_head != sq_tail
		fi;
		if
		:: sq_head == sq_tail -> break
		:: sq_head != sq_tail -> pop()
		fi;
		if
		:: true
		:: break /* budget spent */
		fi
	od;
	publish();
	atomic {
		/* may_go_on() */
		if
		:: starved && !WAITING -> starved = false
		:: else
		fi;
		/* put_back() of lib/loop/tenant.c */
		if
		:: !WAITING && LOAD(SQ_TAIL) != sq_head -> state = READY
		:: else -> state = HOT
		fi
	}
}

/* ring_arm() */
inline arm_ring()
{
#ifndef NO_SQ_EVENT
	STORE(DEVICE, SQ_EVENT, sq_head);
#endif
#ifndef NO_DEVICE_ARM_FENCE
	FENCE(DEVICE);
#endif
#ifndef NO_DEVICE_RECHECK
	if
	:: atomic { LOAD(SQ_TAIL) != sq_head -> state = READY }
	:: atomic { LOAD(SQ_TAIL) == sq_head -> state = IDLE }
	fi
#else
	state = IDLE
#endif
}

/* lane_arm() and ring_arm(): at the sleep boundary only */
inline arm()
{
	if
#ifndef NO_STARVED
	:: atomic { WAITING -> starved = true; state = IDLE }
#else
	:: atomic { WAITING -> state = IDLE }
#endif
	:: atomic { !WAITING -> skip }
		arm_ring()
	fi
}

/* vdb__turn(): reap, publish what completed, serve what is ready, look at what is hot */
inline turn()
{
	atomic {
		if
		:: bell -> bell = 0; state = READY /* vdb__source_rang() */
		:: else
		fi;
		do
		:: finished > 0 -> finished--; complete()
		:: else -> break
		od
	}
	publish();
	/* vdb__lane_batch_fn() */
	if
	:: atomic { starved && !WAITING -> starved = false; state = READY }
	:: else
	fi;
	if
	:: state == READY -> serve()
	:: atomic { state == HOT ->
		if
		:: !WAITING && LOAD(SQ_TAIL) != sq_head -> state = READY /* lane_pending(): a poll hit */
		:: else
		fi }
	:: state == IDLE
	fi
}

proctype device()
{
	byte sq_head, sq_freed;  /* private: next SQE to pop; what was published of it */
	byte sq_tail, cq_head;   /* the driver's, as last seen */
	byte cq_tail, cq_staged; /* published; with what complete() has staged */
	mtype state = READY;
	bool starved;

	do
	:: turn(); /* of vdb_loop_run(), or vdb_loop_step() */
#ifndef NESTED
		if
		:: state == HOT -> arm() /* vdb__loop_settle(): poll_ns has passed */
		:: state == HOT          /* or not: it looks again */
		:: state == READY
		:: state == IDLE -> (bell || finished > 0) /* io_uring_enter, waiting */
		fi
#else
		if
		:: state == READY /* the embedder steps again */
		:: state != READY ->
#ifndef NO_PREPARE
			if /* vdb_loop_prepare(): settle */
			:: state == HOT -> arm()
			:: state == IDLE
			fi;
			if
			:: state == READY /* it said 0 */
			:: state == IDLE -> (bell || finished > 0) /* it said 1: poll(2) on vdb_loop_fd() */
			fi
#else
			(bell || finished > 0)
#endif
		fi
#endif
	od
}

proctype backend()
{
end:	do
	:: atomic { started > 0 -> started--; finished++ }
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
