/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How driver and device come together, and come together again: the handshake, with
 * a driver that dies at any point and starts over (LIVES in all; its memory zeroed in
 * between, or not), and a device that is attached at any moment of that, over whatever
 * memory holds, ATTACHES times in all.
 *
 * Claims: the device takes only requests of the life that it latched, the driver only
 * completions of its own; no index is ever found wrong; the last life gets ready and
 * its requests are served (else an invalid end state to Spin).
 *
 * Generations do not wrap here: 2^32 resets lie between two equal ones, except for
 * what the words found at attach make equal, and those are all tried.
 */
#define WORDS 11
#define D_READY 0
#define D_RESET 1
#define D_LIFE 2 /* version and features: what is latched once */
#define SQ_TAIL 3
#define CQ_EVENT 4
#define SQE 5 /* one entry: the life that wrote it */
#define GENERATION 6
#define STATE 7
#define SQ_EVENT 8
#define CQ_TAIL 9
#define CQE 10
#define DATA(m) m(D_LIFE) m(SQ_TAIL) m(CQ_EVENT) m(SQE) m(SQ_EVENT) m(CQ_TAIL) m(CQE)
#ifndef NO_READY_RELEASE
#define RELAXED(m) DATA(m)
#define GIVE RELEASE
#else
#define RELAXED(m) DATA(m) m(D_READY)
#define GIVE STORE
#endif

#define RESET 0
#define READY 1
#define BROKEN 2

#ifndef LIVES
#define LIVES 2
#endif
#ifndef ATTACHES
#define ATTACHES 1
#endif
#ifndef REQUESTS
#define REQUESTS 2
#endif

#include "memory.pml"

#define ENTRIES 1
#define WANTS(event, old, new) ((event) >= (old) && (event) < (new)) /* indices do not wrap here */

bit bell, irq;
byte life = 1;
bool zeroed;  /* memory was, under a working device: that may find indices wrong, once */
bool turning; /* the device is within a turn; a boot takes longer than that */

/*
 * ---- Driver: include/vdb/guest.h ----
 */

/* Any life but the last may end before any step. Its stores do not die with it. */
#define MORTAL \
	if \
	:: life < LIVES -> goto dead \
	:: true \
	fi

/* Polls, or asks vdb_guest_arm() and sleeps if that says 0, until there is news */
#define AWAIT(news) \
	do \
	:: news -> break \
	:: FENCE(DRIVER); \
		if \
		:: news -> break \
		:: !(news) -> atomic { irq -> irq = 0 } \
		fi \
	:: life < LIVES -> goto dead \
	od

/* vdb_guest_ring_bell() */
inline ring_bell()
{
#ifndef NO_HANDSHAKE_FENCE
	FENCE(DRIVER);
#endif
	bell = 1
}

/* vdb_guest_reset() */
inline ask()
{
	now = LOAD(D_RESET);
	atomic {
		want = LOAD(GENERATION);
#ifndef NEXT_GENERATION
		want = (now > want -> now : want) + 1;
#else
		want++;
		want = (want == now -> want + 1 : want);
#endif
		now = 0
	}
	MORTAL;
#ifndef NO_READY_CLEAR
	RELEASE(DRIVER, D_READY, 0);
#endif
	MORTAL;
	RELEASE(DRIVER, D_RESET, want);
	ring_bell()
}

/* vdb_guest_give() */
inline give()
{
#ifndef NO_DRIVER_ZERO
	STORE(DRIVER, SQ_TAIL, 0);
	STORE(DRIVER, CQ_EVENT, 0);
#endif
	MORTAL;
	STORE(DRIVER, D_LIFE, life);
	GIVE(DRIVER, D_READY, want);
	ring_bell()
}

/* vdb_guest_submit() of one request */
inline submit()
{
	STORE(DRIVER, SQE, life);
	RELEASE(DRIVER, SQ_TAIL, n + 1);
	MORTAL;
	FENCE(DRIVER);
	if
	:: WANTS(LOAD(SQ_EVENT), n, n + 1) -> bell = 1
	:: else
	fi;
	STORE(DRIVER, CQ_EVENT, n) /* of the vdb_guest_arm() to come */
}

