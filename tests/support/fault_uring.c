/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults of io_uring. An SQE is looked at once, when it is handed over: a short one is clipped, one that is
 * to fail becomes a NOP, and what that completes with is corrected before anybody can look, since the kernel
 * completes it within the call. One that is to be held becomes a read of an empty pipe, into the same memory.
 */
#include <check.h>
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "fault_rules.h"

#define RINGS 1024u /* by fd */
#define WRONG 256u  /* completions to be corrected */
#define STUCK 64u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned seen[RINGS]; /* SQEs up to here have been looked at */

static struct {
	int ring;
	uint64_t user_data;
	int result;
} wrong[WRONG];
static unsigned wrongs;

static struct stuck {
	uint64_t user_data;
	int pipe[2];
	size_t len;
} stuck[STUCK];
static unsigned stucks;
static char waste[65537]; /* where the pipes' bytes go that are for nobody */

static unsigned unknown; /* flags of io_uring_setup() */

void fault_forget_flags(unsigned flags)
{
	__atomic_store_n(&unknown, flags, __ATOMIC_RELAXED);
}

/* ---- SQEs ---- */

static bool kind(const struct io_uring_sqe *sqe, enum fault_op *op)
{
	switch (sqe->opcode) {
	case IORING_OP_READ:
	case IORING_OP_READV:
	case IORING_OP_READ_FIXED:
		*op = FAULT_READ;
		return true;
	case IORING_OP_WRITE:
	case IORING_OP_WRITEV:
	case IORING_OP_WRITE_FIXED:
		*op = sqe->flags & IOSQE_CQE_SKIP_SUCCESS ? FAULT_SIGNAL : FAULT_WRITE;
		return true;
	case IORING_OP_FSYNC:
		*op = FAULT_SYNC;
		return true;
	case IORING_OP_FALLOCATE:
		*op = FAULT_ALLOCATE;
		return true;
	case IORING_OP_POLL_ADD:
		*op = FAULT_POLL;
		return true;
	default:
		return false;
	}
}

static bool vectored(const struct io_uring_sqe *sqe)
{
	return sqe->opcode == IORING_OP_READV || sqe->opcode == IORING_OP_WRITEV;
}

static void become_nop(int ring, struct io_uring_sqe *sqe, int result)
{
	uint64_t user_data = sqe->user_data;

	io_uring_prep_nop(sqe);
	sqe->user_data = user_data;
	ck_assert_uint_lt(wrongs, WRONG);
	wrong[wrongs].ring = ring;
	wrong[wrongs].user_data = user_data;
	wrong[wrongs++].result = result;
}

/* The kernel has copied the pieces when the call returns. */
static void clip(struct io_uring_sqe *sqe, uint64_t max)
{
	static struct iovec pieces[FAULT__IOV];

	if (!vectored(sqe)) {
		sqe->len = sqe->len < max ? sqe->len : (unsigned)max;
		return;
	}
	sqe->len = fault__clip((const struct iovec *)(uintptr_t)sqe->addr, sqe->len, max, pieces);
	sqe->addr = (uintptr_t)pieces;
}

static void get_stuck(struct io_uring_sqe *sqe, enum fault_op op)
{
	struct stuck *s = &stuck[stucks];
	struct io_uring_sqe old = *sqe;
	const struct iovec *iov = (const struct iovec *)(uintptr_t)old.addr;

	ck_assert_uint_lt(stucks++, STUCK);
	*s = (struct stuck){.user_data = old.user_data, .len = old.len};
	ck_assert_int_eq(pipe(s->pipe), 0);
	if (op == FAULT_SYNC)
		s->len = 0;
	else if (vectored(&old))
		s->len = fault__length(iov, old.len);
	ck_assert_uint_le(s->len, 65536); /* that a pipe takes at once */
	if (op == FAULT_READ && vectored(&old)) {
		io_uring_prep_readv(sqe, s->pipe[0], iov, old.len, 0);
	} else if (op == FAULT_READ) {
		io_uring_prep_read(sqe, s->pipe[0], (void *)(uintptr_t)old.addr, old.len, 0);
	} else {
		io_uring_prep_read(sqe, s->pipe[0], waste, (unsigned)s->len + 1, 0);
	}
	sqe->user_data = old.user_data;
}

static bool is_stuck(uint64_t user_data)
{
	for (unsigned i = 0; i < stucks; i++)
		if (stuck[i].user_data == user_data)
			return true;
	return false;
}

