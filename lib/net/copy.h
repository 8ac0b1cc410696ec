/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes from and to memory in pieces. The pieces are long enough, or the caller is wrong. */
#ifndef VDB_NET_COPY_H
#define VDB_NET_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Into `iov`, behind its first `offset` bytes. */
void vdb__iov_put(const struct iovec *iov, size_t offset, const void *from, size_t len);

/* Out of it. */
void vdb__iov_get(const struct iovec *iov, size_t offset, void *to, size_t len);

/* From one to another. */
void vdb__iov_copy(const struct iovec *to, size_t to_offset, const struct iovec *from, size_t from_offset,
                   size_t len);

#endif
