/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a slot of the submission queue to a request in host memory. The guest may
 * write all of it at any time: every word is loaded once, atomically, so that
 * neither this code nor its compiler can look twice, and only copies are checked.
 */
#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "queue/index.h"
#include "queue/ring.h"

#define AHEAD 4u /* slots: two lines of the guest's, which may still be in its processor */

/* What addr, len and the segments mean to an op. */
enum form {
	FORM_NONE, /* no memory: len is the operation's */
	FORM_DATA, /* host memory moves: max_len holds */
	FORM_FAST, /* COPY and FILL: done piece by piece, any length */
};

static inline enum form form_of(uint8_t op)
{
	if (op == VDB_OP_READ || op == VDB_OP_WRITE || op >= VDB_OP_USER)
		return FORM_DATA;
	if (op == VDB_OP_COPY || op == VDB_OP_FILL)
		return FORM_FAST;
	return FORM_NONE;
}

/* One word of guest memory anywhere; gpa is a multiple of 8, so it lies in one region or none. */
static bool load_word(struct vdb__view *view, vdb_gpa_t gpa, uint64_t *word)
{
	const uint64_t *p = vdb__view_ptr(view, gpa, sizeof(*word), VDB__READ);

	if (!p)
		return false;
	*word = vdb__load(p);
	return true;
}

/* The segment table, mostly behind one pointer; it may cross from region to region. No region
 * ends at 2^64, so a table that wraps has a word outside. */
static int copy_table(struct vdb__ring *ring, vdb_gpa_t gpa, uint32_t n, struct vdb__seg *segs)
{
	uint64_t bytes = (uint64_t)n * sizeof(struct vdb_seg), word[2];
	const uint64_t *table;
	uint32_t i;

	if (gpa % 8 != 0)
		return -EINVAL;
	table = vdb__view_ptr(&ring->base.view, gpa, bytes, VDB__READ);
	for (i = 0; i < n; i++, gpa += sizeof(struct vdb_seg)) {
		if (table) {
			word[0] = vdb__load(table++);
			word[1] = vdb__load(table++);
		} else if (!load_word(&ring->base.view, gpa, &word[0]) ||
		           !load_word(&ring->base.view, gpa + 8, &word[1])) {
			return -EFAULT;
		}
		/* Length in the low half, nothing in the high one. */
		if (word[1] == 0 || word[1] > UINT32_MAX)
			return -EINVAL;
		segs[i] = (struct vdb__seg){.gpa = word[0], .len = word[1]};
	}
	return 0;
}

static int gather(struct vdb__ring *ring, const struct vdb_sqe *sqe, struct vdb__elem *elem,
                  struct vdb__seg *segs)
{
	uint64_t total = 0;
	uint32_t i;
	int err;

	if (sqe->segments == 0)
		return -EINVAL;
	if (sqe->segments > ring->base.max_segments)
		return -E2BIG;
	err = copy_table(ring, sqe->addr, sqe->segments, segs);
	if (err)
		return err;
	/* At most 2^10 segments of less than 2^32: no overflow. */
	for (i = 0; i < sqe->segments; i++)
		total += segs[i].len;
	if (sqe->len != 0 && sqe->len != total)
		return -EINVAL;
	elem->nseg = sqe->segments;
	elem->len = total;
	return 0;
}

static int decode(struct vdb__ring *ring, const struct vdb_sqe *sqe, struct vdb__elem *elem,
                  struct vdb__seg *segs)
{
	enum form form = form_of(sqe->op);
	int err = 0;

	if ((sqe->flags & ~VDB_SQE_SG) != 0)
		return -EINVAL;
	if ((sqe->flags & VDB_SQE_SG) != 0 && (form == FORM_NONE || !(ring->accepted & VDB_F_SG)))
		return -EINVAL;
	if (form == FORM_FAST && !(ring->accepted & VDB_F_MEMOPS))
		return -EOPNOTSUPP;
	if ((sqe->flags & VDB_SQE_SG) != 0) {
		err = gather(ring, sqe, elem, segs);
	} else {
		elem->len = sqe->len;
		elem->nseg = form != FORM_NONE && sqe->len != 0;
		if (elem->nseg)
			segs[0] = (struct vdb__seg){.gpa = sqe->addr, .len = sqe->len};
	}
	if (!err && form == FORM_DATA && elem->len > ring->base.max_len)
		err = -E2BIG;
	return err;
}

/* Not inlined: the others need no stack. */
__attribute__((noinline)) static void decode_any(struct vdb__ring *ring, const uint64_t words[4],
                                                 struct vdb__elem *elem, struct vdb__seg *segs)
{
	struct vdb_sqe sqe;

	memcpy(&sqe, words, sizeof(sqe));
	elem->error = decode(ring, &sqe, elem, segs);
	if (elem->error) {
		elem->nseg = 0;
		elem->len = 0;
	}
}

static const uint64_t *slot_at(const struct vdb__ring *ring, uint32_t index)
{
	return ring->sq + (uint64_t)vdb__index_slot(index, ring->sq_entries) * 4;
}

void vdb__ring_fetch(struct vdb__ring *ring, struct vdb__elem *elem, struct vdb__seg *segs)
{
	const uint64_t *slot = slot_at(ring, ring->sq_head);
	const uint64_t words[4] = {vdb__load(&slot[0]), vdb__load(&slot[1]), vdb__load(&slot[2]),
	                           vdb__load(&slot[3])};
	/* op, flags, segments, len */
	uint8_t op = (uint8_t)words[0], flags = (uint8_t)(words[0] >> 8);
	uint32_t len = (uint32_t)(words[0] >> 32);

	__builtin_prefetch(slot_at(ring, ring->sq_head + AHEAD));
	*elem = (struct vdb__elem){.cookie = words[3], .op = op, .flags = flags, .offset = words[2]};
	if (flags || form_of(op) != FORM_DATA || !len || len > ring->base.max_len) {
		decode_any(ring, words, elem, segs);
		return;
	}
	/* What most of them are: one buffer that moves. */
	elem->len = len;
	elem->nseg = 1;
	segs[0] = (struct vdb__seg){.gpa = words[1], .len = len};
}