static void look(int ring, struct io_uring_sqe *sqe)
{
	enum fault_op op;
	int64_t result;

	/* A disk does not let go for being asked. */
	if (sqe->opcode == IORING_OP_ASYNC_CANCEL && is_stuck(sqe->addr))
		become_nop(ring, sqe, -EALREADY);
	if (!kind(sqe, &op))
		return;
	if (!fault__next(op, &result)) {
		if (fault__holds(op))
			get_stuck(sqe, op);
		return;
	}
	if (result <= 0)
		become_nop(ring, sqe, (int)result);
	else
		clip(sqe, (uint64_t)result);
}

static void look_at_all(struct io_uring *ring)
{
	unsigned *from = &seen[(unsigned)ring->ring_fd % RINGS], tail = ring->sq.sqe_tail;

	if (tail - *from > ring->sq.ring_entries)
		*from = *ring->sq.khead; /* another ring than before */
	for (; *from != tail; ++*from)
		look(ring->ring_fd, &ring->sq.sqes[*from & (ring->sq.ring_entries - 1)]);
}

/* ---- CQEs ---- */

static void correct_one(int ring, struct io_uring_cqe *cqe)
{
	for (unsigned i = 0; i < wrongs; i++) {
		if (wrong[i].ring != ring || wrong[i].user_data != cqe->user_data)
			continue;
		cqe->res = wrong[i].result;
		wrong[i] = wrong[--wrongs];
		return;
	}
}

static void correct(struct io_uring *ring)
{
	unsigned tail = __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE);

	for (unsigned at = *ring->cq.khead; wrongs && at != tail; at++)
		correct_one(ring->ring_fd, &ring->cq.cqes[at & (ring->cq.ring_entries - 1)]);
}

void fault__uring_release(void)
{
	static char bytes[65536];

	pthread_mutex_lock(&lock);
	memset(bytes, FAULT_BYTE, sizeof(bytes));
	for (; stucks; stucks--) {
		struct stuck *s = &stuck[stucks - 1];

		ck_assert_int_eq(write(s->pipe[1], bytes, s->len), (ssize_t)s->len);
		close(s->pipe[1]);
		close(s->pipe[0]); /* the ring has it as long as it needs it */
	}
	pthread_mutex_unlock(&lock);
}

/* ---- Calls ---- */

static bool refused(struct io_uring *ring, int64_t *result)
{
	if (fault__next(FAULT_ENTER, result) && *result < 0)
		return true;
	pthread_mutex_lock(&lock);
	look_at_all(ring);
	pthread_mutex_unlock(&lock);
	return false;
}

static int handed_over(struct io_uring *ring, int ret)
{
	pthread_mutex_lock(&lock);
	correct(ring);
	pthread_mutex_unlock(&lock);
	return ret;
}

int __real_io_uring_submit(struct io_uring *ring) __attribute__((weak));
int __wrap_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring)
{
	int64_t result;

	if (refused(ring, &result))
		return (int)result;
	return handed_over(ring, __real_io_uring_submit(ring));
}

int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait) __attribute__((weak));
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait)
{
	int64_t result;

	if (refused(ring, &result))
		return (int)result;
	return handed_over(ring, __real_io_uring_submit_and_wait(ring, wait));
}

int __real_io_uring_submit_and_get_events(struct io_uring *ring) __attribute__((weak));
int __wrap_io_uring_submit_and_get_events(struct io_uring *ring);
int __wrap_io_uring_submit_and_get_events(struct io_uring *ring)
{
	int64_t result;

	if (refused(ring, &result))
		return (int)result;
	return handed_over(ring, __real_io_uring_submit_and_get_events(ring));
}

int __real_io_uring_queue_init_params(unsigned n, struct io_uring *ring, struct io_uring_params *p)
        __attribute__((weak));
int __wrap_io_uring_queue_init_params(unsigned n, struct io_uring *ring, struct io_uring_params *p);
int __wrap_io_uring_queue_init_params(unsigned n, struct io_uring *ring, struct io_uring_params *p)
{
	int64_t result;
	int err;

	if (fault__next(FAULT_SETUP, &result) && result < 0)
		return (int)result;
	err = p->flags & __atomic_load_n(&unknown, __ATOMIC_RELAXED)
	              ? -EINVAL
	              : __real_io_uring_queue_init_params(n, ring, p);
	if (!err)
		seen[(unsigned)ring->ring_fd % RINGS] = 0;
	return err;
}

int __real_io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned off, const struct iovec *iov,
                                                const __u64 *tags, unsigned n) __attribute__((weak));
int __wrap_io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned off, const struct iovec *iov,
                                                const __u64 *tags, unsigned n);
int __wrap_io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned off, const struct iovec *iov,
                                                const __u64 *tags, unsigned n)
{
	int64_t result;

	if (iov->iov_base && fault__next(FAULT_BUFFERS, &result) && result < 0)
		return (int)result;
	return __real_io_uring_register_buffers_update_tag(ring, off, iov, tags, n);
}
