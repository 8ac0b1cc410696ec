/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-balloon (5.5) as a device: made, its config space, and what its owner asks of it. */
#include "virtio/balloon.h"

#include <endian.h>
#include <linux/virtio_balloon.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "queue/chain.h"
#include "virtio/device.h"
#include "virtio/ready.h"

#define ALL_FLAGS (VDB_BALLOON_REPORTING | VDB_BALLOON_DEFLATE_ON_OOM | VDB_BALLOON_MUST_TELL)
#define BIT(feature) (1ull << (feature))
#define CONFIG_BYTES ((uint32_t)sizeof(struct virtio_balloon_config))
#define QUEUES 5u
#define LINUX_REPORTS 32u /* entries that its driver wants of a queue for reports */

/* A used length is what the device wrote, and it writes into no buffer. */
static uint32_t finish(void *ctx, struct vdb__view *view, const struct vdb__frame *frame, int64_t result,
                       uint64_t written)
{
	(void)ctx;
	(void)view;
	(void)frame;
	(void)result;
	(void)written;
	return 0;
}

static bool parse(void *ctx, struct vdb__view *view, struct vdb__chain *chain, struct vdb__elem *elem,
                  struct vdb__frame *frame)
{
	return vdb__framing_plain.parse(ctx, view, chain, elem, frame);
}

static const struct vdb__framing framing = {.parse = parse, .finish = finish};

/* ---- Config space ---- */

static void config_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
	const struct vdb__balloon *balloon = ctx;
	const struct virtio_balloon_config config = {
	        .num_pages = htole32(vdb__load(&balloon->target)),
	        .actual = htole32(vdb__load(&balloon->actual)),
	        .poison_val = htole32(vdb__load(&balloon->poison)),
	};

	memcpy(data, (const uint8_t *)&config + offset, len);
}

/* The bytes of [offset, +len) that are of the word at `at`. */
static void write_word(uint32_t *word, uint32_t at, uint32_t offset, const uint8_t *data, uint32_t len)
{
	uint32_t value = htole32(vdb__load(word));

	for (uint32_t i = 0; i < len; i++) {
		if (offset + i - at < sizeof(value))
			((uint8_t *)&value)[offset + i - at] = data[i];
	}
	vdb__store(word, le32toh(value));
}

static void config_write(void *ctx, uint32_t offset, const void *data, uint32_t len)
{
	struct vdb__balloon *balloon = ctx;

	write_word(&balloon->actual, offsetof(struct virtio_balloon_config, actual), offset, data, len);
	write_word(&balloon->poison, offsetof(struct virtio_balloon_config, poison_val), offset, data, len);
}

/* ---- Features, queues ---- */

/* Who need not be told could take back pages that `actual` still counts. */
static int negotiate(void *ctx, uint64_t features)
{
	struct vdb__balloon *balloon = ctx;

	if (balloon->offered & ~features & BIT(VIRTIO_BALLOON_F_MUST_TELL_HOST))
		return -EINVAL;
	vdb__store(&balloon->accepted, features);
	return 0;
}

/*
 * 5.5.2 gives each queue a number of its own; Linux and QEMU leave out those that a driver does not use, so
 * that reports may come by queue 2, 3 or 4. None of these has another meaning then.
 */
static struct vdb_backend *backend_of(void *ctx, uint32_t index)
{
	const struct vdb__balloon *balloon = ctx;
	bool stats = vdb__load(&balloon->accepted) & BIT(VIRTIO_BALLOON_F_STATS_VQ);

	if (index < VDB__BALLOON_STATS || (index == VDB__BALLOON_STATS && stats))
		return balloon->backends[index];
	return balloon->backends[VDB__BALLOON_REPORT];
}

/* ---- Life ---- */

static void reset(void *ctx)
{
	struct vdb__balloon *balloon = ctx;

	vdb__store(&balloon->accepted, UINT64_C(0));
	vdb__store(&balloon->actual, 0u);
	vdb__store(&balloon->poison, 0u);
	vdb__balloon_poll_reset(balloon);
}

struct state {
	uint32_t target, actual, poison, reserved;
};

