/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ring knows beforehand, so that no request needs it looked up: files and memory. Each
 * table is made when the first comes. What the kernel refuses is done without.
 */
#include <errno.h>

#include "loop/engine_uring.h"

#define FEWEST_FILES 64u

/* All slots empty; a table may be limited by RLIMIT_NOFILE, which is not ours to change. */
unsigned vdb__uring_open_files(struct io_uring *ring)
{
	int fds[VDB__FILES_MAX], err = -EMFILE;
	unsigned n = VDB__FILES_MAX;

	for (unsigned i = 0; i < n; i++)
		fds[i] = -1;
	for (; n >= FEWEST_FILES; n /= 2) {
		err = io_uring_register_files(ring, fds, n);
		if (err != -EMFILE)
			break;
	}
	return err ? 0 : n;
}

bool vdb__uring_file(struct vdb__engine *engine, uint32_t index, int fd)
{
	struct uring *u = vdb__uring_of(engine);

	if (u->failed)
		return false;
	if (!u->asked_for_files) {
		u->files = vdb__uring_open_files(&u->ring);
		vdb__uring_has(u, VDB_LOOP_HAS_FILES, u->files);
	}
	u->asked_for_files = true;
	return index < u->files && io_uring_register_files_update(&u->ring, index, &fd, 1) == 1;
}

/* ENOMEM: RLIMIT_MEMLOCK; EFAULT: a file's mapping. Whatever it is, I/O there goes the ordinary way. */
bool vdb__uring_buffer(struct vdb__engine *engine, uint32_t index, void *base, uint64_t len)
{
	struct uring *u = vdb__uring_of(engine);
	struct iovec iov = {base, len};

	if (u->failed)
		return false;
	if (!u->asked_for_buffers) {
		u->has_buffers = !io_uring_register_buffers_sparse(&u->ring, VDB__BUFFERS_MAX);
		u->polled_buffers =
		        u->has_polled && !io_uring_register_buffers_sparse(&u->polled, VDB__BUFFERS_MAX);
		vdb__uring_has(u, VDB_LOOP_HAS_MEMORY, u->has_buffers);
	}
	u->asked_for_buffers = true;
	if (!u->has_buffers || io_uring_register_buffers_update_tag(&u->ring, index, &iov, NULL, 1) != 1)
		return false;
	/* All of them or none; those that it got before go with the ring. */
	u->polled_buffers = u->polled_buffers &&
	                    io_uring_register_buffers_update_tag(&u->polled, index, &iov, NULL, 1) == 1;
	return true;
}
