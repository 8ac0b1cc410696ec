/* SPDX-License-Identifier: Apache-2.0 */
/* READ and WRITE straight between guest memory and the file, chunk by chunk. */
#include <errno.h>

#include "base/list.h"
#include "io/cursor.h"
#include "io/file.h"

/* In req->scratch. */
struct rw {
	const struct vdb__file *file;
	uint64_t done;
	struct vdb__cursor at;
	struct iovec part; /* of an iovec that is too long, or begun */
};
_Static_assert(sizeof(struct rw) <= sizeof(((struct vdb_req *)0)->scratch), "scratch");

static struct rw *rw_of(struct vdb_req *req)
{
	return (struct rw *)(void *)req->scratch;
}

/* Either as many whole iovecs as a chunk takes, where they are, or part of one: no array is built. */
static void aim(struct vdb_req *req, struct rw *rw, uint64_t chunk)
{
	const struct iovec *iov = req->iov;
	uint32_t n = rw->at.index;
	uint64_t sum = 0;

	if (rw->at.at || iov[n].iov_len > chunk) {
		rw->part = vdb__cursor_piece(&rw->at, iov, chunk);
		req->io.iov = &rw->part;
		req->io.niov = 1;
		return;
	}
	while (n < req->niov && sum + iov[n].iov_len <= chunk)
		sum += iov[n++].iov_len;
	req->io.iov = &iov[rw->at.index];
	req->io.niov = n - rw->at.index;
}

static void go_on(struct vdb_req *req)
{
	struct rw *rw = rw_of(req);

	aim(req, rw, rw->file->flags & VDB_FILE_DIRECT ? VDB__FILE_CHUNK_DIRECT : VDB__FILE_CHUNK);
	req->io.offset = req->offset + rw->done;
	vdb_io_submit(req->loop, &req->io);
}

static void rw_done(struct vdb_io *io, int64_t result)
{
	struct vdb_req *req = vdb__container(io, struct vdb_req, io);
	struct rw *rw = rw_of(req);

	/* O_DIRECT cannot go on in the middle of a block: that is done again. */
	if (result > 0 && rw->file->flags & VDB_FILE_DIRECT)
		result &= ~(int64_t)(rw->file->io_align - 1);
	if (result <= 0) {
		vdb_req_complete(req, result ? (int32_t)result : vdb__file_stuck(req->op));
		return;
	}
	rw->done += (uint64_t)result;
	vdb__cursor_skip(&rw->at, req->iov, (uint64_t)result);
	if (rw->done < req->len)
		go_on(req);
	else
		vdb_req_complete(req, (int32_t)req->len);
}

int vdb__file_rw(struct vdb__file *file, struct vdb_req *req)
{
	uint64_t done = vdb__file_now(file, req);

	if (done == req->len)
		return VDB_REQ_DONE;
	*rw_of(req) = (struct rw){.file = file, .done = done};
	vdb__cursor_skip(&rw_of(req)->at, req->iov, done);
	req->io = (struct vdb_io){
	        .op = req->op == VDB_OP_READ ? VDB_IO_READV : VDB_IO_WRITEV,
	        .fd = file->fd,
	        .file = req->file,
	        .flags = file->flags & VDB_FILE_DIRECT ? VDB_IO_DIRECT : 0,
	        .done = rw_done,
	};
	go_on(req);
	return VDB_REQ_PENDING;
}