static int save(void *ctx, void *buf, size_t *len)
{
	const struct vdb__balloon *balloon = ctx;
	const struct state state = {.target = vdb__load(&balloon->target),
	                            .actual = vdb__load(&balloon->actual),
	                            .poison = vdb__load(&balloon->poison)};

	if (buf && *len < sizeof(state))
		return -ENOSPC;
	if (buf)
		memcpy(buf, &state, sizeof(state));
	*len = sizeof(state);
	return 0;
}

static int restore(void *ctx, const void *buf, size_t len)
{
	struct vdb__balloon *balloon = ctx;
	struct state state;

	if (len != sizeof(state))
		return -EINVAL;
	memcpy(&state, buf, sizeof(state));
	if (state.reserved)
		return -EINVAL;
	vdb__store(&balloon->target, state.target);
	vdb__store(&balloon->actual, state.actual);
	vdb__store(&balloon->poison, state.poison);
	return 0;
}

void vdb__balloon_free(struct vdb__balloon *balloon)
{
	for (unsigned i = 0; i < VDB__BALLOON_ROLES; i++)
		vdb_backend_destroy(balloon->backends[i]);
	pthread_mutex_destroy(&balloon->poll.lock);
	free(balloon);
}

static void destroy(void *ctx)
{
	if (vdb__balloon_poll_end(ctx))
		vdb__balloon_free(ctx);
}

static const struct vdb_virtio_ops balloon_ops = {
        .size = sizeof(balloon_ops),
        .device_id = 5,
        .name = "balloon",
        .config_read = config_read,
        .config_write = config_write,
        .negotiate = negotiate,
        .backend = backend_of,
        .reset = reset,
        .save = save,
        .restore = restore,
        .destroy = destroy,
};

/* ---- Create ---- */

static int check_target(uint64_t bytes)
{
	if (bytes % VDB_PAGE_SIZE || bytes / VDB_PAGE_SIZE > UINT32_MAX)
		return vdb__fail(EINVAL, "balloon: target %llu must be a multiple of %u, and below 16 TiB",
		                 (unsigned long long)bytes, VDB_PAGE_SIZE);
	return 0;
}

static int check(const struct vdb_balloon_config *config, const struct vdb_virtio_config *at)
{
	if (config->flags & ~ALL_FLAGS || config->reserved)
		return vdb__fail(EINVAL, "balloon: flags %#x are not known, or reserved is not 0",
		                 config->flags & ~ALL_FLAGS);
	if (config->flags & VDB_BALLOON_REPORTING && at->queue_size && at->queue_size < LINUX_REPORTS)
		return vdb__fail(EINVAL,
		                 "balloon: queue_size %u; Linux wants %u or more to report free pages",
		                 at->queue_size, LINUX_REPORTS);
	return check_target(config->target);
}

static uint64_t offer(uint32_t flags)
{
	uint64_t features = BIT(VIRTIO_BALLOON_F_STATS_VQ);

	if (flags & VDB_BALLOON_REPORTING)
		features |= BIT(VIRTIO_BALLOON_F_REPORTING) | BIT(VIRTIO_BALLOON_F_PAGE_POISON);
	if (flags & VDB_BALLOON_DEFLATE_ON_OOM)
		features |= BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
	if (flags & VDB_BALLOON_MUST_TELL)
		features |= BIT(VIRTIO_BALLOON_F_MUST_TELL_HOST);
	return features;
}

static int make(const struct vdb_balloon_config *config, struct vdb__balloon **out)
{
	static const struct vdb_backend_ops *const ops[VDB__BALLOON_ROLES] = {
	        [VDB__BALLOON_INFLATE] = &vdb__balloon_inflate_ops,
	        [VDB__BALLOON_DEFLATE] = &vdb__balloon_deflate_ops,
	        [VDB__BALLOON_STATS] = &vdb__balloon_stats_ops,
	        [VDB__BALLOON_REPORT] = &vdb__balloon_report_ops,
	};
	static const struct vdb_backend_info info = {.size = sizeof(info), .ops = 1u << 31};
	struct vdb__balloon *balloon = calloc(1, sizeof(*balloon));
	int rc = 0;

	if (!balloon)
		return vdb__fail(ENOMEM, "balloon: no memory");
	balloon->offered = offer(config->flags);
	balloon->target = (uint32_t)(config->target / VDB_PAGE_SIZE);
	vdb__balloon_poll_init(balloon, config);
	for (unsigned i = 0; i < VDB__BALLOON_ROLES && !rc; i++)
		rc = vdb_backend_create(ops[i], balloon, &info, &balloon->backends[i]);
	if (rc)
		vdb__balloon_free(balloon);
	else
		*out = balloon;
	return rc;
}

