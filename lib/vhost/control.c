/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread. `struct wish` is what others ask for, under the lock; everything else is the thread's
 * own. A turn takes the one thing that is due most: an answer to a stop before all else, then a reset,
 * memory, and starts; when there is nothing it waits for wishes and for the peer.
 */
#include "vhost/control.h"

#include <limits.h>
#include <linux/virtio_config.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/list.h"
#include "base/thread.h"
#include "vhost/memory.h"

struct queue {
	struct vdb__remote_queue told; /* the thread's from start to stop */
	bool wanted;                   /* locked: from start to stop */
	bool stop;                     /* locked: asked for, not answered */
	bool runs;                     /* the peer serves it */
	bool failed;                   /* it will not: the device knows */
};

/* Locked. */
struct wish {
	bool memory; /* a new map */
	bool reset;  /* the driver's life is over */
	bool poke;
	bool end;
};

struct vdb__vhost {
	struct vdb__remote remote; /* first */
	struct vdb__vhost_config config;
	struct vdb__peer *peer;
	pthread_mutex_t lock;
	struct wish wish;
	struct vdb__vhost_state state; /* locked */
	int wake_fd, err_fd;
	bool threaded, joined;
	uint32_t regions; /* under the memory's own lock: how many the peer must take */
	struct vdb__mem_user user;

	bool up;
	bool featured, readied; /* the peer knows of this driver's life */
	bool stale;             /* what the peer knows of memory */
	uint64_t retry_at;      /* ns */
	struct vdb__map *map;   /* what the peer may use: its regions stay */
	struct queue queues[];
};

