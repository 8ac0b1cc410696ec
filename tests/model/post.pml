/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posts to a loop, which is rung for only while it sleeps: lib/loop/post.c, and vdb__loop_settle() in
 * lib/loop/turn.c.
 *
 * Claim: the loop never sleeps over a post, whichever of two threads it comes from, and whoever of
 * them found the list empty.
 */
#define WORDS 1
#define ASLEEP 0 /* loop */
#define RELAXED(m) m(0)
#define BUFFERS 1
#define LOOP 0

#include "memory.pml"

byte posts; /* a bit for each thread: changed by locked operations only, which nothing holds up */
bit bell;   /* the eventfd has been written since the loop looked */

/* vdb__loop_post(), and a second one only after the first has run. Without the fence the processor may load
 * `asleep` before the post is in the list. */
proctype poster(byte me)
{
	byte found;
	bit asleep;

	do
	:: atomic { found = posts; posts = posts | me };
#ifndef NO_POST_FENCE
		asleep = LOAD(ASLEEP);
#endif
		if
		:: !found && asleep -> bell = 1
		:: else
		fi;
#ifdef NO_POST_FENCE
		asleep = LOAD(ASLEEP); /* for the next one */
#endif
progress:	!(posts & me)
	:: break
	od
}

proctype loop()
{
	do
	:: /* vdb__turn() */
		STORE(LOOP, ASLEEP, 0);
		bell = 0;
		posts = 0;
		/* lie_down() */
		STORE(LOOP, ASLEEP, 1);
#ifndef NO_SLEEP_FENCE
		FENCE(LOOP);
#endif
		if
#ifndef NO_RECHECK
		:: posts
		:: !posts ->
#else
		:: true ->
#endif
end:			bell
		fi
	od
}

init {
	atomic {
		run drain(LOOP);
		run loop();
		run poster(1);
		run poster(2)
	}
}
