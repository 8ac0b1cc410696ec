/* SPDX-License-Identifier: Apache-2.0 */
/* A host fd that bytes come from or go to, whatever it is: none of these calls waits. */
#ifndef VDB_IO_STREAM_H
#define VDB_IO_STREAM_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

enum vdb__stream_kind {
	VDB__STREAM_NONE,
	VDB__STREAM_DISK, /* read and written by the loop's host I/O, at the file's own position */
	VDB__STREAM_SOCKET,
	VDB__STREAM_PIPE,
	VDB__STREAM_OTHER, /* a terminal, most likely */
};

struct vdb__stream {
	int fd; /* -1: none */
	enum vdb__stream_kind kind;
	bool restore; /* O_NONBLOCK is on a description that is not ours alone */
};

/*
 * fd <= 0: none. Opens the pipe or terminal anew, so that O_NONBLOCK is on a description of our own and
 * the shell that shares the caller's never sees it. Where that cannot be (no /proc, no
 * permission, a pty's master) it is set on the caller's until close. `mode`: O_RDONLY or O_WRONLY.
 * -EBADF: not open for that.
 */
int vdb__stream_open(struct vdb__stream *stream, int fd, int mode);
void vdb__stream_close(struct vdb__stream *stream);

/* Not for VDB__STREAM_DISK. How many bytes, or -errno: -EAGAIN, or -EPIPE without SIGPIPE. */
ssize_t vdb__stream_write(const struct vdb__stream *stream, struct iovec *iov, int niov);
ssize_t vdb__stream_read(const struct vdb__stream *stream, void *data, size_t len);

#endif
