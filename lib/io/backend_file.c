/* SPDX-License-Identifier: Apache-2.0 */
/* An image file or block device, by the loop's host I/O. */
#include <stdlib.h>
#include <unistd.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "io/backend.h"
#include "io/file.h"

static bool refuses(const struct vdb__file *file, const struct vdb_req *req)
{
	for (uint32_t i = 0; i < req->niov; i++) {
		if ((uintptr_t)req->iov[i].iov_base & (file->mem_align - 1) ||
		    req->iov[i].iov_len & (file->io_align - 1))
			return true;
	}
	return false;
}

static int file_start(void *ctx, struct vdb_req *req)
{
	struct vdb__file *file = ctx;

	switch (req->op) {
	case VDB_OP_READ:
	case VDB_OP_WRITE:
		if (file->flags & VDB_FILE_DIRECT && refuses(file, req))
			return vdb__file_bounce(file, req);
		return vdb__file_rw(file, req);
	case VDB_OP_FLUSH:
		return vdb__file_flush(file, req);
	case VDB_OP_DISCARD:
		return vdb__file_discard(file, req);
	case VDB_OP_WRITE_ZEROES:
		return vdb__file_zero(file, req);
	default:
		return -EOPNOTSUPP;
	}
}

static int file_fd(void *ctx)
{
	return ((const struct vdb__file *)ctx)->fd;
}

static void file_destroy(void *ctx)
{
	struct vdb__file *file = ctx;

	vdb__file_unlock(file);
	if (file->fd >= 0)
		close(file->fd);
	pthread_mutex_destroy(&file->sync.lock);
	free(file);
}

int vdb__file_stuck(uint8_t op)
{
	return op == VDB_OP_READ ? -EIO : -ENOSPC;
}

static int check_config(const struct vdb_file_config *config)
{
	if (config->flags & ~(VDB_FILE_READONLY | VDB_FILE_DIRECT | VDB_FILE_LOCK))
		return vdb__fail(EINVAL, "file backend: unknown flags %#x; see VDB_FILE_*", config->flags);
	if (!config->path && config->fd <= 0)
		return vdb__fail(EINVAL, "file backend: neither a path nor an fd");
	if (config->path && config->fd > 0)
		return vdb__fail(EINVAL, "image %s: and fd %d; give one of the two", config->path,
		                 config->fd);
	return 0;
}

static int make_backend(struct vdb__file *file, struct vdb_backend **out)
{
	static const struct vdb_backend_ops ops = {
	        .size = sizeof(ops),
	        .name = "file",
	        .start = file_start,
	        .destroy = file_destroy,
	        .file = file_fd,
	};
	struct vdb_backend_info info = {
	        .size = sizeof(info),
	        .flags = file->flags & VDB_FILE_READONLY ? VDB_BACKEND_READONLY : 0,
	        .capacity = file->capacity,
	        .block_size = file->block_size,
	        .ops = 1u << VDB_OP_READ | 1u << VDB_OP_WRITE | 1u << VDB_OP_FLUSH | 1u << VDB_OP_DISCARD |
	               1u << VDB_OP_WRITE_ZEROES,
	};

	return vdb_backend_create(&ops, file, &info, out);
}

VDB_EXPORT int vdb_backend_file(const struct vdb_file_config *config, struct vdb_backend **out)
{
	struct vdb_file_config own;
	struct vdb__file *file;
	int rc = vdb__config_take(&own, sizeof(own), config, "file config");

	if (!rc)
		rc = check_config(&own);
	if (rc)
		return rc;
	file = calloc(1, sizeof(*file));
	if (!file)
		return vdb__fail(ENOMEM, "file backend: no memory");
	file->fd = -1;
	file->flags = own.flags;
	file->no_nowait = (own.flags & VDB_FILE_DIRECT) != 0;
	pthread_mutex_init(&file->sync.lock, NULL);
	rc = vdb__file_open(file, &own);
	if (!rc)
		rc = make_backend(file, out);
	if (rc)
		file_destroy(file);
	return rc;
}

VDB_EXPORT int64_t vdb_backend_file_resize(struct vdb_backend *backend)
{
	const struct vdb__file *file = backend->ctx;
	uint64_t size = 0;
	int rc;

	if (backend->ops.start != file_start)
		return vdb__fail(EINVAL, "backend %s is not a file's; use vdb_backend_resize()",
		                 backend->ops.name);
	rc = vdb__file_size(file, &size);
	if (!rc)
		rc = vdb__file_check_size(file, size, "file");
	if (!rc)
		rc = vdb_backend_resize(backend, size);
	return rc ? rc : (int64_t)size;
}
