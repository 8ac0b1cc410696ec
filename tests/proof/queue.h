/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtqueue in a guest's memory. What is there the guest may change at any moment: Eva takes each load for
 * any value. Small, so that Eva can walk every chain to its end.
 */
#ifndef PROOF_QUEUE_H
#define PROOF_QUEUE_H

#include "queue/virtq.h"
#include "stubs.h"

#define ENTRIES 2u
#define SEGMENTS 2u
#define TABLE_MAX ENTRIES /* the larger one */

static struct vdb__virtq_slot slots[ENTRIES];
static uint16_t order[ENTRIES];
static struct vdb__seg segs[SEGMENTS];
static unsigned char table_bytes[TABLE_MAX * sizeof(struct vring_desc)];
static struct vdb__map map;
static const struct vdb__map_entry nothing;

/* What table.c proves of the real ones: so many descriptors, either behind the pointer or found one by one.
 */
bool vdb__table_open(struct vdb__virtq *q, const struct vdb__desc *d, struct vdb__table *table)
{
	uint32_t n = any;

	if (n == 0 || n > TABLE_MAX)
		return false;
	/*@ split n; */
	table->n = n;
	table->view = &q->base.view;
	table->gpa = d->addr;
	table->at = any & 1 ? table_bytes + sizeof(table_bytes) - n * sizeof(struct vring_desc) : NULL;
	return true;
}

bool vdb__table_get_split(const struct vdb__table *table, uint64_t offset, uint64_t words[2])
{
	CLAIM(offset + sizeof(struct vring_desc) <= table->n * sizeof(struct vring_desc));
	words[0] = any;
	words[1] = any;
	return any & 1;
}

/* The plain framing would need the length of every chain; what it is given is what counts here. */
static bool parse(void *ctx, struct vdb__view *view, struct vdb__chain *chain, struct vdb__elem *elem,
                  struct vdb__frame *frame)
{
	(void)ctx;
	(void)view;
	elem->nread = chain->nread;
	elem->nseg = chain->nread + chain->nwrite;
	frame->word[0] = chain->writable;
	return any & 1;
}

static uint32_t finish(void *ctx, struct vdb__view *view, const struct vdb__frame *frame, int64_t result,
                       uint64_t written)
{
	(void)ctx;
	(void)view;
	(void)frame;
	(void)result;
	return (uint32_t)written;
}

bool vdb__dirty_wanted(struct vdb_mem *mem)
{
	(void)mem;
	return any & 1;
}

void vdb__dirty_mark(struct vdb__region *region, const void *host, uint64_t len)
{
	(void)region;
	(void)host;
	(void)len;
	CLAIM(0); /* this map has nothing */
}

static const struct vdb__framing framing = {.parse = parse, .finish = finish};

static struct vdb__virtq queue(const struct vdb__virtq_layout *layout)
{
	static const uint32_t tracking;
	uint32_t order_head, order_count;

	Frama_C_make_unknown((char *)slots, sizeof(slots));
	for (uint32_t i = 0; i < ENTRIES; i++)
		order[i] = (uint16_t)(any % ENTRIES);
	order_head = Frama_C_unsigned_int_interval(0, ENTRIES - 1);
	order_count = Frama_C_unsigned_int_interval(0, ENTRIES - 1); /* less the one that pop() adds */
	return (struct vdb__virtq){
	        .base =
	                {
	                        .view = {.map = &map,
	                                 .data = &nothing,
	                                 .word = &nothing,
	                                 .tracking = &tracking},
	                        .max_segments = SEGMENTS,
	                        .max_len = any,
	                        .state = VDB_RING_READY,
	                },
	        .layout = layout,
	        .framing = &framing,
	        .slots = slots,
	        .flags = any,
	        .entries = ENTRIES,
	        .order = any & 1 ? order : NULL,
	        .order_head = order_head,
	        .order_count = order_count,
	};
}

#endif