VDB_EXPORT int vdb_balloon_create(const struct vdb_balloon_config *config, struct vdb_virtio **out)
{
	struct vdb_balloon_config own;
	struct vdb__balloon *balloon = NULL;
	struct vdb_virtio_config at;
	int rc = vdb__config_take(&own, sizeof(own), config, "balloon config");

	if (!rc)
		rc = vdb__virtio_at(&at, own.at, "balloon");
	if (!rc)
		rc = check(&own, &at);
	if (!rc)
		rc = make(&own, &balloon);
	if (rc)
		return rc;
	at.features = balloon->offered;
	at.queues = QUEUES;
	at.config_len = CONFIG_BYTES;
	rc = vdb__virtio_create(&balloon_ops, &framing, balloon, &at, out);
	if (rc)
		vdb__balloon_free(balloon);
	return rc;
}

/* ---- Its owner's questions ---- */

VDB_EXPORT int vdb_balloon_target(struct vdb_virtio *device, uint64_t bytes)
{
	struct vdb__balloon *balloon = vdb__virtio_ctx(device, &balloon_ops);
	int rc = balloon ? check_target(bytes) : -EINVAL;

	if (rc)
		return rc;
	vdb__store(&balloon->target, (uint32_t)(bytes / VDB_PAGE_SIZE));
	vdb_virtio_config_changed(device);
	return 0;
}

VDB_EXPORT int vdb_balloon_poll(struct vdb_virtio *device, uint32_t ms)
{
	struct vdb__balloon *balloon = vdb__virtio_ctx(device, &balloon_ops);

	if (!balloon)
		return -EINVAL;
	vdb__balloon_poll_set(balloon, ms);
	return 0;
}

VDB_EXPORT int vdb_balloon_ask(struct vdb_virtio *device)
{
	struct vdb__balloon *balloon = vdb__virtio_ctx(device, &balloon_ops);

	if (!balloon)
		return -EINVAL;
	if (!(vdb__load(&balloon->accepted) & BIT(VIRTIO_BALLOON_F_STATS_VQ)))
		return vdb__fail(EOPNOTSUPP, "balloon: the guest's driver gives no statistics, or not yet");
	vdb__balloon_poll_now(balloon);
	return 0;
}

VDB_EXPORT int vdb_balloon_query(struct vdb_virtio *device, struct vdb_balloon_info *info)
{
	const struct vdb__balloon *balloon = vdb__virtio_ctx(device, &balloon_ops);
	struct vdb_balloon_info own = {0};

	if (!balloon)
		return -EINVAL;
	own.target = (uint64_t)vdb__load(&balloon->target) * VDB_PAGE_SIZE;
	own.actual = (uint64_t)vdb__load(&balloon->actual) * VDB_PAGE_SIZE;
	own.inflated = vdb__load(&balloon->inflated);
	own.deflated = vdb__load(&balloon->deflated);
	own.reported = vdb__load(&balloon->reported);
	own.discarded = vdb__load(&balloon->discarded);
	own.kept = vdb__load(&balloon->kept);
	own.failed = vdb__load(&balloon->failed);
	own.wrong = vdb__load(&balloon->wrong);
	return vdb__stats_give(info, &own, sizeof(own), "balloon info");
}

VDB_EXPORT int vdb_balloon_stats(struct vdb_virtio *device, struct vdb_balloon_stats *stats)
{
	struct vdb__balloon *balloon = vdb__virtio_ctx(device, &balloon_ops);
	struct vdb_balloon_stats own = {0};

	if (!balloon)
		return -EINVAL;
	vdb__balloon_values(balloon, &own);
	return vdb__stats_give(stats, &own, sizeof(own), "balloon statistics");
}
