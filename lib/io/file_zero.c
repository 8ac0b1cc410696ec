/* SPDX-License-Identifier: Apache-2.0 */
/* DISCARD and WRITE_ZEROES: by fallocate(), as far as the file system goes along. The size never changes. */
#include <errno.h>
#include <fcntl.h>

#include "base/atomic.h"
#include "base/list.h"
#include "io/file.h"

#ifndef FALLOC_FL_KEEP_SIZE
#include <linux/falloc.h>
#endif

static struct vdb__file *file_of(struct vdb_req *req)
{
	return (struct vdb__file *)(uintptr_t)req->scratch[0];
}

static int allocate(struct vdb__file *file, struct vdb_req *req, int mode,
                    void (*done)(struct vdb_io *io, int64_t result))
{
	req->scratch[0] = (uintptr_t)file;
	req->io = (struct vdb_io){
	        .op = VDB_IO_FALLOCATE,
	        .fd = file->fd,
	        .file = req->file,
	        .mode = mode | FALLOC_FL_KEEP_SIZE,
	        .offset = req->offset,
	        .len = req->len,
	        .done = done,
	};
	vdb_io_submit(req->loop, &req->io);
	return VDB_REQ_PENDING;
}

static bool unsupported(int64_t result)
{
	return result == -EOPNOTSUPP || result == -ENOSYS;
}

static void discard_done(struct vdb_io *io, int64_t result)
{
	struct vdb_req *req = vdb__container(io, struct vdb_req, io);

	if (unsupported(result)) {
		vdb__store(&file_of(req)->no_punch, 1u);
		result = 0;
	}
	vdb_req_complete(req, (int32_t)result);
}

int vdb__file_discard(struct vdb__file *file, struct vdb_req *req)
{
	if (vdb__load(&file->no_punch))
		return VDB_REQ_DONE;
	return allocate(file, req, FALLOC_FL_PUNCH_HOLE, discard_done);
}

/* The next way of zeroing, when this one is not there. */
static void zero_done(struct vdb_io *io, int64_t result)
{
	struct vdb_req *req = vdb__container(io, struct vdb_req, io);
	struct vdb__file *file = file_of(req);
	int rc;

	if (!unsupported(result)) {
		vdb_req_complete(req, (int32_t)result);
		return;
	}
	if (io->mode & FALLOC_FL_ZERO_RANGE)
		vdb__store(&file->no_zero_range, 1u);
	else
		vdb__store(&file->no_punch, 1u);
	rc = vdb__file_zero(file, req);
	if (rc < 0)
		vdb_req_complete(req, rc);
}

int vdb__file_zero(struct vdb__file *file, struct vdb_req *req)
{
	if (!vdb__load(&file->no_zero_range))
		return allocate(file, req, FALLOC_FL_ZERO_RANGE, zero_done);
	/* A hole in a file reads as zeroes; a discarded block of a device may not. */
	if (file->regular && !vdb__load(&file->no_punch))
		return allocate(file, req, FALLOC_FL_PUNCH_HOLE, zero_done);
	return vdb__file_bounce(file, req);
}
