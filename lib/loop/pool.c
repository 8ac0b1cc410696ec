/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/error.h"
#include "base/thread.h"
#include "loop/state.h"

#define MAX_RETRIES 4096

struct vdb__pool {
	struct vdb_loop *loop;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct vdb__post *first, **last; /* by vdb__io.post.next */
	bool stop;
	bool placed; /* on the CPUs that were asked for */
	unsigned threads;
	pthread_t thread[];
};

/* ---- The calls ---- */

/* io_uring does not look at the offset where there is none. */
static ssize_t transfer(const struct vdb_io *io)
{
	bool read = io->op == VDB_IO_READV;
	int niov = (int)io->niov;
	/* Not preadv() and pwritev(): they refuse -1. */
	ssize_t ret = read ? preadv2(io->fd, io->iov, niov, (off_t)io->offset, 0)
	                   : pwritev2(io->fd, io->iov, niov, (off_t)io->offset, 0);

	if (ret < 0 && errno == ESPIPE)
		ret = read ? readv(io->fd, io->iov, niov) : writev(io->fd, io->iov, niov);
	return ret;
}

static ssize_t perform(const struct vdb_io *io)
{
	switch (io->op) {
	case VDB_IO_FDATASYNC:
		return fdatasync(io->fd);
	case VDB_IO_FALLOCATE:
		return fallocate(io->fd, io->mode, (off_t)io->offset, (off_t)io->len);
	default:
		return transfer(io);
	}
}

int64_t vdb__io_try(const struct vdb_io *io)
{
	ssize_t ret = perform(io);

	return ret < 0 ? -errno : ret;
}

int64_t vdb__io_perform(const struct vdb_io *io)
{
	int64_t ret;

	for (unsigned tries = 0;; tries++) {
		ret = vdb__io_try(io);
		if ((ret != -EINTR && ret != -EAGAIN) || tries == MAX_RETRIES)
			return ret;
		if (ret == -EAGAIN)
			sched_yield();
	}
}

/* ---- The threads ---- */

static struct vdb__io *own_of(struct vdb__post *post)
{
	return vdb__container(post, struct vdb__io, post);
}

static void finished(struct vdb__post *post, int status)
{
	struct vdb__io *own = own_of(post);

	(void)status; /* done is done, also while the loop ends */
	vdb__io_done(vdb__io_of(own), own->result);
}

static struct vdb__post *take(struct vdb__pool *pool)
{
	struct vdb__post *post;

	pthread_mutex_lock(&pool->lock);
	while (!pool->first && !pool->stop)
		pthread_cond_wait(&pool->more, &pool->lock);
	post = pool->first;
	if (post) {
		pool->first = post->next;
		if (!pool->first)
			pool->last = &pool->first;
	}
	pthread_mutex_unlock(&pool->lock);
	return post;
}

static void *work(void *arg)
{
	struct vdb__pool *pool = arg;
	struct vdb__post *post;

	while ((post = take(pool))) {
		struct vdb__io *own = own_of(post);

		own->result = vdb__io_perform(vdb__io_of(own));
		post->fn = finished;
		vdb__loop_post(pool->loop, post);
	}
	return NULL;
}

void vdb__pool_submit(struct vdb__pool *pool, struct vdb_io *io)
{
	struct vdb__post *post = &vdb__io_own(io)->post;

	post->next = NULL;
	pthread_mutex_lock(&pool->lock);
	*pool->last = post;
	pool->last = &post->next;
	pthread_cond_signal(&pool->more);
	pthread_mutex_unlock(&pool->lock);
}

bool vdb__pool_withdraw(struct vdb__pool *pool, struct vdb_io *io)
{
	struct vdb__post *post = &vdb__io_own(io)->post, **at;
	bool found = false;

	pthread_mutex_lock(&pool->lock);
	for (at = &pool->first; *at && *at != post; at = &(*at)->next)
		;
	if (*at) {
		found = true;
		*at = post->next;
		if (!*at)
			pool->last = at;
	}
	pthread_mutex_unlock(&pool->lock);
	return found;
}

void vdb__pool_destroy(struct vdb__pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	pthread_cond_broadcast(&pool->more);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->threads; i++)
		(void)pthread_join(pool->thread[i], NULL);
	pthread_cond_destroy(&pool->more);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* CPUs that are not to be had are done without. */
static int start(struct vdb__pool *pool, pthread_t *thread)
{
	struct vdb__thread_config config = {.name = "vdb-io", .cpu = -1, .kind = VDB_THREAD_LOOP};
	int err;

	config.cpus = pool->placed ? &pool->loop->io_cpus.set : NULL;
	err = vdb__thread_start(thread, &config, work, pool);
	if (err == -EINVAL && config.cpus) {
		pool->placed = false;
		config.cpus = NULL;
		err = vdb__thread_start(thread, &config, work, pool);
	}
	return err;
}

bool vdb__pool_placed(const struct vdb__pool *pool)
{
	return pool->placed;
}

int vdb__pool_create(struct vdb_loop *loop, unsigned threads, struct vdb__pool **out)
{
	struct vdb__pool *pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->thread[0]));
	int err = 0;

	if (!pool)
		return vdb__fail(ENOMEM, "loop: no memory for %u I/O threads", threads);
	pool->loop = loop;
	pool->placed = loop->io_cpus.asked;
	pool->last = &pool->first;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->more, NULL);
	while (!err && pool->threads < threads) {
		err = start(pool, &pool->thread[pool->threads]);
		if (!err)
			pool->threads++;
	}
	if (err) {
		vdb__pool_destroy(pool);
		return err;
	}
	*out = pool;
	return 0;
}
