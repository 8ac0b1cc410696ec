/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backends that take requests only as they have a use for them, and are told when their queue is served:
 * the outside starts there, the guest's buffers wait in the queue. Loop's thread, unless said otherwise.
 */
#include "base/atomic.h"
#include "base/export.h"
#include "io/lane.h"

bool vdb__lane_claim(struct vdb_lane *lane)
{
	if (!lane->backend->ops.wants)
		return true;
	if (!vdb__cas(&lane->backend->taken, 0u, 1u))
		return false;
	lane->wants = lane->backend->ops.wants;
	return true;
}

void vdb__lane_disclaim(struct vdb_lane *lane)
{
	if (!lane->wants)
		return;
	lane->wants = NULL;
	vdb__store_release(&lane->backend->taken, 0u); /* pairs with the cas in vdb__lane_claim() */
}

void vdb__lane_opened(struct vdb_lane *lane)
{
	struct vdb_backend *backend = lane->backend;

	lane->opened = true;
	if (lane->wants)
		backend->lane = lane;
	if (backend->ops.opened)
		backend->ops.opened(backend->ctx, lane->loop);
}

void vdb__lane_closed(struct vdb_lane *lane)
{
	struct vdb_backend *backend = lane->backend;

	if (!lane->opened)
		return;
	lane->opened = false;
	if (lane->wants)
		backend->lane = NULL;
	if (backend->ops.closed)
		backend->ops.closed(backend->ctx);
}

VDB_EXPORT void vdb_backend_wake(struct vdb_backend *backend)
{
	struct vdb_lane *lane = backend->lane;

	if (lane && lane->phase == VDB__LANE_OPEN)
		vdb__source_ready(&lane->source);
}
