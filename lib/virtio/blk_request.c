/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain as a block request (5.2.6): 16 bytes of header, data, one byte of status. The two runs of
 * bytes count, not how they are cut into buffers (2.7.4.3). Header and ranges are read once.
 */
#include <endian.h>
#include <errno.h>

#include "base/atomic.h"
#include "virtio/blk.h"

/* frame->word[] */
enum {
	STATUS, /* where it goes */
	ROOM,   /* bytes before it that the device may write */
	PUT,    /* of these, written by parse() */
};

/* ---- Pieces ---- */

/* The last byte that may be written. False: there is none, or it is no memory. */
static bool take_status(struct vdb__view *view, struct vdb__chain *chain, struct vdb__frame *frame)
{
	struct vdb__seg *last;
	const void *at;

	if (!chain->nwrite)
		return false;
	last = &chain->segs[chain->nread + chain->nwrite - 1];
	last->len--;
	chain->writable--;
	frame->word[STATUS] = last->gpa + last->len;
	frame->word[ROOM] = chain->writable;
	frame->word[PUT] = 0;
	if (!last->len)
		chain->nwrite--;
	at = vdb__view_ptr(view, frame->word[STATUS], 1, VDB__WRITE);
	if (at)
		__builtin_prefetch(at, 1);
	return at;
}

static bool put_byte(struct vdb__view *view, vdb_gpa_t gpa, uint8_t byte)
{
	uint8_t *at = vdb__view_ptr(view, gpa, 1, VDB__WRITE);

	if (!at)
		return false;
	*at = byte;
	vdb__view_mark(view, gpa, 1);
	return true;
}

static int check_data(const struct vdb__blk *blk, const struct vdb__elem *elem, const struct vdb__seg *segs)
{
	if (!elem->len || elem->len % VDB__SECTOR)
		return -EINVAL;
	if (blk->accepted & 1ull << VIRTIO_BLK_F_SEG_MAX && elem->nseg > blk->seg_max)
		return -EINVAL;
	for (uint32_t i = 0; blk->accepted & 1ull << VIRTIO_BLK_F_SIZE_MAX && i < elem->nseg; i++) {
		if (segs[elem->first + i].len > blk->size_max)
			return -EINVAL;
	}
	return 0;
}

static int set_offset(struct vdb__elem *elem, uint64_t sector)
{
	return __builtin_mul_overflow(sector, VDB__SECTOR, &elem->offset) ? -ERANGE : 0;
}

static bool offers(const struct vdb__blk *blk, unsigned feature)
{
	return blk->accepted >> feature & 1;
}

/* ---- Requests; each returns 0 or the guest's -errno ---- */

static int parse_in(const struct vdb__blk *blk, const struct vdb__chain *chain, struct vdb__elem *elem,
                    uint64_t sector)
{
	if (chain->readable != sizeof(struct virtio_blk_outhdr))
		return -EINVAL;
	elem->op = VDB_OP_READ;
	elem->first = (uint16_t)chain->nread;
	elem->nseg = chain->nwrite;
	elem->len = chain->writable;
	return check_data(blk, elem, chain->segs) ? -EINVAL : set_offset(elem, sector);
}

static int parse_out(const struct vdb__blk *blk, const struct vdb__chain *chain, struct vdb__elem *elem,
                     uint64_t sector)
{
	if (blk->readonly)
		return -EROFS;
	if (chain->writable)
		return -EINVAL;
	elem->op = VDB_OP_WRITE;
	elem->first = (uint16_t)vdb__segs_skip(chain->segs, chain->nread, sizeof(struct virtio_blk_outhdr));
	elem->nseg = chain->nread - elem->first;
	elem->len = chain->readable - sizeof(struct virtio_blk_outhdr);
	elem->stable = vdb__load(&blk->stable);
	return check_data(blk, elem, chain->segs) ? -EINVAL : set_offset(elem, sector);
}

/* Its sector and data are to be ignored (5.2.6). */
static int parse_flush(const struct vdb__blk *blk, struct vdb__elem *elem)
{
	elem->op = VDB_OP_FLUSH;
	return offers(blk, VIRTIO_BLK_F_FLUSH) ? 0 : -EOPNOTSUPP;
}

