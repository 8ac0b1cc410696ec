/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared memory as processors really have it. Spin runs one step of one process
 * at a time; real stores wait in the writer's store buffer and are seen by the
 * other side later. So each side has a buffer, and a process of its own that
 * drains it whenever it likes:
 *
 *   default   first in, first out: TSO, which is x86
 *   -DWEAK    a relaxed store may overtake any older store to another word; a
 *             release store leaves only after all that were before it
 *
 * FENCE waits until the buffer is empty: vdb__fence_full() and the fence of
 * vdb/guest.h. No side loads a word that it writes itself (both keep their own
 * indices in private memory), so the model needs no forwarding.
 *
 * The includer defines WORDS, and RELAXED(m): m(w) for each word that is stored
 * relaxed.
 */
#define DRIVER 0
#define DEVICE 1

byte mem[WORDS];
#ifndef BUFFERS
#define BUFFERS 2
#endif
chan buffer[BUFFERS] = [4] of { bit, byte, byte }; /* release?, word, value */

#define STORE(side, w, v) buffer[side] ! 0, w, v
#define RELEASE(side, w, v) buffer[side] ! 1, w, v
#define LOAD(w) mem[w]
#define FENCE(side) empty(buffer[side])

#define OVERTAKE(w) \
	:: atomic { buffer[side] ?? 0, w, value -> mem[w] = value; value = 0 }

proctype drain(byte side)
{
	bit release;
	byte word, value;

end:	do
	:: atomic {
		buffer[side] ? release, word, value ->
		mem[word] = value;
		release = 0; word = 0; value = 0
	   }
#ifdef WEAK
	RELAXED(OVERTAKE)
#endif
	od
}
