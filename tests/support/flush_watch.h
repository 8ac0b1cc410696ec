/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches the system calls and SQEs of writes and syncs, while a guest writes and
 * flushes at random, and counts FLUSH completions that promised too much.
 *
 * A FLUSH may be published when an fdatasync() of the file has succeeded that was
 * issued after all writes that had completed when the guest asked for the FLUSH.
 *
 * The test's head must say
 *     WRAP: fdatasync io_uring_submit io_uring_submit_and_wait io_uring_submit_and_get_events
 */
#ifndef FLUSH_WATCH_H
#define FLUSH_WATCH_H

struct flush_watch {
	unsigned flushes; /* completed well */
	unsigned writes;
	unsigned syncs;  /* of the file, seen in the system */
	unsigned broken; /* promises */
};

/* `requests` of them, about a third FLUSHes, up to 16 at a time. */
struct flush_watch flush_watch_run(unsigned requests);

#endif
