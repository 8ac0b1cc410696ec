/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free-running indices in a space small enough that they wrap all the time:
 * SPACE stands for 2^32. A ring of at most SPACE / 2 entries.
 */
#define SPACE 4
#define NEXT(i) (((i) + 1) % SPACE)
#define DIST(to, from) (((to) + SPACE - (from)) % SPACE)

/* event in [old, new): vdb__index_wants(), vdb_guest_wants() */
#define PASSED(event, old, new) (DIST(event, old) < DIST(new, old))
