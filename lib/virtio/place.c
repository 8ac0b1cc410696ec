/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which loop serves a queue: where it was placed when the device was made, until somebody moves it. That
 * outlives the queue's lives: a reset, or its enabling, makes its next lane there.
 */
#include <errno.h>

#include "base/error.h"
#include "base/export.h"
#include "loop/source.h"
#include "virtio/core.h"

/* ---- When the device is made, and when it goes ---- */

int vdb__virtio_check_place(const char *name, const struct vdb_virtio_config *config)
{
	if (!config->loop == !config->loops)
		return vdb__fail(EINVAL, "virtio '%s': loop, or loops, must be given%s", name,
		                 config->loop ? ", not both" : "");
	if (config->loops ? config->tenant != NULL : config->tenants || config->first_loop)
		return vdb__fail(
		        EINVAL, "virtio '%s': tenant belongs to loop, tenants and first_loop to loops", name);
	if (config->loops && config->first_loop >= vdb_loops_count(config->loops))
		return vdb__fail(EINVAL, "virtio '%s': first_loop %u; there are %u", name, config->first_loop,
		                 vdb_loops_count(config->loops));
	if (config->together > VDB_VIRTIO_MAX_QUEUES)
		return vdb__fail(EINVAL, "virtio '%s': together %u; at most %u", name, config->together,
		                 VDB_VIRTIO_MAX_QUEUES);
	for (uint32_t i = 0; config->tenants && i < vdb_loops_count(config->loops); i++) {
		if (!config->tenants[i] ||
		    vdb__tenant_loop(config->tenants[i]) != vdb_loops_get(config->loops, i))
			return vdb__fail(EINVAL, "virtio '%s': tenants[%u] is not one of loop %u", name, i,
			                 i);
	}
	return 0;
}

static void take_tenant(struct vdb__vqueue *q, struct vdb_tenant *tenant)
{
	if (tenant)
		vdb__tenant_ref(tenant);
	q->tenant = tenant;
}

/* Pinned: the queues one after the other, and those that belong together as one. None of it can fail, as the
 * config has been checked. */
static void choose(struct vdb__vqueue *q, const struct vdb_virtio_config *config)
{
	uint32_t together = config->together ? config->together : 1;
	uint32_t count = vdb_loops_count(config->loops);
	uint32_t index = (config->first_loop + q->index / together) % count;

	if (q->index % together) {
		index = (uint32_t)vdb_loops_index(config->loops, q[-1].loop);
		(void)!vdb_loops_place(config->loops, index, &q->loop);
	} else if (vdb_loops_place(config->loops, VDB_PLACE_ANY, &q->loop)) {
		(void)!vdb_loops_place(config->loops, index, &q->loop);
	}
	take_tenant(q, config->tenants ? config->tenants[vdb_loops_index(config->loops, q->loop)] : NULL);
}

void vdb__vqueue_place(struct vdb__vqueue *q)
{
	const struct vdb_virtio_config *config = &q->device->config;

	if (config->loops) {
		choose(q, config);
	} else {
		q->loop = config->loop;
		take_tenant(q, config->tenant);
	}
}

static void leave(const struct vdb__vqueue *q, const struct vdb_loop *loop)
{
	if (q->device->config.loops)
		vdb_loops_leave(q->device->config.loops, loop);
}

void vdb__vqueue_displace(struct vdb__vqueue *q)
{
	leave(q, q->loop);
	vdb_tenant_destroy(q->tenant);
}

/* ---- Moving ---- */

/* Locked; `on`: it stays where it is to go, else it is where it was. */
static void settle(struct vdb__vqueue *q, bool on)
{
	struct vdb__vqueue_move *move = &q->move;

	if (on) {
		leave(q, move->loop);
		vdb_tenant_destroy(move->tenant);
	} else {
		leave(q, q->loop);
		vdb_tenant_destroy(q->tenant);
		q->loop = move->loop;
		q->tenant = move->tenant;
	}
	move->under_way = false;
}

/* On the loop that has the lane now, before anybody hears of the lane's end. A lane that ended on the
 * way makes no difference: the next one goes where this one would have gone. */
static void moved(void *arg, int status)
{
	struct vdb__vqueue *q = arg;
	struct vdb__vqueue_move move;

	vdb__virtio_lock(q->device);
	move = q->move;
	settle(q, !status || status == -ECANCELED);
	vdb__virtio_unlock(q->device);
	if (move.done)
		move.done(move.arg, status == -ECANCELED ? 0 : status);
}

/* Locked: from now on this is the queue's loop. Where it came from is kept, for the way back. */
static void go(struct vdb__vqueue *q, struct vdb_loop *loop, struct vdb_tenant *tenant)
{
	struct vdb_loops *loops = q->device->config.loops;
	int index = loops ? vdb_loops_index(loops, loop) : -1;

	q->move.loop = q->loop;
	q->move.tenant = q->tenant;
	if (index >= 0)
		(void)!vdb_loops_place(loops, (uint32_t)index, &q->loop);
	q->loop = loop;
	take_tenant(q, tenant);
}

static int check(const struct vdb_virtio *device, const struct vdb__vqueue *q, const struct vdb_loop *loop,
                 const struct vdb_tenant *tenant)
{
	if (!q)
		return vdb__fail(ENOENT, "virtio '%s': no such queue; it has %u", device->ops.name,
		                 device->config.queues);
	if (!loop)
		return vdb__fail(EINVAL, "virtio '%s': move to no loop", device->ops.name);
	if (tenant && vdb__tenant_loop(tenant) != loop)
		return vdb__fail(EINVAL, "virtio '%s': move: the tenant is of another loop",
		                 device->ops.name);
	if (q->move.under_way)
		return vdb__fail(EBUSY, "virtio '%s': queue %u is moving already", device->ops.name,
		                 q->index);
	return q->runner->moves(q);
}

/* Locked. A lane that is ending has been told where it ends; one whose loop was destroyed has ended. */
static int move(struct vdb__vqueue *q, struct vdb_loop *loop, struct vdb_tenant *tenant)
{
	int rc = 0;

	q->move.under_way = q->runs && !q->stopping;
	if (q->move.under_way)
		rc = q->runner->move(q, loop, tenant, moved);
	if (rc)
		q->move.under_way = false;
	if (rc && rc != -ECANCELED)
		return rc;
	go(q, loop, tenant);
	return 0;
}

VDB_EXPORT int vdb_virtio_queue_move(struct vdb_virtio *device, uint32_t queue, struct vdb_loop *loop,
                                     struct vdb_tenant *tenant, void (*done)(void *arg, int status),
                                     void *arg)
{
	struct vdb__vqueue *q = vdb__virtio_queue(device, queue);
	bool at_once = false;
	int rc;

	vdb__virtio_lock(device);
	rc = check(device, q, loop, tenant);
	if (!rc)
		rc = move(q, loop, tenant);
	if (!rc) {
		q->move.done = done;
		q->move.arg = arg;
		at_once = !q->move.under_way;
		if (at_once)
			settle(q, true);
	}
	vdb__virtio_unlock(device);
	if (at_once && done)
		done(arg, 0);
	return rc;
}

VDB_EXPORT int vdb_virtio_queue_loop(struct vdb_virtio *device, uint32_t queue, struct vdb_loop **out)
{
	struct vdb__vqueue *q = vdb__virtio_queue(device, queue);

	if (!q)
		return vdb__fail(ENOENT, "virtio '%s': no queue %u; it has %u", device->ops.name, queue,
		                 device->config.queues);
	vdb__virtio_lock(device);
	*out = q->loop;
	vdb__virtio_unlock(device);
	return 0;
}
