/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a virtqueue: what both layouts have in common, and what each
 * keeps for itself. virtq.c does what is the same for both; split.c and packed.c each
 * fill one table, `struct vdb__virtq_layout`.
 *
 * The device's own indices, and which heads are in flight, live here in host memory; they are
 * never taken from the guest's.
 *
 * A virtqueue shakes no hands: it is READY once a lane has it, and a broken one stays so until it is
 * destroyed. Nothing is written into a broken queue's memory.
 */
#ifndef VDB_QUEUE_VIRTQ_H
#define VDB_QUEUE_VIRTQ_H

#include <linux/virtio_ring.h>

#include "queue/chain.h"

struct vdb__virtq;

struct vdb__virtq_layout {
	struct vdb__queue_ops ops;
	int (*check)(const struct vdb_virtq_config *config);
	/* Points at the guest's areas in the view's map; false: not there. */
	bool (*translate)(struct vdb__virtq *q);
	/* Takes up config.position (already checked), or the beginning. */
	void (*begin)(struct vdb__virtq *q, const struct vdb_virtq_config *config);
	uint32_t (*position)(const struct vdb__virtq *q);
	/* Puts the use of a buffer where the guest will find it after publish(). */
	void (*stage)(struct vdb__virtq *q, uint16_t id, uint32_t used_len);
	/* Asks for no bells while we are awake, where one that rang would be followed by others. */
	void (*hush)(struct vdb__virtq *q);
	/* Asks for no bell where the next one was asked for. */
	void (*disarm)(struct vdb__virtq *q);
};

enum vdb__slot_state {
	VDB__SLOT_FREE,
	VDB__SLOT_TAKEN,
	VDB__SLOT_DONE, /* IN_ORDER: waits for those before it */
};

/* Of each head (split) or buffer id (packed). */
struct vdb__virtq_slot {
	struct vdb__frame frame;
	uint32_t used_len; /* of a DONE one */
	uint16_t descs;    /* packed: descriptors of the ring */
	uint8_t state;     /* enum vdb__slot_state */
};

/* All indices run freely over 16 bits. */
struct vdb__split {
	const struct vring_desc *desc; /* guest memory, as the next two */
	const struct vring_avail *avail;
	struct vring_used *used;
	uint16_t mask;
	uint16_t taken;     /* avail entries popped */
	uint16_t seen;      /* avail->idx, as last read and found good */
	uint16_t staged;    /* used entries written */
	uint16_t published; /* of these, what the driver may see */
};

/* A place in a packed ring: it is the wrap counter that tells one lap from the next. */
struct vdb__packed_place {
	uint16_t at;
	bool wrap;
};

struct vdb__packed {
	struct vring_packed_desc *desc; /* guest memory, as the next two */
	const uint32_t *driver_event;   /* struct vring_packed_desc_event, one word */
	uint32_t *device_event;
	struct vdb__packed_place avail;     /* where the next buffer will be */
	struct vdb__packed_place used;      /* where its use will be told, after those staged */
	struct vdb__packed_place published; /* where the batch that is staged begins */
	uint32_t staged;                    /* descriptors of that batch */
	uint32_t taken;                     /* descriptors popped and not published */
	uint64_t first; /* the batch's first used descriptor, written last: len, id, flags */
	uint16_t last;  /* where its last one is */
};

struct vdb__virtq {
	struct vdb_queue base;
	const struct vdb__virtq_layout *layout;
	const struct vdb__framing *framing;
	void *framing_ctx;
	struct vdb__virtq_slot *slots;
	uint32_t flags; /* VDB_VIRTQ_* */
	uint32_t entries;
	bool awake; /* has asked for no bells since the last arm() */
	vdb_gpa_t desc, driver, device;
	union {
		struct vdb__split split;
		struct vdb__packed packed;
	};

	/* IN_ORDER: ids in the order in which they were taken. */
	uint16_t *order;
	uint32_t order_head, order_count;
	uint32_t *left_at;
};

