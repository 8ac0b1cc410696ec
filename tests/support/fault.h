/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host that fails as it is told: a layer between the library and the kernel, for tests that say FAULTS in
 * their head (cmake/AddTest.cmake). The same words hold for both engines: what goes by system calls is
 * answered there, what goes by io_uring is changed on its way into the submission queue, or its completion is
 * changed before the library can look.
 *
 *     fault_say(FAULT_READ, 512);          the next read moves no more than 512 bytes
 *     fault_say(FAULT_READ, -EIO);         the one after it fails, and reaches no disk
 *     fault_always(FAULT_ENTER, -ENOMEM);  every submission, or every wait of epoll, until fault_never()
 *     fault_hold(FAULT_READ);              reads do not end until fault_release()
 *
 * Any thread.
 */
#ifndef TESTS_FAULT_H
#define TESTS_FAULT_H

#include <stdint.h>

enum fault_op {
	FAULT_READ,     /* of data: READ, READV, READ_FIXED; preadv2() */
	FAULT_WRITE,    /* likewise */
	FAULT_SYNC,     /* fdatasync() */
	FAULT_ALLOCATE, /* fallocate() */
	FAULT_POLL,     /* io_uring: a poll that is armed */
	FAULT_ENTER,    /* io_uring_enter(), epoll_wait(): nothing is taken, nothing is waited for */
	FAULT_SETUP,    /* io_uring_setup() */
	FAULT_BUFFERS,  /* io_uring: memory that is registered */
	FAULT_SIGNAL,   /* write() to an eventfd */
	FAULT_OPS
};

/* What happens to the next of that kind of which nothing was said yet: result <= 0: this instead of doing
 * it; > 0: no more bytes than this. */
void fault_say(enum fault_op op, int64_t result);

/* The same for all that come behind those of fault_say(). */
void fault_always(enum fault_op op, int64_t result);
void fault_never(enum fault_op op);

/* How many there were, whatever became of them. What is tried without waiting (RWF_NOWAIT) is none: it is
 * refused while anything was said of reads. */
unsigned fault_asked(enum fault_op op);

/* Said, and yet to happen; of all kinds. */
unsigned fault_left(void);

/* An older kernel: io_uring_setup() with any of these is EINVAL. */
void fault_forget_flags(unsigned flags);

/* A disk that has stopped answering: READ, WRITE or SYNC that come from now on, until fault_release(), stay
 * with the kernel, and cannot be cancelled. Then they have succeeded: reads find bytes of FAULT_BYTE,
 * writes went nowhere. Each holds a thread of the pool where there is no io_uring. */
#define FAULT_BYTE 0x5a
void fault_hold(enum fault_op op);
unsigned fault_held(void);
/* Those that come from now on go through; what is held stays. */
void fault_hold_no_more(void);
void fault_release(void);

#endif