proctype driver()
{
	byte want, now, n;

again:	ask();
	AWAIT((LOAD(GENERATION) == want));
	give();
	AWAIT((LOAD(GENERATION) != want || LOAD(STATE) != RESET));
	/* vdb_guest_poll_ready(): the generation is looked at first */
	if
	:: LOAD(GENERATION) != want -> goto anew
	:: LOAD(GENERATION) == want
	fi;
	if
	:: LOAD(STATE) == READY
	:: LOAD(STATE) != READY -> goto anew
	fi;
	do
	:: n < REQUESTS ->
		submit();
		AWAIT((LOAD(GENERATION) != want || LOAD(CQ_TAIL) != n));
		do
		:: atomic { LOAD(CQ_TAIL) == n + 1 -> /* vdb_guest_reap() */
			assert(LOAD(CQE) == life);
			n++; break }
		:: LOAD(CQ_TAIL) != n + 1 && LOAD(GENERATION) != want -> goto anew
		od
	:: n == REQUESTS -> break
	od;
end:	do
	:: LOAD(GENERATION) != want -> goto anew /* the device was made anew */
	:: life < LIVES -> goto dead
	:: atomic { irq -> irq = 0 }
	od;

dead:	atomic { life++; want = 0; now = 0; n = 0 }
	FENCE(DRIVER);
	if
	:: goto again
	:: atomic { !turning -> /* the machine was booted, and firmware zeroed its memory: all of it */
		zeroed = true;
		do
		:: n < WORDS -> mem[n] = 0; n++
		:: else -> n = 0; break
		od }
		goto again
	fi;

anew:	atomic { want = 0; n = 0 }
	goto again
}

/*
 * ---- Device: lib/queue/ring_handshake.c and ring.c ----
 */
byte generation;     /* ring->generation */
bool ready, broken;  /* state: READY, BROKEN, or neither: RESET */
bool resetting;
bool changed;
byte latched_life;   /* version and features */
byte sq_head, cq_tail, cq_published, inflight;

/* begin() */
inline begin(g)
{
	atomic { sq_head = 0; cq_tail = 0; cq_published = 0; generation = g; ready = false; broken = false; changed = true }
#ifndef NO_DEVICE_ZERO
	STORE(DEVICE, SQ_EVENT, 0);
	STORE(DEVICE, CQ_TAIL, 0);
#endif
#ifndef GENERATION_FIRST
	RELEASE(DEVICE, STATE, RESET);
	RELEASE(DEVICE, GENERATION, generation)
#else
	RELEASE(DEVICE, GENERATION, generation);
	RELEASE(DEVICE, STATE, RESET)
#endif
}

/* vdb__index_first_generation() */
inline first_generation()
{
	fresh = 1;
	do
	:: fresh == a || fresh == b -> fresh++
	:: else -> a = 0; b = 0; break
	od
}

/* vdb__ring_attach() */
inline attach()
{
	b = LOAD(D_RESET);
	a = LOAD(D_READY);
	first_generation();
	begin(fresh);
	fresh = 0
}

/* wants_reset(). A driver that asks has taken `ready` back, one that got its reset has
 * ready == reset == generation. The one load of an own word: its writer sees what is still
 * in its buffer. */
#define WIPED (!(buffer[DEVICE] ?? [1, GENERATION, eval(generation)]) && LOAD(GENERATION) != generation)
#ifndef NO_WIPED
#define WANTS_RESET(reset, ready) (reset != 0 && ready != reset && (reset != generation || WIPED))
#else
#define WANTS_RESET(reset, ready) (reset != 0 && ready != reset && reset != generation)
#endif

/* serve_reset() */
inline serve_reset()
{
	b = LOAD(D_RESET);
	a = LOAD(D_READY);
	if
	:: resetting || WANTS_RESET(b, a) ->
		resetting = true;
		if
#ifndef NO_INFLIGHT_WAIT
		:: inflight == 0 ->
#else
		:: true ->
#endif
			atomic {
				resetting = false;
				if
				:: b == 0 || b == a -> first_generation()
				:: else -> fresh = b
				fi
			}
			begin(fresh);
			fresh = 0
		:: inflight > 0
		fi
	:: else
	fi;
	atomic { a = 0; b = 0 }
}

