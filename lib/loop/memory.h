/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that a loop was told of, so that an engine can pin it once instead of with each request
 * (VDB_LOOP_REGISTER_MEMORY). Who tells of a range keeps it mapped until he takes it back: an address that
 * is used again for other memory would still be the old pages to the kernel.
 */
#ifndef VDB_LOOP_MEMORY_H
#define VDB_LOOP_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vdb_loop;

#define VDB__BUFFER_BYTES (UINT64_C(1) << 30) /* the most that io_uring takes as one */
#define VDB__BUFFERS_MAX 4096u
#define VDB__NO_BUFFER UINT32_MAX

struct vdb__buffer {
	unsigned char *base;
	uint64_t len;
	uint32_t refs;
	uint32_t index;            /* in the engine's table; VDB__NO_BUFFER: refused */
	struct vdb_tenant *tenant; /* whose it is: counts for it while it has an index; holds a reference */
};

struct vdb__memory {
	struct vdb__buffer *buffers; /* by base; none is as another */
	uint32_t count, room;
	uint32_t last;   /* of the last hit */
	uint64_t *taken; /* indices, a bit each */
};

/* Worth telling it anything? */
bool vdb__memory_wanted(const struct vdb_loop *loop);

/* What the kernel refuses, or the tenant's cap, is I/O's to go without. tenant NULL: nobody's. False: no
 * memory to remember the range, which then is not to be taken back. */
bool vdb__memory_add(struct vdb_loop *loop, struct vdb_tenant *tenant, void *base, uint64_t len);
void vdb__memory_remove(struct vdb_loop *loop, void *base, uint64_t len);

const struct vdb__buffer *vdb__memory_search(struct vdb__memory *memory, const void *at);

/* The buffer that has all of [at, at+len), NULL: none. */
static inline const struct vdb__buffer *vdb__memory_find(struct vdb__memory *memory, const void *at,
                                                         uint64_t len)
{
	const struct vdb__buffer *buffer;
	uint64_t offset;

	if (!memory->count)
		return NULL;
	buffer = &memory->buffers[memory->last];
	offset = (uint64_t)((uintptr_t)at - (uintptr_t)buffer->base);
	if (offset >= buffer->len) {
		buffer = vdb__memory_search(memory, at);
		offset = (uint64_t)((uintptr_t)at - (uintptr_t)buffer->base);
	}
	if (buffer->index == VDB__NO_BUFFER || offset >= buffer->len || len > buffer->len - offset)
		return NULL;
	return buffer;
}

/* A new engine knows none, until it is told of them. */
void vdb__memory_unknown(struct vdb_loop *loop);
void vdb__memory_renew(struct vdb_loop *loop);

void vdb__memory_fini(struct vdb_loop *loop);

#endif
