/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: lib/queue/table.c lib/mem/map.c lib/mem/view.c */
/* EVA: -eva-equality-through-calls none */
/* BROKEN: no_limit lib/queue/table.c s/if (table->n > q->entries && .*)$/if (0)/ */
/* BROKEN: no_whole lib/queue/table.c s/d->len % sizeof(struct vring_desc) ||/0 ||/ */
/* BROKEN: no_next lib/queue/table.c s/ || (d->flags & VRING_DESC_F_NEXT)// */
/* BROKEN: no_negotiation lib/queue/table.c s/!vdb__virtq_has(q, VDB_VIRTQ_INDIRECT)/0/ */
/* BROKEN: no_wrap lib/queue/table.c s/__builtin_add_overflow(d->addr, d->len, .end)/0/ */
/*
 * Indirect tables, at any address and of any length: as many descriptors as there may be, each of which lies
 * in the guest's memory or is asked for by an address of its own, segs.c.
 */
#define SPACE_LEN 16u
#include "queue/virtq.h"
#include "space.h"
#include "stubs.h"

#define ENTRIES 2u
#define SEGMENTS 2u

bool vdb__segs_read(struct vdb__view *view, const struct vdb__seg *segs, uint32_t nseg, uint64_t from,
                    void *to, uint64_t len)
{
	uint64_t *words = to;

	CLAIM(view && segs[0].len == len && nseg == 1 && from == 0);
	words[0] = any;
	words[len / sizeof(*words) - 1] = any;
	REACHED(one_by_one);
	return any & 1;
}

static void read_all(const struct vdb__table *table)
{
	uint64_t words[2];

	for (uint32_t i = 0; i < table->n; i++) {
		if (!vdb__table_get(table, i, words))
			return;
		REACHED(descriptor);
	}
}

/* So many descriptors and so many bytes: each number that there may be by itself. */
static uint32_t any_len(void)
{
	uint32_t n = any, bytes = any;

	if (n > UINT32_MAX / sizeof(struct vring_desc) || bytes >= sizeof(struct vring_desc))
		n = bytes = 0;
	if (n <= ENTRIES) {
		/*@ split n; */
		;
	}
	if (bytes == 0)
		return n * (uint32_t)sizeof(struct vring_desc);
	return n * (uint32_t)sizeof(struct vring_desc) + bytes;
}

/* As a link of a chain, without having been negotiated, round the end of addresses. */
static void refused(struct vdb__virtq *q, struct vdb__desc *d)
{
	struct vdb__table table;

	d->flags = VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT;
	CLAIM(!vdb__table_open(q, d, &table));
	d->flags = VRING_DESC_F_INDIRECT;
	q->flags = 0;
	CLAIM(!vdb__table_open(q, d, &table));
	q->flags = VDB_VIRTQ_INDIRECT;
	*d = (struct vdb__desc){.addr = 0 - (uint64_t)8, .len = 16, .flags = VRING_DESC_F_INDIRECT};
	CLAIM(!vdb__table_open(q, d, &table));
}

static void opened(struct vdb__virtq *q, struct vdb__desc *d)
{
	struct vdb__table table;

	if (!vdb__table_open(q, d, &table))
		return;
	REACHED(table);
	CLAIM(table.n >= 1 && table.n <= ENTRIES);
	CLAIM(table.n * sizeof(struct vring_desc) == d->len);
	read_all(&table);
}

int main(void)
{
	struct vdb__virtq q = {.base = {.view = space_view(), .max_segments = SEGMENTS},
	                       .flags = VDB_VIRTQ_INDIRECT,
	                       .entries = ENTRIES};
	struct vdb__desc d = {.addr = space_any_gpa(), .len = any_len(), .flags = any, .link = any};

	if (any)
		refused(&q, &d);
	else
		opened(&q, &d);
	return 0;
}
