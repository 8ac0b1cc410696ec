/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/memory.h"

#include <stdlib.h>
#include <string.h>

#include "loop/state.h"

bool vdb__memory_wanted(const struct vdb_loop *loop)
{
	return loop->config.flags & VDB_LOOP_REGISTER_MEMORY && loop->engine->ops->buffer;
}

/* ---- Which index ---- */

static uint32_t take_index(struct vdb__memory *memory)
{
	for (uint32_t i = 0; i < VDB__BUFFERS_MAX / 64; i++) {
		uint32_t bit = (uint32_t)__builtin_ctzll(~memory->taken[i] ? ~memory->taken[i] : 1);

		if (!~memory->taken[i])
			continue;
		memory->taken[i] |= UINT64_C(1) << bit;
		return i * 64 + bit;
	}
	return VDB__NO_BUFFER;
}

static void give_index(struct vdb__memory *memory, uint32_t index)
{
	memory->taken[index / 64] &= ~(UINT64_C(1) << index % 64);
}

static bool pin(const struct vdb__buffer *buffer)
{
	return !buffer->tenant || vdb__tenant_pin(buffer->tenant, buffer->len);
}

static void unpin(const struct vdb__buffer *buffer)
{
	if (buffer->tenant)
		vdb__tenant_unpin(buffer->tenant, buffer->len);
}

static void enter(struct vdb_loop *loop, struct vdb__buffer *buffer)
{
	struct vdb__memory *memory = &loop->memory;
	uint32_t index;

	buffer->index = VDB__NO_BUFFER;
	if (!pin(buffer))
		return;
	index = take_index(memory);
	if (index != VDB__NO_BUFFER &&
	    loop->engine->ops->buffer(loop->engine, index, buffer->base, buffer->len)) {
		buffer->index = index;
		vdb__store(&loop->stats.memory, loop->stats.memory + buffer->len);
		return;
	}
	if (index != VDB__NO_BUFFER)
		give_index(memory, index);
	unpin(buffer);
	vdb__count(&loop->stats.memory_refused, buffer->len);
}

static void leave(struct vdb_loop *loop, const struct vdb__buffer *buffer)
{
	if (buffer->index == VDB__NO_BUFFER)
		return;
	(void)loop->engine->ops->buffer(loop->engine, buffer->index, NULL, 0);
	give_index(&loop->memory, buffer->index);
	unpin(buffer);
	vdb__store(&loop->stats.memory, loop->stats.memory - buffer->len);
}

/* ---- The list ---- */

/* The first that begins behind `at`. */
static uint32_t behind(const struct vdb__memory *memory, const void *at)
{
	uint32_t low = 0, high = memory->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if ((uintptr_t)memory->buffers[mid].base <= (uintptr_t)at)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Callers' ranges may overlap, if their memory is mapped twice: then one of them is found. */
const struct vdb__buffer *vdb__memory_search(struct vdb__memory *memory, const void *at)
{
	uint32_t i = behind(memory, at);

	if (i)
		memory->last = i - 1;
	return &memory->buffers[memory->last];
}

static struct vdb__buffer *exact(struct vdb__memory *memory, const unsigned char *base, uint64_t len)
{
	for (uint32_t i = behind(memory, base); i && memory->buffers[i - 1].base == base; i--)
		if (memory->buffers[i - 1].len == len)
			return &memory->buffers[i - 1];
	return NULL;
}

static bool make_room(struct vdb__memory *memory)
{
	uint32_t room = memory->room ? memory->room * 2 : 8;
	struct vdb__buffer *more;

	if (!memory->taken)
		memory->taken = calloc(VDB__BUFFERS_MAX / 64, sizeof(*memory->taken));
	if (!memory->taken)
		return false;
	if (memory->count < memory->room)
		return true;
	more = realloc(memory->buffers, room * sizeof(*more));
	if (!more)
		return false;
	memory->buffers = more;
	memory->room = room;
	return true;
}

static bool add_one(struct vdb_loop *loop, struct vdb_tenant *tenant, unsigned char *base, uint64_t len)
{
	struct vdb__memory *memory = &loop->memory;
	struct vdb__buffer *buffer = exact(memory, base, len);

	if (buffer) {
		buffer->refs++;
		return true;
	}
	if (!make_room(memory))
		return false;
	buffer = &memory->buffers[behind(memory, base)];
	memmove(buffer + 1, buffer, (size_t)(memory->buffers + memory->count - buffer) * sizeof(*buffer));
	*buffer = (struct vdb__buffer){.base = base, .len = len, .refs = 1, .tenant = tenant};
	if (tenant)
		vdb__tenant_ref(tenant);
	memory->count++;
	memory->last = 0;
	enter(loop, buffer);
	return true;
}

static void remove_one(struct vdb_loop *loop, const unsigned char *base, uint64_t len)
{
	struct vdb__memory *memory = &loop->memory;
	struct vdb__buffer *buffer = exact(memory, base, len);

	if (!buffer || --buffer->refs)
		return;
	leave(loop, buffer);
	vdb_tenant_destroy(buffer->tenant);
	memory->count--;
	memmove(buffer, buffer + 1, (size_t)(memory->buffers + memory->count - buffer) * sizeof(*buffer));
	memory->last = 0;
}

static uint64_t piece(uint64_t left)
{
	return left < VDB__BUFFER_BYTES ? left : VDB__BUFFER_BYTES;
}

bool vdb__memory_add(struct vdb_loop *loop, struct vdb_tenant *tenant, void *base, uint64_t len)
{
	unsigned char *at = base;

	for (uint64_t done = 0; done < len; done += piece(len - done)) {
		if (add_one(loop, tenant, at + done, piece(len - done)))
			continue;
		vdb__memory_remove(loop, base, done);
		return false;
	}
	return true;
}

/* Whole pieces, but for the last: those that vdb__memory_add() made. */
void vdb__memory_remove(struct vdb_loop *loop, void *base, uint64_t len)
{
	for (uint64_t done = 0; done < len; done += piece(len - done))
		remove_one(loop, (unsigned char *)base + done, piece(len - done));
}

/* ---- Another engine ---- */

void vdb__memory_unknown(struct vdb_loop *loop)
{
	struct vdb__memory *memory = &loop->memory;

	for (uint32_t i = 0; i < memory->count; i++) {
		if (memory->buffers[i].index != VDB__NO_BUFFER)
			unpin(&memory->buffers[i]);
		memory->buffers[i].index = VDB__NO_BUFFER;
	}
	if (memory->taken)
		memset(memory->taken, 0, VDB__BUFFERS_MAX / 8);
	vdb__store(&loop->stats.memory, 0);
}

void vdb__memory_renew(struct vdb_loop *loop)
{
	for (uint32_t i = 0; i < loop->memory.count; i++)
		enter(loop, &loop->memory.buffers[i]);
}

void vdb__memory_fini(struct vdb_loop *loop)
{
	free(loop->memory.buffers);
	free(loop->memory.taken);
}
