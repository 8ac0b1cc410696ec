/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptor chains, as both virtqueue layouts give them, and how a device reads
 * its requests out of them. Between the walk (split.c, packed.c) and the lane:
 *
 *     walk      guest's descriptors  -> struct vdb__chain, bounded and copied
 *     framing   parse(): chain       -> struct vdb__elem, what the backend shall do
 *               finish(): result     -> status bytes in the guest, used length
 *
 * A framing sees no descriptor and no ring; a ring sees no request.
 */
#ifndef VDB_QUEUE_CHAIN_H
#define VDB_QUEUE_CHAIN_H

#include <string.h>
#include <vdb/virtq.h>

#include "queue/queue.h"

/* segs[0..nread) are device-readable, segs[nread..nread+nwrite) device-writable. No segment is
 * empty or wraps. Not translated: framings and the lane do that, with checks. */
struct vdb__chain {
	struct vdb__seg *segs;
	uint32_t nread, nwrite;
	uint64_t readable, writable; /* bytes of these */
	uint32_t steps;              /* descriptors looked at */
	/* -E2BIG: more segments than the queue's max_segments (the ones before the last are missing, the last
	 * is there, so that a status can be told) or more bytes than its max_len. The request is answered,
	 * not served: elem.error will be this. */
	int32_t error;
};

/* What finish() has to know of a request, kept by the queue for each head in flight. */
struct vdb__frame {
	uint64_t word[3];
};

struct vdb__framing {
	/*
	 * Fills elem but for cookie: op, offset, len, first, nseg, nread, error. May rearrange chain->segs.
	 * What it reads of the guest, it reads once, through `view`. A request that cannot be served gets
	 * elem->error, which comes back to finish(); one that cannot even be answered gets false: the queue
	 * is broken (DEVICE_NEEDS_RESET).
	 */
	bool (*parse)(void *ctx, struct vdb__view *view, struct vdb__chain *chain, struct vdb__elem *elem,
	              struct vdb__frame *frame);
	/* Tells the guest (a status byte, marked dirty) and returns the used length. `result` and `written`
	 * as in vdb__queue_ops.complete(). Memory may have gone since parse(): then nothing is written. */
	uint32_t (*finish)(void *ctx, struct vdb__view *view, const struct vdb__frame *frame, int64_t result,
	                   uint64_t written);
};

/* The chain as it is, for VDB_OP_USER backends: vdb/virtq.h. */
extern const struct vdb__framing vdb__framing_plain;

/* vdb_virtq_create() with a framing; ctx must outlive the queue. */
int vdb__virtq_create(struct vdb_mem *mem, const struct vdb_virtq_config *config,
                      const struct vdb__framing *framing, void *ctx, struct vdb_queue **out);

/* Copies [from, from+len) of a run of segments into `to`: for headers. False: shorter than that, or not
 * memory. Each byte is read once. */
bool vdb__segs_read(struct vdb__view *view, const struct vdb__seg *segs, uint32_t nseg, uint64_t from,
                    void *to, uint64_t len);

/* The same from the beginning, for what mostly lies in the first segment; `len` is a constant. */
static inline bool vdb__segs_head(struct vdb__view *view, const struct vdb__seg *segs, uint32_t nseg,
                                  void *to, uint64_t len)
{
	const void *from = NULL;

	if (nseg && segs->len >= len)
		from = vdb__view_ptr(view, segs->gpa, len, VDB__READ);
	if (!from)
		return vdb__segs_read(view, segs, nseg, 0, to, len);
	memcpy(to, from, len);
	/* The guest may change it meanwhile; what counts is the copy, which nobody makes twice. */
	__asm__ __volatile__("" ::: "memory");
	return true;
}

/* Drops the first `bytes` of a run of n segments: returns the index of the first that is left, which
 * may have been shortened; n if none is. */
uint32_t vdb__segs_skip(struct vdb__seg *segs, uint32_t n, uint64_t bytes);

#endif
