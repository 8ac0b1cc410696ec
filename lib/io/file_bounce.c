/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By way of a buffer of our own: READ and WRITE whose guest memory O_DIRECT would
 * refuse, and the zeroes of a WRITE_ZEROES that the file system cannot do. The slow
 * path: it allocates.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "io/cursor.h"
#include "io/file.h"

#define BOUNCE (64u * 1024)
#define PAGE 4096u

/* In req->scratch. */
struct bounce {
	uint64_t done;
	struct vdb__cursor at;
	struct iovec buffer; /* iov_len: of this piece */
	uint32_t io_align;
	uint32_t size; /* of the buffer */
};
_Static_assert(sizeof(struct bounce) <= sizeof(((struct vdb_req *)0)->scratch), "scratch");

static struct bounce *bounce_of(struct vdb_req *req)
{
	return (struct bounce *)(void *)req->scratch;
}

/* Moves `n` bytes between the buffer and guest memory at `at`, which is returned where it ends. */
static struct vdb__cursor move(const struct vdb_req *req, struct vdb__cursor at, char *buffer, uint64_t n)
{
	struct iovec piece;

	for (; n; n -= piece.iov_len, buffer += piece.iov_len) {
		piece = vdb__cursor_piece(&at, req->iov, n);
		if (req->op == VDB_OP_READ)
			memcpy(piece.iov_base, buffer, piece.iov_len);
		else
			memcpy(buffer, piece.iov_base, piece.iov_len);
		vdb__cursor_pass(&at, req->iov, piece.iov_len);
	}
	return at;
}

static void go_on(struct vdb_req *req)
{
	struct bounce *b = bounce_of(req);
	uint64_t left = req->len - b->done;

	b->buffer.iov_len = left < b->size ? left : b->size;
	if (req->op == VDB_OP_WRITE)
		move(req, b->at, b->buffer.iov_base, b->buffer.iov_len);
	else if (req->op == VDB_OP_WRITE_ZEROES)
		vdb_req_charge(req, b->buffer.iov_len);
	req->io.iov = &b->buffer;
	req->io.niov = 1;
	req->io.offset = req->offset + b->done;
	vdb_io_submit(req->loop, &req->io);
}

static void end(struct vdb_req *req, int32_t result)
{
	free(bounce_of(req)->buffer.iov_base);
	vdb_req_complete(req, result);
}

static void bounce_done(struct vdb_io *io, int64_t result)
{
	struct vdb_req *req = vdb__container(io, struct vdb_req, io);
	struct bounce *b = bounce_of(req);

	if (result > 0)
		result &= ~(int64_t)(b->io_align - 1);
	if (result <= 0) {
		end(req, result ? (int32_t)result : vdb__file_stuck(req->op));
		return;
	}
	/* WRITE took its bytes before: the cursor follows what has been written. */
	if (req->op == VDB_OP_READ)
		b->at = move(req, b->at, b->buffer.iov_base, (uint64_t)result);
	else if (req->op == VDB_OP_WRITE)
		vdb__cursor_skip(&b->at, req->iov, (uint64_t)result);
	b->done += (uint64_t)result;
	if (b->done < req->len)
		go_on(req);
	else
		end(req, req->op == VDB_OP_WRITE_ZEROES ? 0 : (int32_t)req->len);
}

int vdb__file_bounce(struct vdb__file *file, struct vdb_req *req)
{
	uint32_t align = file->io_align > PAGE ? file->io_align : PAGE;
	struct bounce *b = bounce_of(req);

	*b = (struct bounce){
	        .io_align = file->flags & VDB_FILE_DIRECT ? file->io_align : 1,
	        .size = align > BOUNCE ? align : BOUNCE,
	};
	b->buffer.iov_base = aligned_alloc(align, b->size);
	if (!b->buffer.iov_base)
		return -ENOMEM;
	if (req->op == VDB_OP_WRITE_ZEROES)
		memset(b->buffer.iov_base, 0, b->size);
	req->io = (struct vdb_io){
	        .op = req->op == VDB_OP_READ ? VDB_IO_READV : VDB_IO_WRITEV,
	        .fd = file->fd,
	        .file = req->file,
	        .flags = file->flags & VDB_FILE_DIRECT ? VDB_IO_DIRECT : 0,
	        .done = bounce_done,
	};
	go_on(req);
	return VDB_REQ_PENDING;
}
