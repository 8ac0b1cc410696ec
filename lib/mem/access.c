/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory for the embedder, on any thread: each call takes up the current map. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/export.h"
#include "mem/mem.h"

struct vdb_mem_pin {
	struct vdb__region **hold; /* behind iov */
	uint32_t n;
	bool writable;
	struct iovec iov[]; /* ours: the caller may change his */
};

static int fault(vdb_gpa_t gpa, uint64_t len, enum vdb__access access)
{
	return vdb__fail(EFAULT, "guest memory [%#llx, +%#llx): not all of it is memory%s",
	                 (unsigned long long)gpa, (unsigned long long)len,
	                 access == VDB__WRITE ? " that may be written" : "");
}

/* The entry that starts the walk over [gpa, gpa+len), all of which may be accessed; NULL if not. */
static const struct vdb__map_entry *walk(const struct vdb__map *map, vdb_gpa_t gpa, uint64_t len,
                                         enum vdb__access access)
{
	const struct vdb__map_entry *first = vdb__map_at(map, gpa), *entry = first;
	const struct vdb__map_entry *end = map->entries + map->count;
	uint64_t part;

	for (; len; gpa += part, len -= part, entry++) {
		if (!entry || entry == end || gpa - entry->gpa >= entry->len ||
		    (access == VDB__WRITE && entry->readonly))
			return NULL;
		part = vdb__entry_room(entry, gpa);
		if (part > len)
			part = len;
	}
	return first;
}

/* One copy, all or nothing: a read uses `to`, a write uses `from`. */
static int copy(struct vdb_mem *mem, vdb_gpa_t gpa, enum vdb__access access, unsigned char *to,
                const unsigned char *from, uint64_t len)
{
	struct vdb__map *map = vdb__mem_map(mem);
	const struct vdb__map_entry *entry = walk(map, gpa, len, access);
	uint64_t part;
	int err = entry ? 0 : fault(gpa, len, access);

	for (; !err && len; gpa += part, len -= part, entry++) {
		part = vdb__entry_room(entry, gpa);
		if (part > len)
			part = len;
		if (access == VDB__WRITE) {
			memcpy(vdb__entry_host(entry, gpa), from, part);
			if (vdb__dirty_wanted(mem))
				vdb__dirty_mark(entry->region, vdb__entry_host(entry, gpa), part);
			from += part;
		} else {
			memcpy(to, vdb__entry_host(entry, gpa), part);
			to += part;
		}
	}
	vdb__map_put(map);
	return err;
}

VDB_EXPORT int vdb_mem_read(struct vdb_mem *mem, vdb_gpa_t gpa, void *to, uint64_t len)
{
	return len ? copy(mem, gpa, VDB__READ, to, NULL, len) : 0;
}

VDB_EXPORT int vdb_mem_write(struct vdb_mem *mem, vdb_gpa_t gpa, const void *from, uint64_t len)
{
	return len ? copy(mem, gpa, VDB__WRITE, NULL, from, len) : 0;
}

/* A word's entry. Aligned, so it never straddles a region: those are made of pages. */
static int word_at(const struct vdb__map *map, vdb_gpa_t gpa, uint64_t size, enum vdb__access access,
                   const struct vdb__map_entry **entry)
{
	if (gpa % size)
		return vdb__fail(EINVAL, "guest word at %#llx: must be %u-byte aligned",
		                 (unsigned long long)gpa, (unsigned)size);
	*entry = walk(map, gpa, size, access);
	return *entry ? 0 : fault(gpa, size, access);
}

/* The four differ in the type of the one access, which has to be that type's. */
#define LOAD(bits)                                                                                         \
	VDB_EXPORT int vdb_mem_load##bits(struct vdb_mem *mem, vdb_gpa_t gpa, uint##bits##_t *value)       \
	{                                                                                                  \
		struct vdb__map *map = vdb__mem_map(mem);                                                  \
		const struct vdb__map_entry *entry;                                                        \
		int err = word_at(map, gpa, sizeof(*value), VDB__READ, &entry);                            \
                                                                                                           \
		if (!err)                                                                                  \
			*value = vdb__load_acquire((uint##bits##_t *)(void *)vdb__entry_host(entry, gpa)); \
		vdb__map_put(map);                                                                         \
		return err;                                                                                \
	}

#define STORE(bits)                                                                                  \
	VDB_EXPORT int vdb_mem_store##bits(struct vdb_mem *mem, vdb_gpa_t gpa, uint##bits##_t value) \
	{                                                                                            \
		struct vdb__map *map = vdb__mem_map(mem);                                            \
		const struct vdb__map_entry *entry;                                                  \
		int err = word_at(map, gpa, sizeof(value), VDB__WRITE, &entry);                      \
                                                                                                     \
		if (!err) {                                                                          \
			void *host = vdb__entry_host(entry, gpa);                                    \
                                                                                                     \
			vdb__store_release((uint##bits##_t *)host, value);                           \
			if (vdb__dirty_wanted(mem))                                                  \
				vdb__dirty_mark(entry->region, host, sizeof(value));                 \
		}                                                                                    \
		vdb__map_put(map);                                                                   \
		return err;                                                                          \
	}

LOAD(32)
LOAD(64)
STORE(32)
STORE(64)

static struct vdb_mem_pin *new_pin(uint32_t n, int writable)
{
	struct vdb_mem_pin *pin =
	        malloc(sizeof(*pin) + n * (sizeof(pin->iov[0]) + sizeof(struct vdb__region *)));

	if (!pin)
		return NULL;
	pin->hold = (struct vdb__region **)(void *)&pin->iov[n];
	pin->n = 0;
	pin->writable = writable;
	return pin;
}

VDB_EXPORT int vdb_mem_pin(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t len, int writable, struct iovec *iov,
                           unsigned max, struct vdb_mem_pin **out)
{
	enum vdb__access access = writable ? VDB__WRITE : VDB__READ;
	struct vdb_mem_pin *pin;
	struct vdb__view view;
	uint32_t most;
	int err = vdb__view_init(&view, mem);

	if (err)
		return err;
	most = max < view.map->count ? max : view.map->count;
	pin = new_pin(most, writable);
	if (!pin)
		err = vdb__fail(ENOMEM, "pin of guest memory: no memory");
	else
		err = vdb__view_iov(&view, gpa, len, access, pin->iov, pin->hold, &pin->n, most);
	if (!err)
		vdb__region_hold(pin->hold, pin->n);
	vdb__view_drop(&view);
	if (err) {
		free(pin);
		if (err == -EFAULT)
			return fault(gpa, len, access);
		if (err == -E2BIG)
			return vdb__fail(E2BIG, "pin of [%#llx, +%#llx): needs more than %u iovecs",
			                 (unsigned long long)gpa, (unsigned long long)len, max);
		return err;
	}
	if (pin->n)
		memcpy(iov, pin->iov, pin->n * sizeof(*iov));
	*out = pin;
	return (int)pin->n;
}

VDB_EXPORT void vdb_mem_unpin(struct vdb_mem_pin *pin)
{
	if (!pin)
		return;
	if (pin->writable)
		vdb__region_mark(pin->hold, pin->iov, pin->n, UINT64_MAX);
	vdb__region_release(pin->hold, pin->n);
	free(pin);
}
