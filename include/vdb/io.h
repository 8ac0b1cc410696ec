/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host I/O on the loop: io_uring where there is one, the thread pool elsewhere.
 * For backends; loop's thread only.
 */
#ifndef VDB_IO_H
#define VDB_IO_H

#include <sys/uio.h>
#include <vdb/loop.h>
#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	VDB_IO_READV = 1,     /* preadv(fd, iov, niov, offset) */
	VDB_IO_WRITEV = 2,    /* pwritev */
	VDB_IO_FDATASYNC = 3, /* fdatasync(fd) */
	VDB_IO_FALLOCATE = 4, /* fallocate(fd, mode, offset, len) */
	VDB_IO_POLL = 5,      /* one shot: result is the revents; mode = poll events */
};

/* flags: READV, WRITEV: the file is open with O_DIRECT. What waits for its device goes there early, and a
 * file with a number may be polled for its answer (VDB_LOOP_IOPOLL). */
#define VDB_IO_DIRECT (1u << 0)
/* READV, WRITEV of a file that is open with O_NONBLOCK: a tap, a socket, a pipe. Nothing is waited for: what
 * cannot be done now has the result -EAGAIN. Those submitted in one turn go to the kernel together, and are
 * done in order. Where the kernel cannot be asked so (taps: Linux before 6.2) or there is no io_uring, each
 * is a system call of its own. */
#define VDB_IO_NOWAIT (1u << 1)

/*
 * One host operation. The caller's; it, `iov` and the memory that `iov` names must stay
 * until `done`. The kernel is through with them then, but for one case: when the io_uring
 * has failed for good (vdb_loop_run() and vdb_loop_step() return that -errno), every
 * operation that was in flight gets the same -errno as its result while the kernel still
 * drops them, and a read may still write into its memory a while later. Nobody
 * tells when that is over: do not use such memory for anything else.
 */
struct vdb_io {
	uint32_t op; /* VDB_IO_* */
	int32_t fd;
	const struct iovec *iov;
	uint32_t niov;
	int32_t mode;
	uint32_t file;   /* fd, as vdb_io_file_add() of this loop numbered it; 0 = it has no number */
	uint32_t flags;  /* VDB_IO_*: one of the two, or 0 */
	uint64_t offset; /* READV, WRITEV: UINT64_MAX is the file's own position */
	uint64_t len;
	/* Called once, on the loop's thread, never from within vdb_io_submit(): what the
	 * system call returned, or -errno. May submit again, or free the io. */
	void (*done)(struct vdb_io *io, int64_t result);
	uint64_t opaque[6]; /* the library's */
};

/* Starts it. Cannot fail: what goes wrong is `done`'s result. EINTR and, but for VDB_IO_NOWAIT, EAGAIN are
 * retried by the library. */
void vdb_io_submit(struct vdb_loop *loop, struct vdb_io *io);

/*
 * Tells the loop of a file that much I/O will go to: an io_uring that knows it beforehand need not look it
 * up for each operation. Returns its number in this loop, for vdb_io.file; 0 if there is no room (1024
 * files): then vdb_io.file stays 0, and all is as before. One file may have several. Remove it before fd is
 * closed, with no I/O in flight that names the number; 0 is fine.
 */
uint32_t vdb_io_file_add(struct vdb_loop *loop, int fd);
void vdb_io_file_remove(struct vdb_loop *loop, uint32_t file);

/* Asks for an early end: `done` still comes, with -ECANCELED or the result. */
void vdb_io_cancel(struct vdb_loop *loop, struct vdb_io *io);

#ifdef __cplusplus
}
#endif
#endif
