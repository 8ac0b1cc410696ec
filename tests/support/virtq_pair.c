/* SPDX-License-Identifier: Apache-2.0 */
#include "virtq_pair.h"

#include <string.h>
#include <vdb/error.h>

#include "base/atomic.h"

void virtq_pair_open(struct virtq_pair *p, const struct vdb_virtq_config *config)
{
	struct vdb_virtq_config own = *config;

	memset(p, 0, sizeof(*p));
	mock_ram_open(&p->ram, 0, PAIR_RAM);
	if (!own.desc)
		own.desc = PAIR_QUEUE;
	virtq_driver_open(&p->d, &p->ram, &own);
	ck_assert_msg(vdb_virtq_create(p->ram.mem, &p->d.config, &p->queue) == 0, "%s", vdb_errmsg());
	p->queue->ops->attach(p->queue, &(struct vdb__queue_identity){.block_size = 512});
	p->shown = (uint16_t)own.position;
}

void virtq_pair_close(struct virtq_pair *p)
{
	vdb_queue_destroy(p->queue);
	virtq_driver_close(&p->d);
	mock_ram_close(&p->ram);
}

bool virtq_pair_pop(struct virtq_pair *p)
{
	return p->queue->ops->ready(p->queue, 0) && p->queue->ops->pop(p->queue, &p->elem, p->segs);
}

void virtq_pair_complete(struct virtq_pair *p, uint64_t cookie, uint32_t written)
{
	p->queue->ops->complete(p->queue, cookie, written, written);
}

bool virtq_pair_publish(struct virtq_pair *p)
{
	return p->queue->ops->publish(p->queue);
}

uint32_t virtq_pair_serve(struct virtq_pair *p)
{
	uint32_t n = 0;

	for (; virtq_pair_pop(p); n++)
		virtq_pair_complete(p, p->elem.cookie, 0);
	(void)virtq_pair_publish(p);
	return n;
}

bool virtq_pair_arm(struct virtq_pair *p)
{
	return p->queue->ops->arm(p->queue);
}

void virtq_pair_entry(struct virtq_pair *p, vdb_gpa_t table, uint32_t i, vdb_gpa_t addr, uint32_t len,
                      uint32_t flags, uint32_t next)
{
	struct vring_desc split = {
	        .addr = addr, .len = len, .flags = (uint16_t)flags, .next = (uint16_t)next};
	struct vring_packed_desc packed = {.addr = addr, .len = len, .flags = (uint16_t)flags};

	memcpy(mock_at(&p->ram, table + 16 * (uint64_t)i),
	       p->d.config.flags & VDB_VIRTQ_PACKED ? (const void *)&packed : &split, 16);
}

void virtq_pair_desc(struct virtq_pair *p, uint32_t i, vdb_gpa_t addr, uint32_t len, uint32_t flags,
                     uint32_t next)
{
	virtq_pair_entry(p, p->d.config.desc, i, addr, len, flags, next);
}

void virtq_pair_offer(struct virtq_pair *p, uint32_t head)
{
	struct vring_avail *avail = virtq_avail(&p->d);

	avail->ring[p->shown & (p->d.config.entries - 1)] = (uint16_t)head;
	p->shown++;
	vdb__store_release(&avail->idx, p->shown);
}

void virtq_pair_packed(struct virtq_pair *p, uint32_t i, vdb_gpa_t addr, uint32_t len, uint32_t id,
                       uint32_t flags, bool wrap)
{
	struct vring_packed_desc *desc = virtq_packed_desc(&p->d, i);

	flags |= 1u << (wrap ? VRING_PACKED_DESC_F_AVAIL : VRING_PACKED_DESC_F_USED);
	*desc = (struct vring_packed_desc){.addr = addr, .len = len, .id = (uint16_t)id};
	vdb__store_release(&desc->flags, (uint16_t)flags);
}

void virtq_pair_breaks(struct virtq_pair *p, uint32_t reason)
{
	for (int i = 0; i < 3; i++) {
		ck_assert(!virtq_pair_pop(p));
		ck_assert_uint_eq(p->queue->state, VDB_RING_BROKEN);
		ck_assert_uint_eq(p->queue->reason, reason);
		ck_assert_uint_eq(p->queue->breaks, 1);
		ck_assert(!p->queue->ops->pending(p->queue));
		ck_assert(!virtq_pair_publish(p));
		ck_assert(!virtq_pair_arm(p));
	}
}