static struct vdb__vhost *vhost_of(const struct vdb__remote *remote)
{
	return (struct vdb__vhost *)(uintptr_t)remote;
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- What others ask for ---- */

/* A full counter has rung already. */
static void ring(int fd)
{
	const uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

static void wake(struct vdb__vhost *v)
{
	ring(v->wake_fd);
}

static void wish_for(struct vdb__vhost *v, bool *what)
{
	pthread_mutex_lock(&v->lock);
	*what = true;
	wake(v); /* before it is let go: the thread may free it then */
	pthread_mutex_unlock(&v->lock);
}

static bool serves(const struct vdb__remote *remote, uint32_t index)
{
	return vhost_of(remote)->config.served >> index & 1;
}

static void start(struct vdb__remote *remote, const struct vdb__remote_queue *queue)
{
	struct vdb__vhost *v = vhost_of(remote);
	struct queue *q = &v->queues[queue->index];

	pthread_mutex_lock(&v->lock);
	q->told = *queue;
	q->wanted = true;
	pthread_mutex_unlock(&v->lock);
	wake(v);
}

static void stop(struct vdb__remote *remote, uint32_t index)
{
	struct vdb__vhost *v = vhost_of(remote);

	wish_for(v, &v->queues[index].stop);
}

static void reset(struct vdb__remote *remote)
{
	struct vdb__vhost *v = vhost_of(remote);

	wish_for(v, &v->wish.reset);
}

void vdb__vhost_poke(struct vdb__vhost *v)
{
	wish_for(v, &v->wish.poke);
}

static void changed(struct vdb__mem_user *user)
{
	struct vdb__vhost *v = vdb__container(user, struct vdb__vhost, user);

	wish_for(v, &v->wish.memory);
}

static int added(struct vdb__mem_user *user, const struct vdb__region *region)
{
	struct vdb__vhost *v = vdb__container(user, struct vdb__vhost, user);
	int rc = vdb__vhost_memory_check(v->peer->ops, v->config.name, region, v->regions);

	if (!rc && !vdb__region_readonly(region))
		v->regions++;
	return rc;
}

static void removed(struct vdb__mem_user *user, const struct vdb__region *region)
{
	if (!vdb__region_readonly(region))
		vdb__container(user, struct vdb__vhost, user)->regions--;
}

/* ---- A peer that is lost ---- */

static void note(struct vdb__vhost *v, int rc)
{
	pthread_mutex_lock(&v->lock);
	v->state.lost += v->state.up && !v->up;
	v->state.up = v->up;
	if (rc)
		(void)snprintf(v->state.why, sizeof(v->state.why), "%s", vdb_errmsg());
	pthread_mutex_unlock(&v->lock);
}

/* It has not said how far it got. Of a split ring the driver's view of that is in memory, and all that is
 * not used yet will be served again; of a packed one nothing can be said. */
static void find_position(struct vdb__vhost *v, struct queue *q)
{
	uint16_t idx;

	if (!(q->told.features >> VIRTIO_F_RING_PACKED & 1) &&
	    !vdb_mem_read(v->config.mem, q->told.device + 2, &idx, sizeof(idx)))
		q->told.position = idx;
}

static bool goes_on(const struct vdb__vhost *v, const struct queue *q)
{
	return v->config.reconnect_ms && v->peer->ops->resumes && v->peer->ops->resumes(v->peer) &&
	       !(q->told.features >> VIRTIO_F_RING_PACKED & 1);
}

static void fail(struct vdb__vhost *v, uint32_t index)
{
	v->queues[index].failed = true;
	vdb__remote_broken(&v->remote, index, VDB_REASON_HOST);
}

static void lose(struct vdb__vhost *v, int rc)
{
	v->up = v->featured = v->readied = false;
	v->stale = true;
	note(v, rc);
	v->retry_at = now() + v->config.reconnect_ms * 1000000ull;
	for (uint32_t i = 0; i < v->config.queues; i++) {
		struct queue *q = &v->queues[i];

		if (!q->runs)
			continue;
		q->runs = false;
		ring(q->told.call_fd); /* it may have served what it has not called for any more */
		find_position(v, q);
		if (!goes_on(v, q))
			fail(v, i);
	}
	v->peer->ops->disconnect(v->peer);
	vdb__map_put(v->map);
	v->map = NULL;
}

/* True if it did what it was asked to. */
static bool kept(struct vdb__vhost *v, int rc)
{
	if (rc)
		lose(v, rc);
	return !rc;
}

/* ---- What the thread says ---- */

static void answer_stop(struct vdb__vhost *v, uint32_t index)
{
	struct queue *q = &v->queues[index];
	uint32_t position = 0;

	if (q->runs && kept(v, v->peer->ops->stop(v->peer, index, &position))) {
		q->runs = false;
		q->told.position = position;
	}
	position = q->told.position;
	pthread_mutex_lock(&v->lock);
	q->wanted = q->stop = false;
	pthread_mutex_unlock(&v->lock);
	q->failed = false;
	vdb__remote_stopped(&v->remote, index, position);
}

static void do_reset(struct vdb__vhost *v)
{
	if (v->peer->ops->forget)
		v->peer->ops->forget(v->peer);
	if (v->up && v->featured)
		(void)kept(v, v->peer->ops->reset(v->peer));
	v->featured = v->readied = false;
}

/* The old map goes when the peer has let go of it: only then its regions may. */
static bool do_memory(struct vdb__vhost *v)
{
	struct vdb__map *map = vdb__mem_map(v->config.mem);
	struct vdb__peer_memory table;

	vdb__vhost_memory_table(map, &table);
	if (!kept(v, v->peer->ops->memory(v->peer, &table))) {
		vdb__map_put(map);
		return false;
	}
	vdb__map_put(v->map);
	v->map = map;
	v->stale = false;
	return true;
}

static bool introduce(struct vdb__vhost *v, uint64_t features)
{
	v->featured = v->featured || kept(v, v->peer->ops->features(v->peer, features));
	return v->featured && (!v->stale || do_memory(v));
}

static void do_start(struct vdb__vhost *v, uint32_t index)
{
	struct queue *q = &v->queues[index];
	const struct vdb__remote_queue *told = &q->told;
	struct vdb__peer_queue queue = {.index = index,
	                                .entries = told->entries,
	                                .position = told->position,
	                                .kick_fd = told->kick_fd,
	                                .call_fd = told->call_fd,
	                                .err_fd = v->err_fd};

	if (!v->up) {
		fail(v, index);
		return;
	}
	v->readied = false;
	q->runs = true; /* what fails from here on is its failure, too */
	if (!introduce(v, told->features))
		return;
	queue.desc = vdb__vhost_memory_at(v->map, told->desc);
	queue.driver = vdb__vhost_memory_at(v->map, told->driver);
	queue.device = vdb__vhost_memory_at(v->map, told->device);
	if (!queue.desc || !queue.driver || !queue.device) {
		q->runs = false;
		q->failed = true;
		vdb__remote_broken(&v->remote, index, VDB_REASON_MEMORY);
		return;
	}
	/* It need not look before it hears a kick, and who served before may have heard the last. */
	ring(told->kick_fd);
	(void)kept(v, v->peer->ops->start(v->peer, &queue));
}

static void do_ready(struct vdb__vhost *v)
{
	v->readied = true;
	if (v->peer->ops->ready)
		(void)kept(v, v->peer->ops->ready(v->peer));
}

static void do_poke(struct vdb__vhost *v)
{
	if (v->up && v->peer->ops->poked)
		(void)kept(v, v->peer->ops->poked(v->peer));
}

static void reconnect(struct vdb__vhost *v)
{
	int rc = v->peer->ops->connect(v->peer);

	v->up = !rc;
	v->retry_at = now() + v->config.reconnect_ms * 1000000ull;
	note(v, rc);
}

/* ---- A turn ---- */

static bool gone_for_good(const struct vdb__vhost *v)
{
	return !v->up && !v->config.reconnect_ms;
}

/* Locked: the first queue to stop, or else to start. */
static bool find_queue(struct vdb__vhost *v, bool to_stop, uint32_t *index)
{
	for (uint32_t i = 0; i < v->config.queues; i++) {
		const struct queue *q = &v->queues[i];

		*index = i;
		if (to_stop ? q->stop : q->wanted && !q->stop && !q->runs && !q->failed)
			return true;
	}
	return false;
}

static bool take(bool *wish)
{
	bool was = *wish;

	*wish = false;
	return was;
}

enum job { JOB_NONE, JOB_STOP, JOB_END, JOB_RESET, JOB_POKE, JOB_CONNECT, JOB_MEMORY, JOB_START, JOB_READY };

/* Locked. */
static enum job next_job(struct vdb__vhost *v, uint32_t *index)
{
	if (find_queue(v, true, index))
		return JOB_STOP;
	if (v->wish.end)
		return JOB_END;
	if (take(&v->wish.reset))
		return JOB_RESET;
	if (take(&v->wish.poke))
		return JOB_POKE;
	v->stale |= take(&v->wish.memory);
	if (!v->up && v->config.reconnect_ms && now() >= v->retry_at)
		return JOB_CONNECT;
	if (v->up && v->featured && v->stale)
		return JOB_MEMORY;
	if ((v->up || gone_for_good(v)) && find_queue(v, false, index))
		return JOB_START;
	if (v->up && v->featured && !v->readied)
		return JOB_READY;
	return JOB_NONE;
}

static void do_job(struct vdb__vhost *v, enum job job, uint32_t index)
{
	switch (job) {
	case JOB_STOP:
		answer_stop(v, index);
		break;
	case JOB_RESET:
		do_reset(v);
		break;
	case JOB_POKE:
		do_poke(v);
		break;
	case JOB_CONNECT:
		reconnect(v);
		break;
	case JOB_MEMORY:
		(void)do_memory(v);
		break;
	case JOB_START:
		do_start(v, index);
		break;
	case JOB_READY:
		do_ready(v);
		break;
	case JOB_NONE:
	case JOB_END:
		break;
	}
}

static void drain(int fd)
{
	uint64_t count;

	(void)!read(fd, &count, sizeof(count));
}

/* It does not say which: one that is broken stops them all. */
static void ring_failed(struct vdb__vhost *v)
{
	drain(v->err_fd);
	for (uint32_t i = 0; i < v->config.queues; i++) {
		if (v->queues[i].runs)
			vdb__remote_broken(&v->remote, i, VDB_REASON_CHAIN);
	}
}

static int patience(const struct vdb__vhost *v)
{
	uint64_t ns = now(), ms;

	if (v->up || !v->config.reconnect_ms)
		return -1;
	ms = v->retry_at > ns ? (v->retry_at - ns) / 1000000u + 1 : 0;
	return ms < INT_MAX ? (int)ms : INT_MAX;
}

static void wait_for_events(struct vdb__vhost *v)
{
	struct pollfd fds[2 + VDB__PEER_FDS] = {{.fd = v->wake_fd, .events = POLLIN},
	                                        {.fd = v->err_fd, .events = POLLIN}};
	const struct vdb__peer_ops *ops = v->peer->ops;
	unsigned count = v->up && ops->watch ? ops->watch(v->peer, fds + 2) : 0;
	bool heard = false;

	if (poll(fds, 2 + count, patience(v)) <= 0)
		return;
	if (fds[0].revents)
		drain(v->wake_fd);
	if (fds[1].revents)
		ring_failed(v);
	for (unsigned i = 0; i < count; i++)
		heard |= fds[2 + i].revents != 0;
	if (heard)
		(void)kept(v, ops->heard(v->peer, fds + 2, count));
}

static void free_vhost(struct vdb__vhost *v)
{
	if (v->joined)
		vdb__mem_leave(v->config.mem, &v->user);
	v->peer->ops->destroy(v->peer);
	vdb__map_put(v->map);
	if (v->wake_fd >= 0)
		close(v->wake_fd);
	if (v->err_fd >= 0)
		close(v->err_fd);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

/* Nobody waits for the thread: the device's end, which it tells last, is its own. */
static void *control(void *arg)
{
	struct vdb__vhost *v = arg;
	struct vdb_virtio *device = v->remote.device;
	uint32_t index = 0;
	enum job job;

	do {
		pthread_mutex_lock(&v->lock);
		job = next_job(v, &index);
		pthread_mutex_unlock(&v->lock);
		if (job == JOB_NONE)
			wait_for_events(v);
		else
			do_job(v, job, index);
	} while (job != JOB_END);
	pthread_detach(pthread_self());
	free_vhost(v);
	vdb__remote_ended(device);
	return NULL;
}

/* ---- Life ---- */

static void end(struct vdb__remote *remote)
{
	struct vdb__vhost *v = vhost_of(remote);
	struct vdb_virtio *device = remote->device;

	if (v->threaded) {
		wish_for(v, &v->wish.end);
	} else {
		free_vhost(v);
		vdb__remote_ended(device);
	}
}

static const struct vdb__remote_ops remote_ops = {
        .serves = serves,
        .start = start,
        .stop = stop,
        .reset = reset,
        .end = end,
};

static int open_fds(struct vdb__vhost *v)
{
	v->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	v->err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return v->wake_fd < 0 || v->err_fd < 0 ? vdb__fail_sys(errno, "%s: eventfd", v->config.name) : 0;
}

static int join_memory(struct vdb__vhost *v)
{
	int rc = vdb__mem_join(v->config.mem, &v->user);

	v->joined = !rc;
	return rc;
}

int vdb__vhost_create(const struct vdb__vhost_config *config, struct vdb__peer *peer, struct vdb__vhost **out)
{
	struct vdb__vhost *v = calloc(1, sizeof(*v) + config->queues * sizeof(v->queues[0]));
	int rc;

	if (!v) {
		peer->ops->destroy(peer);
		return vdb__fail(ENOMEM, "%s: no memory", config->name);
	}
	v->remote.ops = &remote_ops;
	v->config = *config;
	v->peer = peer;
	v->up = v->stale = v->state.up = true;
	v->wake_fd = v->err_fd = -1;
	v->user.added = added;
	v->user.removed = removed;
	v->user.changed = changed;
	pthread_mutex_init(&v->lock, NULL); /* default attributes: cannot fail */
	rc = open_fds(v);
	if (!rc)
		rc = join_memory(v);
	if (rc)
		free_vhost(v);
	else
		*out = v;
	return rc;
}

struct vdb__remote *vdb__vhost_remote(struct vdb__vhost *v)
{
	return &v->remote;
}

int vdb__vhost_start(struct vdb__vhost *v)
{
	pthread_t thread;
	static const struct vdb__thread_config config = {
	        .name = "vdb-vhost", .cpu = -1, .kind = VDB_THREAD_CONTROL};
	int rc = vdb__thread_start(&thread, &config, control, v);

	v->threaded = !rc;
	return rc;
}

void vdb__vhost_destroy(struct vdb__vhost *v)
{
	free_vhost(v);
}

struct vdb__peer *vdb__vhost_peer(struct vdb__remote *remote, const struct vdb__peer_ops *ops)
{
	struct vdb__peer *peer;

	if (!remote || remote->ops != &remote_ops)
		return NULL;
	peer = vhost_of(remote)->peer;
	return peer->ops == ops ? peer : NULL;
}

void vdb__vhost_query(struct vdb__remote *remote, struct vdb__vhost_state *state)
{
	struct vdb__vhost *v = vhost_of(remote);

	pthread_mutex_lock(&v->lock);
	*state = v->state;
	pthread_mutex_unlock(&v->lock);
}
