/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device's life, and what can be asked of it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "loop/limit.h"
#include "virtio/core.h"

#define MAX_SEGMENTS 1024u
#define MAX_CONFIG_LEN 0xf00u /* what mmio's page has room for */
#define RING_BITS (((1ull << 50) - 1) & ~((1ull << 24) - 1))
#define ALL_FLAGS                                                                  \
	(VDB_VIRTIO_NO_PACKED | VDB_VIRTIO_NO_EVENT_IDX | VDB_VIRTIO_NO_INDIRECT | \
	 VDB_VIRTIO_NO_RING_RESET | VDB_VIRTIO_IN_ORDER)

/* ---- Create ---- */

static int check_parts(const struct vdb_virtio_ops *ops, const struct vdb__remote *remote,
                       const struct vdb_virtio_config *config)
{
	if ((!ops->backend && !remote) || !ops->device_id)
		return vdb__fail(EINVAL, "virtio: ops without backend or device_id");
	if (!config->mem)
		return vdb__fail(EINVAL, "virtio '%s': mem must be given", ops->name);
	if (config->flags & ~ALL_FLAGS)
		return vdb__fail(EINVAL, "virtio '%s': flags %#x are not known", ops->name,
		                 config->flags & ~ALL_FLAGS);
	if (config->features & RING_BITS)
		return vdb__fail(EINVAL, "virtio '%s': features %#llx are the ring's; see VDB_VIRTIO_*",
		                 ops->name, (unsigned long long)(config->features & RING_BITS));
	return vdb__virtio_check_place(ops->name, config);
}

static int check_sizes(const struct vdb_virtio_ops *ops, const struct vdb_virtio_config *config)
{
	uint32_t size = config->queue_size;

	if (!config->queues || config->queues > VDB_VIRTIO_MAX_QUEUES)
		return vdb__fail(EINVAL, "virtio '%s': %u queues; 1 to %u", ops->name, config->queues,
		                 VDB_VIRTIO_MAX_QUEUES);
	if (size > VDB_VIRTQ_MAX_SIZE || size & (size - 1))
		return vdb__fail(EINVAL, "virtio '%s': queue_size %u; a power of two, at most %u", ops->name,
		                 size, VDB_VIRTQ_MAX_SIZE);
	if (config->max_segments > MAX_SEGMENTS)
		return vdb__fail(EINVAL, "virtio '%s': max_segments %u; at most %u", ops->name,
		                 config->max_segments, MAX_SEGMENTS);
	if (config->config_len > MAX_CONFIG_LEN)
		return vdb__fail(EINVAL, "virtio '%s': config_len %u; at most %u", ops->name,
		                 config->config_len, MAX_CONFIG_LEN);
	return 0;
}

static void set_up(struct vdb_virtio *device)
{
	if (!device->config.queue_size)
		device->config.queue_size = VDB__VIRTIO_QUEUE_SIZE;
	device->offered = vdb__virtio_offer(&device->config);
	for (uint32_t i = 0; i < device->config.queues; i++) {
		device->queues[i].device = device;
		device->queues[i].index = i;
		device->queues[i].runner = &vdb__run_lane;
		vdb__vqueue_clear(&device->queues[i]);
		vdb__vqueue_place(&device->queues[i]);
	}
}

static void drop(struct vdb_virtio *device)
{
	for (uint32_t i = 0; i < device->config.queues; i++)
		vdb__vqueue_displace(&device->queues[i]);
	vdb_gate_unref(device->reset_done);
	vdb__limit_unref(device->config.limit);
	pthread_cond_destroy(&device->told);
	pthread_mutex_destroy(&device->lock);
	free(device->shown);
	free(device->scratch);
	free(device);
}

static int make(uint32_t queues, uint32_t config_len, struct vdb_virtio **out)
{
	struct vdb_virtio *device = calloc(1, sizeof(*device) + queues * sizeof(device->queues[0]));

	if (!device)
		return vdb__fail(ENOMEM, "virtio: no memory");
	/* Default attributes: cannot fail. */
	pthread_mutex_init(&device->lock, NULL);
	pthread_cond_init(&device->told, NULL);
	device->shown = calloc(1, config_len + 1);
	device->scratch = calloc(1, config_len + 1);
	if (!device->shown || !device->scratch) {
		drop(device);
		return vdb__fail(ENOMEM, "virtio: no memory");
	}
	*out = device;
	return 0;
}

static void take_remote(struct vdb_virtio *device, struct vdb__remote *remote)
{
	if (!remote)
		return;
	device->remote = remote;
	remote->device = device;
	for (uint32_t i = 0; i < device->config.queues; i++) {
		if (remote->ops->serves(remote, i))
			device->queues[i].runner = &vdb__run_remote;
	}
}

int vdb__virtio_create_remote(const struct vdb_virtio_ops *ops, const struct vdb__framing *framing,
                              struct vdb__remote *remote, void *ctx, const struct vdb_virtio_config *config,
                              struct vdb_virtio **out)
{
	struct vdb_virtio_config own_config;
	struct vdb_virtio_ops own_ops;
	struct vdb_virtio *device = NULL;
	int rc = vdb__config_take(&own_ops, sizeof(own_ops), ops, "virtio ops");

