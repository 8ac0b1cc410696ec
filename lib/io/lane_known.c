/* SPDX-License-Identifier: Apache-2.0 */
/* What a loop is told of a lane beforehand, so that it need not find out with each request. */
#include <stdlib.h>

#include "io/lane.h"
#include "loop/memory.h"

/* ---- Memory ---- */

/* A region leaves the loop before it can be unmapped: the hold is ours until then. */
static void forget_regions(struct vdb_lane *lane, struct vdb__region **regions, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		vdb__memory_remove(lane->loop, vdb__region_host(regions[i]), vdb__region_len(regions[i]));
		vdb__region_release(&regions[i], 1);
	}
	free(regions);
}

static void tell_regions(struct vdb_lane *lane)
{
	const struct vdb__view *view = &lane->queue->view;
	uint32_t count = vdb__view_count(view);

	lane->nregistered = 0;
	lane->registered = calloc(count + 1, sizeof(struct vdb__region *)); /* an empty map may grow */
	if (!lane->registered)
		return;
	for (uint32_t i = 0; i < count; i++) {
		struct vdb__region *region = vdb__view_region(view, i);

		if (!vdb__region_pinnable(region) ||
		    !vdb__memory_add(lane->loop, lane->tenant, vdb__region_host(region),
		                     vdb__region_len(region)))
			continue;
		vdb__region_hold(&region, 1);
		lane->registered[lane->nregistered++] = region;
	}
}

/* The new ones first: those that stay need not be pinned again. */
void vdb__lane_remember(struct vdb_lane *lane)
{
	struct vdb__region **old = lane->registered;
	uint32_t n = lane->nregistered;

	tell_regions(lane);
	forget_regions(lane, old, n);
}

/* ---- All of it ---- */

void vdb__lane_introduce(struct vdb_lane *lane)
{
	const struct vdb_backend *backend = lane->backend;
	int fd = backend->ops.file ? backend->ops.file(backend->ctx) : -1;

	if (fd >= 0)
		lane->file = vdb_io_file_add(lane->loop, fd);
	if (fd >= 0 && vdb__memory_wanted(lane->loop))
		tell_regions(lane);
}

/* Before the backend, which may close its file, and before the lane's own are closed. */
void vdb__lane_withdraw(struct vdb_lane *lane)
{
	vdb__loop_unsignal(lane->loop, lane->call_fd);
	vdb_io_file_remove(lane->loop, lane->file);
	lane->file = 0;
	forget_regions(lane, lane->registered, lane->nregistered);
	lane->registered = NULL;
	lane->nregistered = 0;
}