static inline struct vdb__virtq *vdb__virtq(struct vdb_queue *q)
{
	return (struct vdb__virtq *)(void *)q;
}

static inline bool vdb__virtq_has(const struct vdb__virtq *q, uint32_t flag)
{
	return (q->flags & flag) != 0;
}

extern const struct vdb__virtq_layout vdb__virtq_split;
extern const struct vdb__virtq_layout vdb__virtq_packed;

/* ---- virtq.c: what the layouts' queue ops share ---- */

void vdb__virtq_attach(struct vdb_queue *base, const struct vdb__queue_identity *identity);
bool vdb__virtq_ready(struct vdb_queue *base, uint32_t inflight);
void vdb__virtq_complete(struct vdb_queue *base, uint64_t cookie, int64_t result, uint64_t written);
void vdb__virtq_disarm(struct vdb_queue *base);
void vdb__virtq_remap(struct vdb_queue *base);
void vdb__virtq_break(struct vdb_queue *base, uint32_t reason);
void vdb__virtq_destroy(struct vdb_queue *base);

/* A whole chain has been walked: makes a request of it. False: the queue is broken now. */
bool vdb__virtq_take(struct vdb__virtq *q, uint16_t id, struct vdb__chain *chain, struct vdb__elem *elem);

/* A descriptor, copied: both layouts have two words, and the second in an order of its own. */
struct vdb__desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags; /* VRING_DESC_F_* */
	uint16_t link;  /* split: next; packed: the buffer's id */
};

/* ---- table.c ---- */

/* An indirect table, while it is walked. */
struct vdb__table {
	struct vdb__view *view;
	const unsigned char *at; /* guest memory; NULL: not behind one pointer */
	vdb_gpa_t gpa;
	uint32_t n;
};

/* The table that an INDIRECT descriptor names; false: it cannot be one. */
bool vdb__table_open(struct vdb__virtq *q, const struct vdb__desc *d, struct vdb__table *table);
/* Descriptor at `offset` of a table that is not behind one pointer. */
bool vdb__table_get_split(const struct vdb__table *table, uint64_t offset, uint64_t words[2]);

/* A word of the guest's anywhere: an indirect table need not be aligned. The access is
 * volatile, so that it is made once. */
struct vdb__any_word {
	uint64_t value;
} __attribute__((packed, may_alias));

static inline uint64_t vdb__load_any(const void *p)
{
	return ((const volatile struct vdb__any_word *)p)->value;
}

/* Descriptor i < n as two words; false: not memory. */
static inline bool vdb__table_get(const struct vdb__table *table, uint32_t i, uint64_t words[2])
{
	uint64_t offset = (uint64_t)i * sizeof(struct vring_desc);

	if (!table->at) /* it crosses from region to region, or out of memory */
		return vdb__table_get_split(table, offset, words);
	words[0] = vdb__load_any(table->at + offset);
	words[1] = vdb__load_any(table->at + offset + 8);
	return true;
}

/* ---- chain.c ---- */

void vdb__chain_drop_last(struct vdb__chain *chain);

/* One more buffer of a chain; false: the chain cannot be. */
static inline bool vdb__chain_add(const struct vdb__virtq *q, struct vdb__chain *chain,
                                  const struct vdb__desc *d)
{
	bool writable = d->flags & VRING_DESC_F_WRITE;
	uint64_t end;

	chain->steps++;
	if (!writable && chain->nwrite) /* 2.7.4.2: what is to be read comes first */
		return false;
	if (d->len == 0)
		return true;
	if (__builtin_add_overflow(d->addr, d->len, &end))
		return false;
	if (chain->nread + chain->nwrite == q->base.max_segments)
		vdb__chain_drop_last(chain);
	chain->segs[chain->nread + chain->nwrite] = (struct vdb__seg){.gpa = d->addr, .len = d->len};
	if (writable) {
		chain->nwrite++;
		chain->writable += d->len;
	} else {
		chain->nread++;
		chain->readable += d->len;
	}
	return true;
}

#endif
