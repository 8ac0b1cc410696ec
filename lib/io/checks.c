/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest asked for, held against what the backend is. Pure: a table of refusals. */
#include <errno.h>

#include "io/backend.h"
#include "io/request.h"

static int check_served(uint32_t ops, uint8_t op)
{
	if (op - 1u < VDB_OP_WRITE_ZEROES)
		return ops >> op & 1 ? 0 : -EOPNOTSUPP;
	if (op == VDB_OP_NOP || vdb__is_memop(op))
		return 0;
	return op >= VDB_OP_USER && ops >> 31 ? 0 : -EOPNOTSUPP;
}

static bool addresses_backend(uint8_t op)
{
	return op - 1u < VDB_OP_WRITE_ZEROES && op != VDB_OP_FLUSH;
}

static int check_range(const struct vdb_backend *backend, const struct vdb__elem *elem)
{
	const struct vdb_backend_info *info = &backend->info;
	uint64_t end;

	if ((elem->offset | elem->len) & (info->block_size - 1))
		return -EINVAL;
	if (__builtin_add_overflow(elem->offset, elem->len, &end))
		return -EINVAL;
	return end > vdb__backend_capacity(backend) ? -ERANGE : 0;
}

int vdb__request_check(const struct vdb_backend *backend, const struct vdb__elem *elem)
{
	const struct vdb_backend_info *info = &backend->info;
	int rc = check_served(info->ops, elem->op);

	if (rc || !addresses_backend(elem->op))
		return rc;
	/* A completion says how many bytes were moved, in 31 bits. */
	if ((elem->op == VDB_OP_READ || elem->op == VDB_OP_WRITE) && elem->len > INT32_MAX)
		return -EINVAL;
	rc = check_range(backend, elem);
	if (!rc && elem->op != VDB_OP_READ && info->flags & VDB_BACKEND_READONLY)
		return -EROFS;
	return rc;
}
