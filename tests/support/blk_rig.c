/* SPDX-License-Identifier: Apache-2.0 */
#include "blk_rig.h"

#include <endian.h>
#include <string.h>
#include <vdb/error.h>

void blk_rig_open(struct blk_rig *r, struct vdb_backend *backend, uint32_t virtq_flags, uint64_t features,
                  const struct vdb_blk_config *with)
{
	static const struct vdb_virtio_config at = {.size = sizeof(at)};
	struct vdb_blk_config config = with ? *with : (struct vdb_blk_config){0};

	config.size = sizeof(config);
	config.backend = backend;
	config.at = &at;
	ck_assert_msg(vdb__blk_make(&config, &r->blk) == 0, "%s", vdb_errmsg());
	ck_assert_int_eq(vdb__blk_ops.negotiate(r->blk, r->blk->offered & features), 0);
	vrig_open(&r->v,
	          &(struct vrig_config){
	                  .virtq = {.entries = 16, .flags = virtq_flags, .max_segments = r->blk->seg_max + 2},
	                  .framing = &vdb__blk_framing,
	                  .framing_ctx = r->blk,
	                  .backend = r->blk->backend,
	          });
}

void blk_rig_close(struct blk_rig *r)
{
	vrig_close(&r->v);
	vdb__blk_free(r->blk);
}

void blk_header(struct blk_rig *r, uint32_t type, uint64_t sector)
{
	const struct virtio_blk_outhdr header = {.type = htole32(type), .sector = htole64(sector)};

	memcpy(vrig_at(&r->v, BLK_HEADER), &header, sizeof(header));
}

void blk_range(struct blk_rig *r, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	const struct virtio_blk_discard_write_zeroes range = {
	        .sector = htole64(sector), .num_sectors = htole32(sectors), .flags = htole32(flags)};

	memcpy(vrig_at(&r->v, BLK_RANGE), &range, sizeof(range));
}

uint8_t blk_chain(struct blk_rig *r, const struct virtq_buf *bufs, uint32_t n, uint32_t *used)
{
	uint8_t *status = vrig_at(&r->v, BLK_STATUS);
	uint32_t len;

	*status = 0xee;
	len = vrig_do(&r->v, bufs, n);
	if (used)
		*used = len;
	return *status;
}

uint8_t blk_do(struct blk_rig *r, uint32_t type, uint64_t sector, uint32_t len, uint32_t *used)
{
	const struct virtq_buf bufs[] = {
	        {BLK_HEADER, sizeof(struct virtio_blk_outhdr), false},
	        {BLK_DATA, len, type != VIRTIO_BLK_T_OUT},
	        {BLK_STATUS, 1, true},
	};
	const struct virtq_buf bare[] = {bufs[0], bufs[2]};

	blk_header(r, type, sector);
	return len ? blk_chain(r, bufs, 3, used) : blk_chain(r, bare, 2, used);
}

uint8_t blk_zero(struct blk_rig *r, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	const struct virtq_buf bufs[] = {
	        {BLK_HEADER, sizeof(struct virtio_blk_outhdr), false},
	        {BLK_RANGE, sizeof(struct virtio_blk_discard_write_zeroes), false},
	        {BLK_STATUS, 1, true},
	};

	blk_header(r, type, 0);
	blk_range(r, sector, sectors, flags);
	return blk_chain(r, bufs, 3, NULL);
}
