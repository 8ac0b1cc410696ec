/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded FIFO of bytes. Its user locks. */
#ifndef VDB_IO_FIFO_H
#define VDB_IO_FIFO_H

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

struct vdb__fifo {
	uint8_t *data;
	size_t size;
	size_t head; /* the oldest byte */
	size_t count;
};

/* Takes what fits; returns how much. */
static inline size_t vdb__fifo_put(struct vdb__fifo *f, const void *data, size_t len)
{
	size_t room = f->size - f->count, tail = (f->head + f->count) % f->size, first;

	if (len > room)
		len = room;
	first = f->size - tail < len ? f->size - tail : len;
	memcpy(f->data + tail, data, first);
	memcpy(f->data, (const uint8_t *)data + first, len - first);
	f->count += len;
	return len;
}

/* What is in it, oldest first, where it lies: 0, 1 or 2 pieces. Stays there until it is dropped. */
static inline int vdb__fifo_peek(const struct vdb__fifo *f, struct iovec iov[2])
{
	size_t first = f->size - f->head < f->count ? f->size - f->head : f->count;

	if (!f->count) { /* there may be no memory behind it yet */
		iov[0] = iov[1] = (struct iovec){0};
		return 0;
	}
	iov[0] = (struct iovec){f->data + f->head, first};
	iov[1] = (struct iovec){f->data, f->count - first};
	return 1 + (iov[1].iov_len > 0);
}

static inline void vdb__fifo_drop(struct vdb__fifo *f, size_t len)
{
	f->head = (f->head + len) % f->size;
	f->count -= len;
}

/* At most `max` bytes out of it; returns how many. */
static inline size_t vdb__fifo_get(struct vdb__fifo *f, void *data, size_t max)
{
	struct iovec iov[2];
	size_t first;

	if (!vdb__fifo_peek(f, iov))
		return 0;
	if (max > f->count)
		max = f->count;
	first = iov[0].iov_len < max ? iov[0].iov_len : max;
	memcpy(data, iov[0].iov_base, first);
	memcpy((uint8_t *)data + first, iov[1].iov_base, max - first);
	vdb__fifo_drop(f, max);
	return max;
}

#endif
