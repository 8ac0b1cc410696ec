/* SPDX-License-Identifier: Apache-2.0 */
/* What a driver knows of its virtqueue; see virtq.h. */
#ifndef EXAMPLES_GUEST_VIRTQ_STATE_H
#define EXAMPLES_GUEST_VIRTQ_STATE_H

#include "virtio.h"

#define VIRTQ_MAX 256u

/* One buffer of a chain; those the device writes come last. */
struct virtq_buffer {
	uint64_t addr;
	uint32_t len;
	uint32_t write;
};

struct virtq {
	const struct virtio *dev;
	uint16_t index;
	uint16_t size;
	bool packed, event_idx;
	uint8_t *desc, *driver, *device;
	uint16_t free;            /* descriptors */
	uint16_t head;            /* first free id; split: descriptor */
	uint16_t next[VIRTQ_MAX]; /* free list of ids */
	uint16_t used[VIRTQ_MAX]; /* descriptors of each id */
	uint16_t avail;           /* split: next index; packed: next place */
	uint16_t last;            /* of used, likewise */
	uint16_t added;           /* descriptors (packed) or chains (split) since the last publish */
	bool avail_wrap, used_wrap;
};

#endif