/* A buffer that is shorter gets the beginning. */
static int parse_id(const struct vdb__blk *blk, struct vdb__view *view, const struct vdb__chain *chain,
                    struct vdb__frame *frame)
{
	const struct vdb__seg *seg = &chain->segs[chain->nread];
	uint64_t at = 0;

	for (; frame->word[PUT] < sizeof(blk->id) && frame->word[PUT] < chain->writable; at++) {
		if (at == seg->len) {
			seg++;
			at = 0;
		}
		if (!put_byte(view, seg->gpa + at, blk->id[frame->word[PUT]]))
			return -EFAULT;
		frame->word[PUT]++;
	}
	return 0;
}

/* One segment is offered (max_*_seg), so one it is. */
static int parse_range(const struct vdb__blk *blk, struct vdb__view *view, const struct vdb__chain *chain,
                       struct vdb__elem *elem, bool discard)
{
	const uint32_t flags = discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	const uint32_t max = discard ? VDB__BLK_MAX_DISCARD : VDB__BLK_MAX_ZEROES;
	struct virtio_blk_discard_write_zeroes range;
	uint32_t sectors;

	if (blk->readonly)
		return -EROFS;
	if (!offers(blk, discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES))
		return -EOPNOTSUPP;
	if (chain->writable || chain->readable != sizeof(struct virtio_blk_outhdr) + sizeof(range) ||
	    !vdb__segs_read(view, chain->segs, chain->nread, sizeof(struct virtio_blk_outhdr), &range,
	                    sizeof(range)))
		return -EINVAL;
	if (le32toh(range.flags) & ~flags)
		return -EOPNOTSUPP;
	sectors = le32toh(range.num_sectors);
	if (!sectors || sectors > max)
		return -EINVAL;
	elem->op = discard ? VDB_OP_DISCARD : VDB_OP_WRITE_ZEROES;
	elem->len = (uint64_t)sectors * VDB__SECTOR;
	elem->stable = !discard && vdb__load(&blk->stable);
	return set_offset(elem, le64toh(range.sector));
}

static int parse_request(const struct vdb__blk *blk, struct vdb__view *view, const struct vdb__chain *chain,
                         struct vdb__elem *elem, struct vdb__frame *frame)
{
	struct virtio_blk_outhdr header;

	if (!vdb__segs_head(view, chain->segs, chain->nread, &header, sizeof(header)))
		return -EINVAL;
	switch (le32toh(header.type)) {
	case VIRTIO_BLK_T_IN:
		return parse_in(blk, chain, elem, le64toh(header.sector));
	case VIRTIO_BLK_T_OUT:
		return parse_out(blk, chain, elem, le64toh(header.sector));
	case VIRTIO_BLK_T_FLUSH:
		return parse_flush(blk, elem);
	case VIRTIO_BLK_T_GET_ID:
		return parse_id(blk, view, chain, frame);
	case VIRTIO_BLK_T_DISCARD:
		return parse_range(blk, view, chain, elem, true);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return parse_range(blk, view, chain, elem, false);
	default:
		return -EOPNOTSUPP;
	}
}

static bool parse(void *ctx, struct vdb__view *view, struct vdb__chain *chain, struct vdb__elem *elem,
                  struct vdb__frame *frame)
{
	if (!take_status(view, chain, frame))
		return false;
	elem->op = VDB_OP_NOP;
	elem->error = chain->error ? chain->error : parse_request(ctx, view, chain, elem, frame);
	return true;
}

static uint8_t status_of(int64_t result)
{
	if (result >= 0)
		return VIRTIO_BLK_S_OK;
	return result == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

/* The used length promises that all bytes before it have been written (2.7.8.2): the status counts if
 * there is no gap before it. */
static uint32_t finish(void *ctx, struct vdb__view *view, const struct vdb__frame *frame, int64_t result,
                       uint64_t written)
{
	uint64_t put = result < 0 ? 0 : written + frame->word[PUT];
	bool told = put_byte(view, frame->word[STATUS], status_of(result));

	(void)ctx;
	return (uint32_t)put + (told && put == frame->word[ROOM]);
}

const struct vdb__framing vdb__blk_framing = {.parse = parse, .finish = finish};
