/* SPDX-License-Identifier: Apache-2.0 */
/* What a loop is told of a lane beforehand, so that it need not find out with each request. */
#include "io/lane.h"

static void set_file(struct vdb_lane *lane, uint32_t file)
{
	lane->file = file;
	for (uint32_t i = 0; i < lane->nrequests; i++)
		lane->requests[i].pub.file = file;
}

void vdb__lane_introduce(struct vdb_lane *lane)
{
	const struct vdb_backend *backend = lane->backend;
	int fd = backend->ops.file ? backend->ops.file(backend->ctx) : -1;

	if (fd >= 0)
		set_file(lane, vdb_io_file_add(lane->loop, fd));
}

/* Before the backend, which may close it. */
void vdb__lane_withdraw(struct vdb_lane *lane)
{
	vdb_io_file_remove(lane->loop, lane->file);
	set_file(lane, 0);
}
