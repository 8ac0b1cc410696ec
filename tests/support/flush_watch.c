/* SPDX-License-Identifier: Apache-2.0 */
#include "flush_watch.h"

#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"
#include "rig.h"

#define SIZE (1u << 20)
#define DEPTH 16u
#define MAX_SYNCS 4096u

/* ---- The record: one clock for the guest, the loop and the pool's threads ---- */

struct sync {
	uint64_t start, end; /* end 0: not yet */
	uint64_t tag;        /* io_uring: user_data */
	int result;
};

static struct {
	pthread_mutex_t lock;
	uint64_t now;
	struct sync syncs[MAX_SYNCS];
	unsigned n;
	dev_t dev;
	ino_t ino;
	bool on;
} record = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool is_image(int fd)
{
	struct stat st;

	return record.on && !fstat(fd, &st) && st.st_ino == record.ino && st.st_dev == record.dev;
}

static uint64_t tick(void)
{
	uint64_t now;

	pthread_mutex_lock(&record.lock);
	now = ++record.now;
	pthread_mutex_unlock(&record.lock);
	return now;
}

static unsigned sync_starts(uint64_t tag)
{
	unsigned i;

	pthread_mutex_lock(&record.lock);
	i = record.n++;
	ck_assert_uint_lt(i, MAX_SYNCS);
	record.syncs[i] = (struct sync){.start = ++record.now, .tag = tag};
	pthread_mutex_unlock(&record.lock);
	return i;
}

static void sync_ends(unsigned i, int result)
{
	pthread_mutex_lock(&record.lock);
	record.syncs[i].end = ++record.now;
	record.syncs[i].result = result;
	pthread_mutex_unlock(&record.lock);
}

/* Has one succeeded that began after `since`? */
static bool synced_since(uint64_t since)
{
	bool found = false;

	pthread_mutex_lock(&record.lock);
	for (unsigned i = 0; i < record.n && !found; i++)
		found = record.syncs[i].start > since && record.syncs[i].end && !record.syncs[i].result;
	pthread_mutex_unlock(&record.lock);
	return found;
}

/* ---- System calls: the epoll engine's pool ---- */

int __real_fdatasync(int fd) __attribute__((weak));
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	unsigned i;
	int ret;

	if (!is_image(fd))
		return __real_fdatasync(fd);
	i = sync_starts(0);
	ret = __real_fdatasync(fd);
	sync_ends(i, ret);
	return ret;
}

/* ---- SQEs and CQEs ---- */

static struct io_uring *seen_ring;
static unsigned seen_cqes; /* up to here, by index */

static void cqe_seen(const struct io_uring_cqe *cqe)
{
	for (unsigned i = 0; i < record.n; i++) {
		if (record.syncs[i].tag == cqe->user_data && !record.syncs[i].end) {
			sync_ends(i, cqe->res);
			return;
		}
	}
}

/* What the kernel has answered so far. The loop may have taken it: it is in the ring still. */
static void look_at_cqes(void)
{
	const struct io_uring_cq *cq;
	unsigned tail;

	if (!seen_ring)
		return;
	cq = &seen_ring->cq;
	tail = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);
	for (; seen_cqes != tail; seen_cqes++)
		cqe_seen(&cq->cqes[seen_cqes & *cq->kring_mask]);
}

/* A file that the ring knows by number is the image: the loop has no other. */
static bool concerns_image(const struct io_uring_sqe *sqe)
{
	return sqe->flags & IOSQE_FIXED_FILE || is_image(sqe->fd);
}

/* What the kernel is about to be given. */
static void look_at_sqes(struct io_uring *ring)
{
	const struct io_uring_sq *sq = &ring->sq;

	if (!record.on)
		return;
	if (seen_ring != ring) {
		seen_ring = ring;
		seen_cqes = *ring->cq.khead;
	}
	/* Answers first: a tag that is used again has had its last one. */
	look_at_cqes();
	for (unsigned i = sq->sqe_head; i != sq->sqe_tail; i++) {
		const struct io_uring_sqe *sqe = &sq->sqes[i & *sq->kring_mask];

		if (sqe->opcode == IORING_OP_FSYNC && sqe->fsync_flags & IORING_FSYNC_DATASYNC &&
		    concerns_image(sqe))
			(void)sync_starts(sqe->user_data);
	}
}

