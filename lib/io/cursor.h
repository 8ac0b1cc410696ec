/* SPDX-License-Identifier: Apache-2.0 */
/* A place in an array of iovecs, moving forward. */
#ifndef VDB_IO_CURSOR_H
#define VDB_IO_CURSOR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct vdb__cursor {
	uint32_t index; /* of the iovec */
	size_t at;      /* bytes of it that lie behind */
};

/* The next bytes that lie together, at most `max`. The array must not be at its end. */
static inline struct iovec vdb__cursor_piece(const struct vdb__cursor *cursor, const struct iovec *iov,
                                             uint64_t max)
{
	const struct iovec *v = &iov[cursor->index];
	size_t left = v->iov_len - cursor->at;

	return (struct iovec){(char *)v->iov_base + cursor->at, left < max ? left : (size_t)max};
}

/* Steps over `n` bytes of the present iovec, as vdb__cursor_piece() gave them. */
static inline void vdb__cursor_pass(struct vdb__cursor *cursor, const struct iovec *iov, size_t n)
{
	cursor->at += n;
	if (cursor->at == iov[cursor->index].iov_len)
		*cursor = (struct vdb__cursor){cursor->index + 1, 0};
}

/* Steps over the next `n` bytes, wherever they lie. */
static inline void vdb__cursor_skip(struct vdb__cursor *cursor, const struct iovec *iov, uint64_t n)
{
	while (n) {
		size_t part = vdb__cursor_piece(cursor, iov, n).iov_len;

		vdb__cursor_pass(cursor, iov, part);
		n -= part;
	}
}

#endif
