/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a lane needs per request, allocated once: the data path allocates nothing but room for a request in
 * more pieces than any before it. Of the requests only as many are touched as were ever in flight at once,
 * so that a lane that is allowed many, and has few, takes up the memory of few.
 */
#include <stdlib.h>

#include "base/error.h"
#include "io/lane.h"

int vdb__lane_pool_init(struct vdb_lane *lane, uint32_t count)
{
	uint32_t segments = lane->queue->max_segments;

	vdb__list_init(&lane->inlined);
	lane->max_pieces =
	        segments + VDB__IOV_EXTRA < VDB__IOV_MAX ? segments + VDB__IOV_EXTRA : VDB__IOV_MAX;
	lane->segs = malloc((segments ? segments : 1) * sizeof(*lane->segs));
	lane->requests = aligned_alloc(VDB__LINE, count * sizeof(*lane->requests));
	if (!lane->segs || !lane->requests)
		return vdb__fail(ENOMEM, "lane: no memory for %u requests; lower max_inflight", count);
	lane->max_inflight = count;
	return 0;
}

void vdb__lane_pool_move(struct vdb_lane *lane)
{
	for (uint32_t i = 0; i < lane->nrequests; i++)
		lane->requests[i].pub.loop = lane->loop;
}

void vdb__lane_pool_drop(struct vdb_lane *lane)
{
	struct vdb__pieces *pieces;

	while ((pieces = lane->pieces)) {
		lane->pieces = pieces->next;
		free(pieces);
	}
	free(lane->segs);
	free(lane->requests);
	lane->segs = NULL;
	lane->requests = lane->free = NULL;
	lane->nrequests = 0;
}

struct vdb__request *vdb__lane_new_request(struct vdb_lane *lane)
{
	struct vdb__request *r = &lane->requests[lane->nrequests++];

	*r = (struct vdb__request){.lane = lane, .pub.loop = lane->loop};
	return r;
}

struct vdb__pieces *vdb__lane_take_pieces(struct vdb_lane *lane)
{
	struct vdb__pieces *pieces = lane->pieces;
	size_t n = lane->max_pieces + VDB__IOV_EXTRA; /* COPY's source */

	if (pieces) {
		lane->pieces = pieces->next;
		return pieces;
	}
	pieces = malloc(sizeof(*pieces) + sizeof(pieces->iov[0]) +
	                n * (sizeof(pieces->iov[0]) + sizeof(pieces->region[0])));
	if (pieces)
		pieces->region = (struct vdb__region **)(void *)&pieces->iov[1 + n];
	return pieces;
}

void vdb__lane_put_pieces(struct vdb_lane *lane, struct vdb__pieces *pieces)
{
	pieces->next = lane->pieces;
	lane->pieces = pieces;
}
