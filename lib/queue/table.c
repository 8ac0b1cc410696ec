/* SPDX-License-Identifier: Apache-2.0 */
/* Indirect tables, as an INDIRECT descriptor names them: whether there can be one, and what is in it. */
#include "queue/virtq.h"

bool vdb__table_open(struct vdb__virtq *q, const struct vdb__desc *d, struct vdb__table *table)
{
	uint64_t end;

	if (!vdb__virtq_has(q, VDB_VIRTQ_INDIRECT) || (d->flags & VRING_DESC_F_NEXT))
		return false;
	if (d->len == 0 || d->len % sizeof(struct vring_desc) ||
	    __builtin_add_overflow(d->addr, d->len, &end))
		return false;
	table->n = d->len / (uint32_t)sizeof(struct vring_desc);
	/* 2.7.5.3.1: no chain is longer than the queue. Linux cuts its requests by what the device said
	 * (blk's seg_max) even where it made the ring smaller since memory was short: what one request may
	 * have, it may have in a table, and the walk is as bounded. */
	if (table->n > q->entries && table->n > q->base.max_segments)
		return false;
	table->view = &q->base.view;
	table->gpa = d->addr;
	table->at = vdb__view_ptr(table->view, d->addr, d->len, VDB__READ);
	return true;
}

bool vdb__table_get_split(const struct vdb__table *table, uint64_t offset, uint64_t words[2])
{
	struct vdb__seg seg = {.gpa = table->gpa + offset, .len = sizeof(struct vring_desc)};

	return vdb__segs_read(table->view, &seg, 1, 0, words, seg.len);
}