int __real_io_uring_submit(struct io_uring *ring) __attribute__((weak));
int __wrap_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring)
{
	look_at_sqes(ring);
	return __real_io_uring_submit(ring);
}

int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned n) __attribute__((weak));
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned n);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned n)
{
	look_at_sqes(ring);
	return __real_io_uring_submit_and_wait(ring, n);
}

int __real_io_uring_submit_and_get_events(struct io_uring *ring) __attribute__((weak));
int __wrap_io_uring_submit_and_get_events(struct io_uring *ring);
int __wrap_io_uring_submit_and_get_events(struct io_uring *ring)
{
	look_at_sqes(ring);
	return __real_io_uring_submit_and_get_events(ring);
}

/* ---- The guest ---- */

struct asked {
	bool flush;
	uint64_t since; /* FLUSH: when the last completed write was known to be complete */
};

struct run {
	struct rig rig;
	struct rig_guest guest;
	struct asked asked[DEPTH];
	bool busy[DEPTH];
	uint64_t last_write;
	struct flush_watch watch;
};

static void ask(struct run *run, unsigned slot, unsigned random)
{
	struct asked *asked = &run->asked[slot];

	asked->flush = random % 3 == 0;
	asked->since = run->last_write;
	run->busy[slot] = true;
	if (asked->flush)
		ck_assert(mock_submit(&run->guest.m, VDB_OP_FLUSH, 0, 0, 0, slot));
	else
		ck_assert(mock_submit(&run->guest.m, VDB_OP_WRITE, RIG_DATA, 512u << random % 4,
		                      random % 128 * 4096ull, slot));
}

static void take(struct run *run, const struct vdb_cqe *cqe)
{
	const struct asked *asked = &run->asked[cqe->user_data];

	run->busy[cqe->user_data] = false;
	ck_assert_int_ge(cqe->result, 0);
	if (!asked->flush) {
		run->last_write = tick();
		run->watch.writes++;
		return;
	}
	look_at_cqes();
	run->watch.flushes++;
	run->watch.broken += !synced_since(asked->since);
}

static void work(struct run *run, unsigned requests)
{
	unsigned begun = 0, ended = 0, random = 12345;
	struct vdb_cqe cqe;

	while (ended < requests) {
		for (unsigned slot = 0; slot < DEPTH && begun < requests; slot++) {
			random = random * 1103515245u + 12345u;
			if (run->busy[slot] || random >> 16 & 1)
				continue;
			ask(run, slot, random >> 17);
			begun++;
		}
		for (; vdb_guest_reap(&run->guest.m.g, &cqe); ended++)
			take(run, &cqe);
		rig_turns(&run->rig, 1);
	}
}

struct flush_watch flush_watch_run(unsigned requests)
{
	struct vdb_file_config config = {.size = sizeof(config)};
	struct vdb_backend *backend;
	struct run *run = calloc(1, sizeof(*run));
	struct flush_watch watch;
	char path[64];
	struct stat st;

	ck_assert_ptr_nonnull(run);
	image_make(path, SIZE, 3);
	ck_assert_int_eq(stat(path, &st), 0);
	record.ino = st.st_ino;
	record.dev = st.st_dev;
	record.on = true;
	config.path = path;
	ck_assert_int_eq(vdb_backend_file(&config, &backend), 0);
	rig_open(&run->rig, NULL);
	rig_join(&run->rig, &run->guest, &(struct rig_guest_config){.backend = backend});
	work(run, requests);
	rig_leave(&run->guest);
	record.on = false;
	vdb_backend_destroy(backend);
	rig_close(&run->rig);
	unlink(path);
	watch = run->watch;
	watch.syncs = record.n;
	free(run);
	return watch;
}
