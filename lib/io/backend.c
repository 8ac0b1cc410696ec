/* SPDX-License-Identifier: Apache-2.0 */
#include "io/backend.h"

#include <stdlib.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"
#include "base/export.h"

#define DEFAULT_BLOCK 512u
#define MAX_BLOCK (1u << 20)

/* What a backend may say it serves: READ..WRITE_ZEROES and the USER range. */
#define SERVABLE_OPS                                                                          \
	(1u << VDB_OP_READ | 1u << VDB_OP_WRITE | 1u << VDB_OP_FLUSH | 1u << VDB_OP_DISCARD | \
	 1u << VDB_OP_WRITE_ZEROES | 1u << 31)

static int check_info(const struct vdb_backend_info *info, const char *name)
{
	if (info->flags & ~(VDB_BACKEND_READONLY | VDB_BACKEND_FIXED))
		return vdb__fail(EINVAL, "backend %s: unknown flags %#x; see VDB_BACKEND_*", name,
		                 info->flags);
	if (info->ops & ~SERVABLE_OPS)
		return vdb__fail(EINVAL, "backend %s: ops %#x; a backend serves bits 1..5 and 31", name,
		                 info->ops);
	if (info->block_size & (info->block_size - 1) || info->block_size > MAX_BLOCK)
		return vdb__fail(EINVAL, "backend %s: block size %u; give a power of two up to 1 MiB", name,
		                 info->block_size);
	if (info->capacity % info->block_size)
		return vdb__fail(EINVAL, "backend %s: capacity %llu is not a multiple of the block size %u",
		                 name, (unsigned long long)info->capacity, info->block_size);
	return 0;
}

static int fill(struct vdb_backend *backend, const struct vdb_backend_ops *ops,
                const struct vdb_backend_info *info)
{
	int rc = vdb__config_take(&backend->ops, sizeof(backend->ops), ops, "backend ops");

	if (!rc)
		rc = vdb__config_take(&backend->info, sizeof(backend->info), info, "backend info");
	if (rc)
		return rc;
	if (!backend->ops.start)
		return vdb__fail(EINVAL, "backend ops: no start(); nothing could be served");
	if (!backend->ops.name)
		backend->ops.name = "backend";
	if (!backend->info.block_size)
		backend->info.block_size = DEFAULT_BLOCK;
	return check_info(&backend->info, backend->ops.name);
}

VDB_EXPORT int vdb_backend_create(const struct vdb_backend_ops *ops, void *ctx,
                                  const struct vdb_backend_info *info, struct vdb_backend **out)
{
	struct vdb_backend *backend;
	int rc;

	if (!ops || !info)
		return vdb__fail(EINVAL, "backend: ops and info must be given");
	backend = calloc(1, sizeof(*backend));
	if (!backend)
		return vdb__fail(ENOMEM, "backend: no memory");
	rc = fill(backend, ops, info);
	if (rc) {
		free(backend);
		return rc;
	}
	backend->ctx = ctx;
	backend->refs = 1;
	*out = backend;
	return 0;
}

void vdb__backend_ref(struct vdb_backend *backend)
{
	vdb__ref_get(&backend->refs);
}

VDB_EXPORT void vdb_backend_destroy(struct vdb_backend *backend)
{
	if (!backend || !vdb__ref_put(&backend->refs))
		return;
	if (backend->ops.destroy)
		backend->ops.destroy(backend->ctx);
	free(backend);
}

VDB_EXPORT int vdb_backend_query(const struct vdb_backend *backend, struct vdb_backend_info *info)
{
	/* Member by member: a copy of the whole would race with a resize. */
	struct vdb_backend_info copy = {
	        .flags = backend->info.flags,
	        .capacity = vdb__backend_capacity(backend),
	        .block_size = backend->info.block_size,
	        .ops = backend->info.ops,
	};

	return vdb__stats_give(info, &copy, sizeof(copy), "backend info");
}

VDB_EXPORT int vdb_backend_resize(struct vdb_backend *backend, uint64_t capacity)
{
	if (capacity % backend->info.block_size)
		return vdb__fail(EINVAL, "backend %s: capacity %llu is not a multiple of the block size %u",
		                 backend->ops.name, (unsigned long long)capacity, backend->info.block_size);
	/* One word, and no other depends on it: lanes check each request against what they find. */
	vdb__store(&backend->info.capacity, capacity);
	return 0;
}