	if (!own_ops.name)
		own_ops.name = "unnamed";
	if (!rc)
		rc = vdb__config_take(&own_config, sizeof(own_config), config, "virtio config");
	if (!rc)
		rc = check_parts(&own_ops, remote, &own_config);
	if (!rc)
		rc = check_sizes(&own_ops, &own_config);
	if (!rc)
		rc = make(own_config.queues, own_config.config_len, &device);
	if (rc)
		return rc;
	device->ops = own_ops;
	device->ctx = ctx;
	device->framing = framing;
	device->config = own_config;
	vdb__limit_ref(own_config.limit);
	set_up(device);
	take_remote(device, remote);
	*out = device;
	return 0;
}

int vdb__virtio_create(const struct vdb_virtio_ops *ops, const struct vdb__framing *framing, void *ctx,
                       const struct vdb_virtio_config *config, struct vdb_virtio **out)
{
	return vdb__virtio_create_remote(ops, framing, NULL, ctx, config, out);
}

VDB_EXPORT int vdb_virtio_create(const struct vdb_virtio_ops *ops, void *ctx,
                                 const struct vdb_virtio_config *config, struct vdb_virtio **out)
{
	return vdb__virtio_create(ops, &vdb__framing_plain, ctx, config, out);
}

/* ---- Destroy ---- */

void vdb__virtio_free(struct vdb_virtio *device)
{
	if (device->remote)
		device->remote->ops->end(device->remote);
	else
		vdb__virtio_ended(device);
}

void vdb__virtio_ended(struct vdb_virtio *device)
{
	vdb_done_fn done = device->destroy_done;
	void *arg = device->destroy_arg;

	if (device->ops.destroy)
		device->ops.destroy(device->ctx);
	drop(device);
	if (done)
		done(arg);
}

VDB_EXPORT void vdb_virtio_destroy(struct vdb_virtio *device, vdb_done_fn done, void *arg)
{
	struct vdb__settled settled;

	if (!device)
		return;
	vdb__virtio_lock(device);
	assert(!device->transport && "destroy a device's transport before it");
	device->doomed = true;
	device->destroy_done = done;
	device->destroy_arg = arg;
	settled = vdb__virtio_settle(device);
	vdb__virtio_unlock(device);
	vdb__virtio_tell(device, &settled);
}

/* ---- Transport ---- */

int vdb__virtio_attach(struct vdb_virtio *device, const struct vdb__transport_ops *ops, void *arg)
{
	int rc = 0;

	vdb__virtio_lock(device);
	if (device->transport) {
		rc = vdb__fail(EBUSY, "virtio '%s': has a transport already", device->ops.name);
	} else {
		device->transport = ops;
		device->transport_arg = arg;
	}
	vdb__virtio_unlock(device);
	return rc;
}

void vdb__virtio_detach(struct vdb_virtio *device)
{
	struct vdb_gate *gate;
	int64_t result;
	int rc;

	vdb__virtio_set_status(device, 0, &gate);
	if (gate) {
		rc = vdb_gate_wait(gate, -1, &result);
		assert(!rc && "a loop's thread must not destroy a transport");
		(void)rc;
	}
	vdb_gate_unref(gate);
	vdb__virtio_lock(device);
	while (device->raising || device->telling)
		vdb__virtio_wait(device);
	device->transport = NULL;
	device->held = false;
	vdb__virtio_unlock(device);
}

/* ---- Questions ---- */

void *vdb__virtio_ctx(struct vdb_virtio *device, const struct vdb_virtio_ops *ops)
{
	if (device->ops.device_id == ops->device_id && strcmp(device->ops.name, ops->name) == 0)
		return device->ctx;
	(void)vdb__fail(EINVAL, "virtio '%s': is not a '%s'", device->ops.name, ops->name);
	return NULL;
}

struct vdb__remote *vdb__virtio_remote(const struct vdb_virtio *device)
{
	return device->remote;
}

uint32_t vdb__virtio_id(const struct vdb_virtio *device)
{
	return device->ops.device_id;
}

const char *vdb__virtio_name(const struct vdb_virtio *device)
{
	return device->ops.name;
}

uint32_t vdb__virtio_queues(const struct vdb_virtio *device)
{
	return device->config.queues;
}

VDB_EXPORT int vdb_virtio_query(struct vdb_virtio *device, struct vdb_virtio_info *info)
{
	struct vdb_virtio_info own = {.device_id = device->ops.device_id,
	                              .queues = device->config.queues,
	                              .offered = device->offered};

	vdb__virtio_lock(device);
	own.status = device->status;
	if (device->status & VIRTIO_CONFIG_S_FEATURES_OK)
		own.accepted = device->accepted;
	own.resets = device->resets;
	own.broken = device->broken;
	vdb__virtio_unlock(device);
	return vdb__stats_give(info, &own, sizeof(own), "virtio info");
}
