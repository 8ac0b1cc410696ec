/* SPDX-License-Identifier: Apache-2.0 */
/* What was said, and the system calls. */
#include "fault.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fault_rules.h"

#define SAID 64u

struct rule {
	int64_t said[SAID];
	unsigned first, last; /* of said[], counted through */
	int64_t always;
	bool has_always;
	bool hold;
	unsigned asked;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t let_go = PTHREAD_COND_INITIALIZER;
static struct rule rules[FAULT_OPS];
static unsigned held, holds; /* holds: times that were let go */

void fault_say(enum fault_op op, int64_t result)
{
	struct rule *rule = &rules[op];
	bool room;

	pthread_mutex_lock(&lock);
	room = rule->last - rule->first < SAID;
	if (room)
		rule->said[rule->last++ % SAID] = result;
	pthread_mutex_unlock(&lock);
	ck_assert(room);
}

void fault_always(enum fault_op op, int64_t result)
{
	pthread_mutex_lock(&lock);
	rules[op].always = result;
	rules[op].has_always = true;
	pthread_mutex_unlock(&lock);
}

void fault_never(enum fault_op op)
{
	pthread_mutex_lock(&lock);
	rules[op].first = rules[op].last;
	rules[op].has_always = false;
	pthread_mutex_unlock(&lock);
}

unsigned fault_asked(enum fault_op op)
{
	unsigned asked;

	pthread_mutex_lock(&lock);
	asked = rules[op].asked;
	pthread_mutex_unlock(&lock);
	return asked;
}

unsigned fault_left(void)
{
	unsigned left = 0;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < FAULT_OPS; i++)
		left += rules[i].last - rules[i].first;
	pthread_mutex_unlock(&lock);
	return left;
}

static bool next_of(struct rule *rule, int64_t *result)
{
	rule->asked++;
	if (rule->first != rule->last)
		*result = rule->said[rule->first++ % SAID];
	else if (rule->has_always)
		*result = rule->always;
	else
		return false;
	return true;
}

bool fault__next(enum fault_op op, int64_t *result)
{
	bool found;

	pthread_mutex_lock(&lock);
	found = next_of(&rules[op], result);
	pthread_mutex_unlock(&lock);
	return found;
}

static bool quiet(enum fault_op op)
{
	const struct rule *rule = &rules[op];
	bool yes;

	pthread_mutex_lock(&lock);
	yes = rule->first == rule->last && !rule->has_always && !rule->hold;
	pthread_mutex_unlock(&lock);
	return yes;
}

/* ---- What does not end ---- */

void fault_hold(enum fault_op op)
{
	pthread_mutex_lock(&lock);
	rules[op].hold = true;
	pthread_mutex_unlock(&lock);
}

unsigned fault_held(void)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = held;
	pthread_mutex_unlock(&lock);
	return n;
}

void fault_hold_no_more(void)
{
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < FAULT_OPS; i++)
		rules[i].hold = false;
	pthread_mutex_unlock(&lock);
}

void fault_release(void)
{
	fault_hold_no_more();
	pthread_mutex_lock(&lock);
	held = 0;
	holds++;
	pthread_cond_broadcast(&let_go);
	pthread_mutex_unlock(&lock);
	fault__uring_release();
}

bool fault__holds(enum fault_op op)
{
	bool hold;

	pthread_mutex_lock(&lock);
	hold = rules[op].hold;
	held += hold;
	pthread_mutex_unlock(&lock);
	return hold;
}

/* True when it was let go. */
static bool wait_if_held(enum fault_op op)
{
	unsigned then;
	bool hold = fault__holds(op);

	pthread_mutex_lock(&lock);
	for (then = holds; hold && holds == then;)
		pthread_cond_wait(&let_go, &lock);
	pthread_mutex_unlock(&lock);
	return hold;
}

/* ---- Lengths ---- */

uint64_t fault__length(const struct iovec *iov, unsigned niov)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < niov; i++)
		len += iov[i].iov_len;
	return len;
}

unsigned fault__clip(const struct iovec *iov, unsigned niov, uint64_t max, struct iovec *out)
{
	unsigned n = 0;

	for (; n < niov && max; n++) {
		out[n] = iov[n];
		if (out[n].iov_len > max)
			out[n].iov_len = max;
		max -= out[n].iov_len;
	}
	return n;
}

/* ---- System calls ---- */

typedef ssize_t transfer_fn(int fd, const struct iovec *iov, int niov, off_t offset, int flags);

transfer_fn __real_preadv2 __attribute__((weak));
transfer_fn __wrap_preadv2;
transfer_fn __real_pwritev2 __attribute__((weak));
transfer_fn __wrap_pwritev2;

static ssize_t refuse(int64_t err)
{
	errno = (int)-err;
	return -1;
}

static ssize_t transfer(enum fault_op op, transfer_fn *real, int fd, const struct iovec *iov, int niov,
                        off_t offset)
{
	struct iovec clipped[FAULT__IOV];
	int64_t result;

	if (fault__next(op, &result)) {
		if (result < 0)
			return refuse(result);
		niov = (int)fault__clip(iov, (unsigned)niov, (uint64_t)result, clipped);
		return niov ? real(fd, clipped, niov, offset, 0) : 0;
	}
	if (!wait_if_held(op))
		return real(fd, iov, niov, offset, 0);
	for (int i = 0; i < niov && op == FAULT_READ; i++)
		memset(iov[i].iov_base, FAULT_BYTE, iov[i].iov_len);
	return (ssize_t)fault__length(iov, (unsigned)niov);
}

ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int niov, off_t offset, int flags)
{
	if (!flags)
		return transfer(FAULT_READ, __real_preadv2, fd, iov, niov, offset);
	return quiet(FAULT_READ) ? __real_preadv2(fd, iov, niov, offset, flags) : refuse(-EAGAIN);
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int niov, off_t offset, int flags)
{
	if (flags)
		return __real_pwritev2(fd, iov, niov, offset, flags);
	return transfer(FAULT_WRITE, __real_pwritev2, fd, iov, niov, offset);
}

int __real_fdatasync(int fd) __attribute__((weak));
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	int64_t result;

	if (fault__next(FAULT_SYNC, &result))
		return result < 0 ? (int)refuse(result) : 0;
	return wait_if_held(FAULT_SYNC) ? 0 : __real_fdatasync(fd);
}

int __real_fallocate(int fd, int mode, off_t offset, off_t len) __attribute__((weak));
int __wrap_fallocate(int fd, int mode, off_t offset, off_t len);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t len)
{
	int64_t result;

	if (fault__next(FAULT_ALLOCATE, &result))
		return result < 0 ? (int)refuse(result) : 0;
	return __real_fallocate(fd, mode, offset, len);
}

int __real_epoll_wait(int fd, struct epoll_event *events, int room, int timeout) __attribute__((weak));
int __wrap_epoll_wait(int fd, struct epoll_event *events, int room, int timeout);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int room, int timeout)
{
	int64_t result;

	if (fault__next(FAULT_ENTER, &result))
		return result < 0 ? (int)refuse(result) : 0;
	return __real_epoll_wait(fd, events, room, timeout);
}

/* An eventfd's, as they are all 8 bytes: Check's own messages are longer. */
ssize_t __real_write(int fd, const void *buf, size_t len) __attribute__((weak));
ssize_t __wrap_write(int fd, const void *buf, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len)
{
	int64_t result;

	if (len == sizeof(uint64_t) && fault__next(FAULT_SIGNAL, &result) && result < 0)
		return refuse(result);
	return __real_write(fd, buf, len);
}
