/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk (5.2): what it offers, by what its backend can, and its config space. */
#include "virtio/blk.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/error.h"
#include "io/backend.h"
#include "virtio/device.h"

#define DEFAULT_SEGMENTS 126u
#define MAX_SEGMENTS 1022u           /* with header and status, what one chain may have */
#define MAX_SEGMENT (16u << 20)      /* bytes */
#define MAX_DATA (INT32_MAX - 8192u) /* of a chain, less header and status */
#define MAX_PHYSICAL 16u

#define BIT(feature) (1ull << (feature))

static bool serves(const struct vdb__blk *blk, unsigned op)
{
	return blk->ops >> op & 1;
}

static uint64_t offer(const struct vdb__blk *blk)
{
	uint64_t features = BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) |
	                    BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_TOPOLOGY);

	if (blk->queues > 1)
		features |= BIT(VIRTIO_BLK_F_MQ);
	if (serves(blk, VDB_OP_FLUSH))
		features |= BIT(VIRTIO_BLK_F_FLUSH);
	if (blk->readonly)
		return features | BIT(VIRTIO_BLK_F_RO);
	if (serves(blk, VDB_OP_FLUSH))
		features |= BIT(VIRTIO_BLK_F_CONFIG_WCE);
	if (serves(blk, VDB_OP_DISCARD))
		features |= BIT(VIRTIO_BLK_F_DISCARD);
	if (serves(blk, VDB_OP_WRITE_ZEROES))
		features |= BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	return features;
}

/* ---- The write cache ---- */

/* When a write must have been flushed before it is complete (5.2.6.2, "stable"). A driver that
 * knows neither FLUSH nor the switch cannot ask for it later. */
static bool is_stable(const struct vdb__blk *blk)
{
	if (!serves(blk, VDB_OP_FLUSH))
		return false;
	if (blk->accepted & BIT(VIRTIO_BLK_F_CONFIG_WCE))
		return !blk->writeback;
	return blk->start_through || !(blk->accepted & BIT(VIRTIO_BLK_F_FLUSH));
}

static void set_cache(struct vdb__blk *blk, bool writeback)
{
	blk->writeback = writeback;
	vdb__store(&blk->stable, is_stable(blk));
}

static int negotiate(void *ctx, uint64_t features)
{
	struct vdb__blk *blk = ctx;
	const uint64_t cache = BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE);

	blk->accepted = features;
	/* The switch without FLUSH starts off (5.2.5.2). */
	set_cache(blk, !blk->start_through && (features & cache) != BIT(VIRTIO_BLK_F_CONFIG_WCE));
	return 0;
}

static void reset(void *ctx)
{
	(void)negotiate(ctx, 0);
}

/* ---- Config space ---- */

static void fill_config(const struct vdb__blk *blk, struct virtio_blk_config *c)
{
	*c = (struct virtio_blk_config){
	        .capacity = htole64(vdb__backend_capacity(blk->backend) / VDB__SECTOR),
	        .size_max = htole32(blk->size_max),
	        .seg_max = htole32(blk->seg_max),
	        .blk_size = htole32(blk->block_size),
	        .physical_block_exp = blk->physical_log2,
	        .min_io_size = htole16((uint16_t)(1u << blk->physical_log2)),
	        .wce = (uint8_t)blk->writeback,
	        .num_queues = htole16((uint16_t)blk->queues),
	};
	if (blk->offered & BIT(VIRTIO_BLK_F_DISCARD)) {
		c->max_discard_sectors = htole32(VDB__BLK_MAX_DISCARD);
		c->max_discard_seg = htole32(1);
		c->discard_sector_alignment = htole32(blk->block_size / VDB__SECTOR);
	}
	if (blk->offered & BIT(VIRTIO_BLK_F_WRITE_ZEROES)) {
		c->max_write_zeroes_sectors = htole32(VDB__BLK_MAX_ZEROES);
		c->max_write_zeroes_seg = htole32(1);
		c->write_zeroes_may_unmap = 1;
	}
}

static void config_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
	struct virtio_blk_config config;

	fill_config(ctx, &config);
	memcpy(data, (const uint8_t *)&config + offset, len);
}

/* Only the switch of the cache, and only for who has negotiated it (5.2.5.1). */
static void config_write(void *ctx, uint32_t offset, const void *data, uint32_t len)
{
	const uint32_t wce = offsetof(struct virtio_blk_config, wce);
	struct vdb__blk *blk = ctx;

	if (!(blk->accepted & BIT(VIRTIO_BLK_F_CONFIG_WCE)) || offset > wce || wce - offset >= len)
		return;
	set_cache(blk, ((const uint8_t *)data)[wce - offset] != 0);
}

