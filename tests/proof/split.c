/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: lib/queue/split.c lib/queue/chain.c lib/queue/virtq.c lib/mem/map.c lib/mem/view.c */
/* BROKEN: no_steps lib/queue/split.c s/steps < q->entries/1/ */
/* BROKEN: no_next lib/queue/split.c s/if (i >= q->entries)/if (0)/ */
/* BROKEN: no_table_steps lib/queue/split.c s/steps < table.n/1/ */
/* BROKEN: no_table_next lib/queue/split.c s/if (i >= table.n || /if (/ */
/* BROKEN: no_segments lib/queue/virtq.h s/if (chain->nread + chain->nwrite ==.*$/if (0)/ */
/* BROKEN: no_mask lib/queue/split.c s/s->taken & s->mask/s->taken/ */
/* BROKEN: no_prefetch_check lib/queue/split.c s/if (head < q->entries)/if (1)/ */
/* BROKEN: no_used_mask lib/queue/split.c s/s->staged & s->mask/s->staged/ */
/*
 * A split virtqueue, whatever its rings say, and go on saying while they are read: chains are walked within
 * the descriptors that there are and come to an end, and what is told to the driver stays in the used ring.
 */
#include "queue.h"

static struct vring_desc descs[ENTRIES];
static uint16_t avail[2 + ENTRIES + 1];
static uint32_t used[1 + 2 * ENTRIES + 1];

static void pop(struct vdb__virtq *q)
{
	struct vdb__elem elem;

	if (!vdb__virtq_split.ops.pop(&q->base, &elem, segs)) {
		REACHED(none);
		return;
	}
	REACHED(popped);
	CLAIM(elem.cookie < ENTRIES);
	CLAIM(elem.nseg <= SEGMENTS && elem.nread <= SEGMENTS);
}

static void tell(struct vdb__virtq *q)
{
	uint64_t cookie = any;

	if (cookie >= ENTRIES)
		return; /* it is one that pop() gave */
	vdb__virtq_split.ops.complete(&q->base, cookie, any, any);
	(void)vdb__virtq_split.ops.publish(&q->base);
	REACHED(told);
}

static void rest(struct vdb__virtq *q)
{
	vdb__virtq_split.ops.disarm(&q->base);
	if (vdb__virtq_split.ops.arm(&q->base))
		REACHED(more);
	(void)vdb__virtq_split.ops.ready(&q->base, any);
	(void)vdb__virtq_split.ops.pending(&q->base);
}

int main(void)
{
	struct vdb__virtq q = queue(&vdb__virtq_split);

	q.split = (struct vdb__split){.desc = descs,
	                              .avail = (const struct vring_avail *)(const void *)avail,
	                              .used = (struct vring_used *)(void *)used,
	                              .mask = ENTRIES - 1,
	                              .taken = any,
	                              .seen = any,
	                              .staged = any,
	                              .published = any};
	switch (any) {
	case 0:
		pop(&q);
		break;
	case 1:
		tell(&q);
		break;
	default:
		rest(&q);
	}
	return 0;
}
