/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: lib/virtio/blk_request.c */
/* EVA: -eva-equality-through-calls none -cpp-extra-args=-DOWN_WORDS */
/* BROKEN: no_status lib/virtio/blk_request.c s/if (!chain->nwrite)/if (0)/ */
/* BROKEN: no_id_room lib/virtio/blk_request.c s/ && frame->word.PUT. < chain->writable// */
/* BROKEN: no_id_end lib/virtio/blk_request.c s/frame->word.PUT. < sizeof(blk->id) && // */
/* BROKEN: no_empty lib/virtio/blk_request.c s/if (!last->len)/if (0)/ */
/* BROKEN: no_memory lib/virtio/blk_request.c s/if (!at)/if (0)/ */
/*
 * virtio-blk's requests: chains of many shapes whose header says anything. What the backend is to do is
 * within the chain, and what is written, the id and the status, within what the driver gave for it.
 */
#include "virtio/blk.h"
#include "stubs.h"

#define SEGMENTS 4u /* two of each kind */
#define HEADER sizeof(struct virtio_blk_outhdr)

/* All the memory that there is, anywhere. */
static unsigned char ram[2 * HEADER]; /* more than an id */
static struct vdb__map_entry entry = {.gpa = VDB_PAGE_SIZE, .host = ram, .len = sizeof(ram)};
static const struct vdb__map_entry nothing;
static struct vdb__seg segs[SEGMENTS];
static struct vdb__blk blk;

/* ---- What it calls ---- */

/* As translate.c proves it. */
const struct vdb__map_entry *vdb__view_find(struct vdb__view *view, const struct vdb__map_entry **last,
                                            vdb_gpa_t gpa)
{
	CLAIM(last == &view->word);
	return gpa - entry.gpa < entry.len ? &entry : NULL;
}

/* As segs.c proves them. */
bool vdb__segs_read(struct vdb__view *view, const struct vdb__seg *from_segs, uint32_t nseg, uint64_t from,
                    void *to, uint64_t len)
{
	uint64_t sum = 0;

	CLAIM(view && from_segs == segs && nseg <= SEGMENTS);
	for (uint32_t i = 0; i < nseg; i++)
		sum += segs[i].len;
	if (sum < from + len || any & 1)
		return false;
	Frama_C_make_unknown((char *)to, len);
	return true;
}

uint32_t vdb__segs_skip(struct vdb__seg *of, uint32_t n, uint64_t bytes)
{
	uint32_t i = 0;

	CLAIM(of == segs && n <= SEGMENTS);
	for (; i < n && bytes >= segs[i].len; i++)
		bytes -= segs[i].len;
	CLAIM(i < n || bytes == 0);
	if (i < n)
		segs[i].len -= bytes;
	return i;
}

void vdb__view_mark_tracked(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len)
{
	(void)view;
	(void)gpa;
	CLAIM(len == 1);
}

/* ---- Chains ---- */

struct shape {
	uint32_t nread, nwrite;
	uint64_t lens[SEGMENTS];
};

/* Headers, ranges, sectors, ids and status, cut between and within. */
static const struct shape shapes[] = {
        {0, 0, {0}},
        {0, 1, {1}},
        {1, 0, {HEADER}},
        {1, 1, {HEADER - 1, 1}},
        {1, 1, {HEADER, 1}},
        {1, 1, {HEADER, VDB__SECTOR + 1}},
        {1, 2, {HEADER, VDB__SECTOR, 1}},
        {1, 2, {HEADER, VDB__SECTOR - 1, 2}},
        {1, 1, {HEADER, UINT32_MAX}},
        {1, 1, {HEADER + VDB__SECTOR, 1}},
        {2, 1, {HEADER, VDB__SECTOR, 1}},
        {2, 1, {HEADER - 1, VDB__SECTOR + 1, 1}},
        {2, 1, {HEADER + 1, VDB__SECTOR - 1, 1}},
        {2, 1, {HEADER, UINT32_MAX, 1}},
        {2, 1, {HEADER, sizeof(struct virtio_blk_discard_write_zeroes), 1}},
        {2, 2, {1, VDB__SECTOR + HEADER - 1, VDB__SECTOR, 1}},
        {1, 1, {HEADER, VIRTIO_BLK_ID_BYTES}},
        {1, 1, {HEADER, VIRTIO_BLK_ID_BYTES + 2}},
        {1, 2, {HEADER, 1, VIRTIO_BLK_ID_BYTES}},
        {1, 2, {HEADER, VIRTIO_BLK_ID_BYTES - 1, 1}},
        {1, 2, {HEADER, 2, 2}},
};

static uint64_t fill(uint32_t from, uint32_t n, const uint64_t *lens)
{
	uint64_t sum = 0;

	for (uint32_t i = from; i < from + n; i++) {
		segs[i] = (struct vdb__seg){.gpa = any, .len = lens[i]};
		sum += lens[i];
	}
	return sum;
}

static struct vdb__chain any_chain(void)
{
	uint32_t i = Frama_C_unsigned_int_interval(0, sizeof(shapes) / sizeof(shapes[0]) - 1);
	struct vdb__chain chain = {.segs = segs};
	const struct shape *shape;

	/*@ split i; */
	shape = &shapes[i];
	chain.nread = shape->nread;
	chain.nwrite = shape->nwrite;
	chain.readable = fill(0, shape->nread, shape->lens);
	chain.writable = fill(shape->nread, shape->nwrite, shape->lens);
	chain.error = any & 1 ? 0 : -1;
	return chain;
}

/* ---- What is made of them ---- */

static void check_elem(const struct vdb__chain *before, const struct vdb__elem *elem)
{
	uint64_t sum = 0;

	if (elem->error)
		return;
	CLAIM(elem->first + elem->nseg <= before->nread + before->nwrite);
	if (elem->op != VDB_OP_READ && elem->op != VDB_OP_WRITE)
		return;
	for (uint32_t i = elem->first; i < elem->first + elem->nseg; i++) {
		CLAIM(segs[i].len > 0);
		sum += segs[i].len;
	}
	CLAIM(sum == elem->len);
	CLAIM(elem->op == VDB_OP_READ ? elem->first >= before->nread
	                              : elem->first + elem->nseg <= before->nread);
	REACHED(data);
}

static void parse(struct vdb__chain chain)
{
	static const uint32_t tracking;
	struct vdb__chain before = chain;
	struct vdb__view view = {.word = &nothing, .tracking = &tracking};
	struct vdb__elem elem = {0};
	struct vdb__frame frame;

	if (!vdb__blk_framing.parse(&blk, &view, &chain, &elem, &frame))
		return;
	REACHED(parsed);
	check_elem(&before, &elem);
	CLAIM(frame.word[1] == before.writable - 1); /* a byte is the status */
	CLAIM(frame.word[2] <= VIRTIO_BLK_ID_BYTES);
	CLAIM(frame.word[2] <= frame.word[1]);
	CLAIM(vdb__blk_framing.finish(&blk, &view, &frame, -1, any) <= 1);
	(void)vdb__blk_framing.finish(&blk, &view, &frame, any, any);
	REACHED(finished);
}

int main(void)
{
	Frama_C_make_unknown((char *)ram, sizeof(ram));
	Frama_C_make_unknown((char *)blk.id, sizeof(blk.id));
	blk.stable = any;
	blk.accepted = any;
	blk.seg_max = any;
	blk.size_max = any;
	blk.readonly = any & 1;
	parse(any_chain());
	return 0;
}