/* ---- Life ---- */

static struct vdb_backend *backend_of(void *ctx, uint32_t index)
{
	(void)index;
	return ((struct vdb__blk *)ctx)->backend;
}

static int save(void *ctx, void *buf, size_t *len)
{
	const struct vdb__blk *blk = ctx;

	if (buf && *len < 1)
		return vdb__fail(ENOSPC, "blk: no room for its state");
	*len = 1;
	if (buf)
		*(uint8_t *)buf = (uint8_t)blk->writeback;
	return 0;
}

static int restore(void *ctx, const void *buf, size_t len)
{
	const uint8_t *writeback = buf;

	if (len != 1 || *writeback > 1)
		return vdb__fail(EINVAL, "blk: this is not a state of it");
	set_cache(ctx, *writeback);
	return 0;
}

void vdb__blk_free(void *ctx)
{
	struct vdb__blk *blk = ctx;

	vdb_backend_destroy(blk->backend);
	free(blk);
}

const struct vdb_virtio_ops vdb__blk_ops = {
        .size = sizeof(vdb__blk_ops),
        .device_id = 2,
        .name = "blk",
        .config_read = config_read,
        .config_write = config_write,
        .negotiate = negotiate,
        .backend = backend_of,
        .reset = reset,
        .save = save,
        .restore = restore,
        .destroy = vdb__blk_free,
};

static int check_config(const struct vdb_blk_config *config)
{
	uint32_t ops;

	if (!config->backend || !config->at)
		return vdb__fail(EINVAL, "blk: backend and `at` must be given");
	ops = config->backend->info.ops;
	if (!(ops >> VDB_OP_READ & 1))
		return vdb__fail(EINVAL, "blk: backend %s cannot read", config->backend->ops.name);
	if (config->serial && strlen(config->serial) > VIRTIO_BLK_ID_BYTES)
		return vdb__fail(EINVAL, "blk: serial \"%s\" is longer than %d bytes", config->serial,
		                 VIRTIO_BLK_ID_BYTES);
	if (config->max_segments > MAX_SEGMENTS)
		return vdb__fail(EINVAL, "blk: max_segments %u; at most %u", config->max_segments,
		                 MAX_SEGMENTS);
	if (config->physical_log2 >= MAX_PHYSICAL)
		return vdb__fail(EINVAL, "blk: physical_log2 %u; below %u", config->physical_log2,
		                 MAX_PHYSICAL);
	if (config->write_through > 1 || config->reserved)
		return vdb__fail(EINVAL, "blk: write_through is 0 or 1, reserved 0");
	return 0;
}

/* A chain is no longer than the queue (2.7.5.3.1), and Linux makes one of as many segments as it is told. */
static uint32_t segments(const struct vdb_blk_config *config)
{
	uint32_t entries = config->at->queue_size ? config->at->queue_size : VDB__VIRTIO_QUEUE_SIZE;
	uint32_t room = entries > VDB__BLK_FRAME ? entries - VDB__BLK_FRAME : 1;
	uint32_t wanted = config->max_segments ? config->max_segments : DEFAULT_SEGMENTS;

	return wanted < room ? wanted : room;
}

static void set_up(struct vdb__blk *blk, const struct vdb_blk_config *config)
{
	const struct vdb_backend_info *info = &config->backend->info;

	blk->ops = info->ops;
	blk->block_size = info->block_size > VDB__SECTOR ? info->block_size : VDB__SECTOR;
	blk->readonly = info->flags & VDB_BACKEND_READONLY || !serves(blk, VDB_OP_WRITE);
	blk->queues = config->queues ? config->queues : 1;
	blk->seg_max = segments(config);
	blk->size_max = MAX_DATA / blk->seg_max & ~(VDB_PAGE_SIZE - 1);
	if (blk->size_max > MAX_SEGMENT)
		blk->size_max = MAX_SEGMENT;
	blk->physical_log2 = (uint8_t)config->physical_log2;
	blk->start_through = config->write_through;
	if (config->serial)
		memcpy(blk->id, config->serial, strlen(config->serial));
	blk->offered = offer(blk);
	reset(blk);
}

int vdb__blk_make(const struct vdb_blk_config *config, struct vdb__blk **out)
{
	struct vdb__blk *blk;
	int rc = check_config(config);

	if (rc)
		return rc;
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return vdb__fail(ENOMEM, "blk: no memory");
	set_up(blk, config);
	vdb__backend_ref(config->backend);
	blk->backend = config->backend;
	*out = blk;
	return 0;
}
