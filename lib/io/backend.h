/* SPDX-License-Identifier: Apache-2.0 */
/* A backend as lanes see it: the embedder's table and a count of who holds it. */
#ifndef VDB_IO_BACKEND_H
#define VDB_IO_BACKEND_H

#include <vdb/backend.h>

#include "base/atomic.h"

struct vdb_backend {
	struct vdb_backend_ops ops;
	struct vdb_backend_info info;
	void *ctx;
	uint32_t refs;
	/* With ops.wants: one lane at a time. */
	uint32_t taken;        /* by it; any thread */
	struct vdb_lane *lane; /* while its queue is served; its loop's thread */
};

/* May change at any time: vdb_backend_resize(). */
static inline uint64_t vdb__backend_capacity(const struct vdb_backend *backend)
{
	return vdb__load(&backend->info.capacity);
}

/* One more reference, dropped by vdb_backend_destroy(). Any thread. */
void vdb__backend_ref(struct vdb_backend *backend);

#endif
