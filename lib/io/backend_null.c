/* SPDX-License-Identifier: Apache-2.0 */
/* The backend that does nothing, at once: what is measured with it is all the rest. */
#include <vdb/backend.h>

#include "base/export.h"

static int null_start(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	(void)req;
	return VDB_REQ_DONE;
}

VDB_EXPORT int vdb_backend_null(uint64_t capacity, struct vdb_backend **out)
{
	static const struct vdb_backend_ops ops = {
	        .size = sizeof(ops),
	        .name = "null",
	        .start = null_start,
	};
	struct vdb_backend_info info = {
	        .size = sizeof(info),
	        .capacity = capacity,
	        .ops = 1u << VDB_OP_READ | 1u << VDB_OP_WRITE | 1u << VDB_OP_FLUSH | 1u << VDB_OP_DISCARD |
	               1u << VDB_OP_WRITE_ZEROES | 1u << 31,
	};

	return vdb_backend_create(&ops, NULL, &info, out);
}