/* take_driver() */
inline take_driver()
{
	if
	:: atomic { !resetting && !ready && !broken && LOAD(D_READY) == generation -> a = LOAD(D_LIFE) }
		atomic { latched_life = a; ready = true; changed = true; a = 0 }
		RELEASE(DEVICE, STATE, READY)
	:: else
	fi
}

/* ring_pop(), ring_complete(), and the backend in between */
inline serve()
{
	do
	:: atomic { ready && !resetting && LOAD(SQ_TAIL) != sq_head && LOAD(SQ_TAIL) != sq_head + ENTRIES ->
		assert(zeroed);
		ready = false; broken = true; changed = true } /* VDB_REASON_SQ_INDEX */
		RELEASE(DEVICE, STATE, BROKEN)
	:: atomic { ready && !resetting && LOAD(SQ_TAIL) == sq_head + ENTRIES ->
		assert(LOAD(SQE) == latched_life);
		sq_head++;
		inflight++ }
		if
		:: completed() /* VDB_REQ_DONE */
		:: true        /* VDB_REQ_PENDING */
		fi
	:: else -> break
	od
}

inline completed()
{
	atomic { inflight--;
		if
		:: ready && !resetting ->
			STORE(DEVICE, CQE, latched_life);
			cq_tail++
		:: else
		fi }
}

/* ring_publish() */
inline publish()
{
	if
	:: ready && !resetting && cq_tail != cq_published ->
		RELEASE(DEVICE, CQ_TAIL, cq_tail);
		FENCE(DEVICE);
		atomic {
			if
			:: WANTS(LOAD(CQ_EVENT), cq_published, cq_tail) -> changed = true
			:: else
			fi;
			cq_published = cq_tail
		}
	:: else
	fi;
	FENCE(DEVICE); /* the system call that writes the irqfd */
	atomic {
		if
		:: changed -> changed = false; irq = 1
		:: else
		fi
	}
}

/* ring_pending() */
#define PENDING ((ready && !resetting && LOAD(SQ_TAIL) != sq_head) || \
	(!resetting && WANTS_RESET(LOAD(D_RESET), LOAD(D_READY))) || (resetting && inflight == 0) || \
	(!resetting && !ready && !broken && LOAD(D_READY) == generation))

proctype device()
{
	byte a, b, fresh, n;

	do
	:: atomic { n < ATTACHES -> n++; inflight = 0; turning = true }
		attach();
		do
		:: atomic { bell = 0; turning = true }
			serve_reset(); /* vdb__ring_ready() */
			take_driver();
			serve();
			publish();
			/* ring_arm() */
			if
			:: ready -> STORE(DEVICE, SQ_EVENT, sq_head)
			:: else
			fi;
			FENCE(DEVICE);
			if
			:: atomic { PENDING -> turning = false }
			:: atomic { !(PENDING) -> turning = false }
end:				if
				:: bell
				:: inflight > 0 -> completed(); publish()
				:: inflight == 0 && n < ATTACHES -> break /* vdb_lane_destroy(), and a new lane */
				fi
			fi
		od
	:: n == ATTACHES -> break
	od
}

init {
	atomic {
		/* Whatever a former life of the host left there */
		if :: mem[D_READY] = 0 :: mem[D_READY] = 1 :: mem[D_READY] = 2 fi;
		if :: mem[D_RESET] = 0 :: mem[D_RESET] = 1 :: mem[D_RESET] = 2 fi;
		if :: mem[GENERATION] = 0 :: mem[GENERATION] = 1 :: mem[GENERATION] = 2 fi;
		if :: mem[STATE] = RESET :: mem[STATE] = READY fi;
		if :: mem[SQ_TAIL] = 0 :: mem[SQ_TAIL] = 2 fi;
		if :: mem[CQ_TAIL] = 0 :: mem[CQ_TAIL] = 2 fi;
		if :: mem[CQ_EVENT] = 0 :: mem[CQ_EVENT] = 2 fi;
		run drain(DRIVER);
		run drain(DEVICE);
		run device();
		run driver()
	}
}
