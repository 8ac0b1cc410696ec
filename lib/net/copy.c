/* SPDX-License-Identifier: Apache-2.0 */
#include "net/copy.h"

#include <string.h>

#include "io/cursor.h"

void vdb__iov_copy(const struct iovec *to, size_t to_offset, const struct iovec *from, size_t from_offset,
                   size_t len)
{
	struct vdb__cursor a = {0}, b = {0};

	vdb__cursor_skip(&a, to, to_offset);
	vdb__cursor_skip(&b, from, from_offset);
	while (len) {
		struct iovec src = vdb__cursor_piece(&b, from, len);
		struct iovec dst = vdb__cursor_piece(&a, to, src.iov_len);

		memcpy(dst.iov_base, src.iov_base, dst.iov_len);
		vdb__cursor_pass(&a, to, dst.iov_len);
		vdb__cursor_pass(&b, from, dst.iov_len);
		len -= dst.iov_len;
	}
}

void vdb__iov_put(const struct iovec *iov, size_t offset, const void *from, size_t len)
{
	struct vdb__cursor at = {0};
	const char *next = from;

	vdb__cursor_skip(&at, iov, offset);
	while (len) {
		struct iovec piece = vdb__cursor_piece(&at, iov, len);

		memcpy(piece.iov_base, next, piece.iov_len);
		vdb__cursor_pass(&at, iov, piece.iov_len);
		next += piece.iov_len;
		len -= piece.iov_len;
	}
}

void vdb__iov_get(const struct iovec *iov, size_t offset, void *to, size_t len)
{
	struct vdb__cursor at = {0};
	char *next = to;

	vdb__cursor_skip(&at, iov, offset);
	while (len) {
		struct iovec piece = vdb__cursor_piece(&at, iov, len);

		memcpy(next, piece.iov_base, piece.iov_len);
		vdb__cursor_pass(&at, iov, piece.iov_len);
		next += piece.iov_len;
		len -= piece.iov_len;
	}
}
