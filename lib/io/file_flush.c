/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FLUSH: one fdatasync() of a file at a time. The kernel reports a lost page once
 * for each open file: of two that run together one may succeed although what it
 * vouches for is gone. So a FLUSH that comes while one runs waits for the next one,
 * shares it with all others that wait, and after the first failure none succeeds.
 * Lanes of several loops may share a file; the lock is held for a few instructions.
 */
#include <errno.h>

#include "base/list.h"
#include "io/file.h"

/* In req->scratch. */
struct flush {
	struct vdb_req *next;
	struct vdb__file *file;
};

static struct flush *flush_of(struct vdb_req *req)
{
	return (struct flush *)(void *)req->scratch;
}

static void append(struct vdb_req **list, struct vdb_req *reqs)
{
	while (*list)
		list = &flush_of(*list)->next;
	*list = reqs;
}

static void flush_done(struct vdb_io *io, int64_t result);

static void sync_now(struct vdb_req *req)
{
	req->io = (struct vdb_io){
	        .op = VDB_IO_FDATASYNC,
	        .fd = flush_of(req)->file->fd,
	        .file = req->file,
	        .done = flush_done,
	};
	vdb_io_submit(req->loop, &req->io);
}

/* All of them, each on its own loop. */
static void finish(struct vdb_req *group, int32_t result, const struct vdb_loop *here)
{
	struct vdb_req *next;

	for (; group; group = next) {
		next = flush_of(group)->next;
		if (group->loop == here)
			vdb_req_complete(group, result);
		else
			vdb_req_complete_post(group, result);
	}
}

/* Puts one that is served by this loop first, if there is any: it need not be posted. */
static void prefer(struct vdb_req **group, const struct vdb_loop *here)
{
	struct vdb_req **at, *req;

	for (at = group; (req = *at); at = &flush_of(req)->next) {
		if (req->loop == here) {
			*at = flush_of(req)->next;
			flush_of(req)->next = *group;
			*group = req;
			return;
		}
	}
}

/* The running group is finished, and who waited is next; after a failure, finished too. */
static struct vdb_req *turn_over(struct vdb__file_sync *sync, const struct vdb_loop *here,
                                 struct vdb_req **group)
{
	struct vdb_req *next = sync->waiting;

	*group = sync->running;
	sync->waiting = NULL;
	if (sync->failed) {
		append(group, next);
		next = NULL;
	}
	prefer(&next, here);
	sync->running = next;
	return next;
}

static void launch(struct vdb_req *req, const struct vdb_loop *here);

static void settle(struct vdb__file *file, int64_t result, const struct vdb_loop *here)
{
	struct vdb__file_sync *sync = &file->sync;
	struct vdb_req *group, *next;

	pthread_mutex_lock(&sync->lock);
	if (sync->failed)
		result = -sync->failed;
	next = turn_over(sync, here, &group);
	pthread_mutex_unlock(&sync->lock);
	finish(group, (int32_t)result, here);
	if (next)
		launch(next, here);
}

static void flush_done(struct vdb_io *io, int64_t result)
{
	struct vdb_req *req = vdb__container(io, struct vdb_req, io);
	struct vdb__file *file = flush_of(req)->file;

	pthread_mutex_lock(&file->sync.lock);
	/* Cancelled is not tried: nothing has been reported, nothing is lost. */
	if (result < 0 && result != -ECANCELED)
		file->sync.failed = (int)-result;
	pthread_mutex_unlock(&file->sync.lock);
	settle(file, result, req->loop);
}

static void launch_posted(void *arg, int status)
{
	struct vdb_req *req = arg;

	if (status < 0)
		settle(flush_of(req)->file, status, req->loop);
	else
		sync_now(req);
}

static void launch(struct vdb_req *req, const struct vdb_loop *here)
{
	int rc = 0;

	if (req->loop == here)
		sync_now(req);
	else
		rc = vdb_loop_post(req->loop, launch_posted, req);
	if (rc)
		settle(flush_of(req)->file, rc, here);
}

int vdb__file_flush(struct vdb__file *file, struct vdb_req *req)
{
	struct vdb__file_sync *sync;
	int rc = VDB_REQ_PENDING;
	bool first = false;

#ifdef VDB__NOOP_FLUSH /* only for the tests that notice it */
	return VDB_REQ_DONE;
#endif
	sync = &file->sync;
	*flush_of(req) = (struct flush){.file = file};
	pthread_mutex_lock(&sync->lock);
	if (sync->failed) {
		rc = -sync->failed;
	} else if (sync->running) {
		append(&sync->waiting, req);
	} else {
		sync->running = req;
		first = true;
	}
	pthread_mutex_unlock(&sync->lock);
	if (first)
		sync_now(req);
	return rc;
}
