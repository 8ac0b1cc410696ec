/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: lib/queue/packed.c lib/queue/chain.c lib/queue/virtq.c lib/mem/map.c lib/mem/view.c */
/* BROKEN: no_room lib/queue/packed.c s/.n <= room/1/ */
/* BROKEN: no_wrap lib/queue/packed.c s/at + 1 < q->entries ? at + 1 : 0/at + 1/ */
/* BROKEN: no_id lib/queue/packed.c s/ || id >= q->entries// */
/* BROKEN: no_table_end lib/queue/packed.c s/i < table.n/1/ */
/* BROKEN: no_segments lib/queue/virtq.h s/if (chain->nread + chain->nwrite ==.*$/if (0)/ */
/* BROKEN: no_lap lib/queue/packed.c s/if (at < q->entries)/if (1)/ */
/*
 * A packed virtqueue, whatever its ring says, and goes on saying while it is read: no chain is longer than
 * what the driver may have made available, and no place is outside the ring.
 */
#include "queue.h"

static struct vring_packed_desc descs[ENTRIES];
static uint32_t driver_event, device_event;

static bool place_ok(struct vdb__packed_place place)
{
	return place.at < ENTRIES;
}

/* As pop() leaves them. */
static void some_descs(void)
{
	for (uint32_t i = 0; i < ENTRIES; i++)
		slots[i].descs = (uint16_t)Frama_C_unsigned_int_interval(1, ENTRIES);
}

static void pop(struct vdb__virtq *q)
{
	struct vdb__elem elem;

	some_descs();
	if (!vdb__virtq_packed.ops.pop(&q->base, &elem, segs)) {
		REACHED(none);
		return;
	}
	REACHED(popped);
	CLAIM(elem.cookie < ENTRIES);
	CLAIM(elem.nseg <= SEGMENTS && elem.nread <= SEGMENTS);
	CLAIM(place_ok(q->packed.avail));
	CLAIM(q->packed.taken <= ENTRIES);
	for (uint32_t i = 0; i < ENTRIES; i++)
		CLAIM(slots[i].descs >= 1 && slots[i].descs <= ENTRIES);
}

static void tell(struct vdb__virtq *q)
{
	uint64_t cookie = any;

	if (cookie >= ENTRIES)
		return; /* it is one that pop() gave */
	some_descs();
	vdb__virtq_packed.ops.complete(&q->base, cookie, any, any);
	CLAIM(place_ok(q->packed.used));
	(void)vdb__virtq_packed.ops.publish(&q->base);
	CLAIM(place_ok(q->packed.published));
	REACHED(told);
}

static void rest(struct vdb__virtq *q)
{
	vdb__virtq_packed.ops.disarm(&q->base);
	if (vdb__virtq_packed.ops.arm(&q->base))
		REACHED(more);
	(void)vdb__virtq_packed.ops.ready(&q->base, any);
	(void)vdb__virtq_packed.ops.pending(&q->base);
}

/* Anywhere in the ring. */
static struct vdb__packed_place any_place(void)
{
	return (struct vdb__packed_place){.at = (uint16_t)Frama_C_unsigned_int_interval(0, ENTRIES - 1),
	                                  .wrap = any & 1};
}

int main(void)
{
	struct vdb__virtq q = queue(&vdb__virtq_packed);
	uint32_t taken = Frama_C_unsigned_int_interval(0, ENTRIES);

	/*@ split taken; */
	q.packed = (struct vdb__packed){.desc = descs,
	                                .driver_event = &driver_event,
	                                .device_event = &device_event,
	                                .avail = any_place(),
	                                .used = any_place(),
	                                .published = any_place(),
	                                .staged = any,
	                                .taken = taken,
	                                .first = any,
	                                .last = (uint16_t)Frama_C_unsigned_int_interval(0, ENTRIES - 1)};
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
