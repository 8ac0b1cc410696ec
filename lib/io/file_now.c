/* SPDX-License-Identifier: Apache-2.0 */
/*
 * READs that the page cache answers at once, on the loop's thread, without a way through the engine.
 *
 * A preadv2() with RWF_NOWAIT costs what the copy costs and one system call. io_uring does the same copy on
 * the same thread; it shares its system call with all that is submitted in that turn, and needs an SQE, a CQE
 * and another round of the loop for each. So one READ alone is better off here, and many are better off
 * there: see docs/performance.md. A pool of threads is always the longer way.
 *
 * What is not in the cache costs the system call in vain, so after a miss the next READs are not tried: one,
 * two, four and so on after each miss that follows, until one hits.
 */
#include <errno.h>

#include "base/atomic.h"
#include "io/file.h"
#include "loop/source.h"

#define LONGEST (64u * 1024) /* what is copied at once: others wait meanwhile */
#define MAX_PAUSE 256u

static bool worth_trying(struct vdb__file *file, const struct vdb_req *req)
{
	uint32_t rest;

	if (req->op != VDB_OP_READ || req->len > LONGEST || vdb__load(&file->no_nowait))
		return false;
	if (vdb__io_batches(req->loop) && (req->more || vdb__io_shares(req->loop)))
		return false;
	rest = vdb__load(&file->nowait_rest);
	if (rest)
		vdb__store(&file->nowait_rest, rest - 1);
	return !rest;
}

static void missed(struct vdb__file *file)
{
	uint32_t pause = vdb__load(&file->nowait_pause) * 2;

	if (pause == 0)
		pause = 1;
	else if (pause > MAX_PAUSE)
		pause = MAX_PAUSE;
	vdb__store(&file->nowait_pause, pause);
	vdb__store(&file->nowait_rest, pause);
}

uint64_t vdb__file_now(struct vdb__file *file, struct vdb_req *req)
{
	int64_t n;

	if (!worth_trying(file, req))
		return 0;
	n = vdb__io_now(req->loop, file->fd, req->iov, req->niov, req->offset);
	if (n > 0) {
		if (vdb__load(&file->nowait_pause))
			vdb__store(&file->nowait_pause, 0u);
		return (uint64_t)n;
	}
	/* Whatever else it is: the long way meets it again, and answers. */
	if (n == -EOPNOTSUPP || n == -ENOSYS || n == -EINVAL)
		vdb__store(&file->no_nowait, 1u);
	else
		missed(file);
	return 0;
}
