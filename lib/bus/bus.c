/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges in a sorted array under a mutex that is held for a look-up only: a
 * handler may take long, wait at a gate, or change the bus. A call in progress
 * is on its range's list, which is what removal waits for.
 */
#include "bus/bus.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "base/list.h"
#include "base/thread.h"

struct range {
	uint64_t base, last; /* last is inclusive: a range may end at the top */
	struct vdb_bus_ops ops;
	void *ctx;
	struct vdb__list calls; /* handlers in progress */
	char name[];
};

/* A handler in progress, on the stack of the thread that runs it. */
struct call {
	struct vdb__list link;
	pthread_t thread;
};

struct vdb_bus {
	pthread_mutex_t lock;
	pthread_cond_t left; /* a range has no call any more */
	struct range **ranges;
	size_t count, room;
	vdb__bus_guard_fn guard; /* NULL: none */
	void *guard_arg;
};

VDB_EXPORT int vdb_bus_create(struct vdb_bus **out)
{
	struct vdb_bus *bus = calloc(1, sizeof(*bus));

	if (!bus)
		return vdb__fail(ENOMEM, "bus: no memory");
	/* Default attributes: cannot fail. */
	pthread_mutex_init(&bus->lock, NULL);
	pthread_cond_init(&bus->left, NULL);
	*out = bus;
	return 0;
}

VDB_EXPORT void vdb_bus_destroy(struct vdb_bus *bus)
{
	if (!bus)
		return;
	for (size_t i = 0; i < bus->count; i++)
		free(bus->ranges[i]);
	free(bus->ranges);
	pthread_cond_destroy(&bus->left);
	pthread_mutex_destroy(&bus->lock);
	free(bus);
}

/* Index of the first range that ends at or after addr; count if there is none. */
static size_t find(const struct vdb_bus *bus, uint64_t addr)
{
	size_t low = 0, high = bus->count, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (bus->ranges[mid]->last < addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Puts the range in its place: -EEXIST if it overlaps. */
static int insert(struct vdb_bus *bus, struct range *range)
{
	size_t at = find(bus, range->base), room = bus->room ? bus->room * 2 : 8;
	struct range **ranges, *other;
	int err;

	if (at < bus->count && bus->ranges[at]->base <= range->last) {
		other = bus->ranges[at];
		return vdb__fail(
		        EEXIST,
		        "bus range '%s' [%#llx, %#llx] overlaps '%s' [%#llx, %#llx]; move one of them",
		        range->name, (unsigned long long)range->base, (unsigned long long)range->last,
		        other->name, (unsigned long long)other->base, (unsigned long long)other->last);
	}
	err = bus->guard ? bus->guard(bus->guard_arg, range->name, range->base, range->last - range->base + 1)
	                 : 0;
	if (err)
		return err;
	if (bus->count == bus->room) {
		ranges = realloc(bus->ranges, room * sizeof(*ranges));
		if (!ranges)
			return vdb__fail(ENOMEM, "bus range '%s': no memory", range->name);
		bus->ranges = ranges;
		bus->room = room;
	}
	memmove(&bus->ranges[at + 1], &bus->ranges[at], (bus->count - at) * sizeof(struct range *));
	bus->ranges[at] = range;
	bus->count++;
	return 0;
}

VDB_EXPORT int vdb_bus_add(struct vdb_bus *bus, const char *name, uint64_t base, uint64_t len,
                           const struct vdb_bus_ops *ops, void *ctx)
{
	struct vdb_bus_ops own;
	struct range *range;
	size_t name_size;
	int err = vdb__config_take(&own, sizeof(own), ops, "vdb_bus_ops");

	if (err)
		return err;
	if (!name)
		name = "unnamed";
	if (!len || base + (len - 1) < base)
		return vdb__fail(EINVAL, "bus range '%s' at %#llx: length %#llx is 0 or goes beyond the top",
		                 name, (unsigned long long)base, (unsigned long long)len);
	name_size = strlen(name) + 1;
	range = calloc(1, sizeof(*range) + name_size);
	if (!range)
		return vdb__fail(ENOMEM, "bus range '%s': no memory", name);
	range->base = base;
	range->last = base + (len - 1);
	range->ops = own;
	range->ctx = ctx;
	vdb__list_init(&range->calls);
	memcpy(range->name, name, name_size);
	pthread_mutex_lock(&bus->lock);
	err = insert(bus, range);
	pthread_mutex_unlock(&bus->lock);
	if (err)
		free(range);
	return err;
}

static bool runs_here(const struct range *range)
{
	const struct vdb__list *l;

	for (l = range->calls.next; l != &range->calls; l = l->next) {
		if (pthread_equal(vdb__container(l, struct call, link)->thread, pthread_self()))
			return true;
	}
	return false;
}

/* Takes the range out, then waits for its handlers. Locked. */
static int take_out(struct vdb_bus *bus, uint64_t base, struct range **out)
{
	size_t at = find(bus, base);
	struct range *range;

	if (at == bus->count || bus->ranges[at]->base != base)
		return vdb__fail(ENOENT, "bus: no range starts at %#llx", (unsigned long long)base);
	range = bus->ranges[at];
	if (runs_here(range))
		return vdb__fail(EDEADLK, "bus range '%s': its own handler cannot remove it", range->name);
	bus->count--;
	memmove(&bus->ranges[at], &bus->ranges[at + 1], (bus->count - at) * sizeof(struct range *));
	while (!vdb__list_empty(&range->calls))
		pthread_cond_wait(&bus->left, &bus->lock);
	*out = range;
	return 0;
}

VDB_EXPORT int vdb_bus_remove(struct vdb_bus *bus, uint64_t base)
{
	struct range *range = NULL;
	int err;

	if (vdb__on_loop_thread())
		return vdb__fail(EDEADLK,
		                 "bus: a loop's thread must not wait for handlers; remove on a worker");
	pthread_mutex_lock(&bus->lock);
	err = take_out(bus, base, &range);
	pthread_mutex_unlock(&bus->lock);
	free(range);
	return err;
}

/* The range that has all of the access, with the call entered into its list. */
static struct range *enter(struct vdb_bus *bus, uint64_t addr, uint32_t len, struct call *call)
{
	struct range *range = NULL;
	size_t at;

	if (len != 1 && len != 2 && len != 4 && len != 8)
		return NULL;
	pthread_mutex_lock(&bus->lock);
	at = find(bus, addr);
	if (at < bus->count && bus->ranges[at]->base <= addr && len - 1 <= bus->ranges[at]->last - addr) {
		range = bus->ranges[at];
		call->thread = pthread_self();
		vdb__list_append(&range->calls, &call->link);
	}
	pthread_mutex_unlock(&bus->lock);
	return range;
}

static void leave(struct vdb_bus *bus, struct range *range, struct call *call)
{
	pthread_mutex_lock(&bus->lock);
	vdb__list_remove(&call->link);
	if (vdb__list_empty(&range->calls))
		pthread_cond_broadcast(&bus->left);
	pthread_mutex_unlock(&bus->lock);
}

VDB_EXPORT int vdb_bus_read(struct vdb_bus *bus, struct vdb_vcpu *vcpu, uint64_t addr, void *data,
                            uint32_t len)
{
	struct call call;
	struct range *range = enter(bus, addr, len, &call);
	struct vdb_bus_access access = {.len = len, .data = data, .vcpu = vcpu};

	memset(data, range ? 0 : 0xff, len);
	if (!range)
		return 0;
	access.offset = addr - range->base;
	if (range->ops.read)
		range->ops.read(range->ctx, &access);
	leave(bus, range, &call);
	return 1;
}

VDB_EXPORT int vdb_bus_write(struct vdb_bus *bus, struct vdb_vcpu *vcpu, uint64_t addr, const void *data,
                             uint32_t len)
{
	struct call call;
	struct range *range = enter(bus, addr, len, &call);
	uint8_t own[8];
	struct vdb_bus_access access = {.len = len, .data = own, .vcpu = vcpu};

	if (!range)
		return 0;
	memcpy(own, data, len);
	access.offset = addr - range->base;
	if (range->ops.write)
		range->ops.write(range->ctx, &access);
	leave(bus, range, &call);
	return 1;
}

int vdb__bus_clear_of(struct vdb_bus *bus, const char *what, uint64_t addr, uint64_t len)
{
	uint64_t last = len - 1 > UINT64_MAX - addr ? UINT64_MAX : addr + (len - 1);
	const struct range *other;
	int err = 0;
	size_t at;

	pthread_mutex_lock(&bus->lock);
	at = find(bus, addr);
	other = at < bus->count ? bus->ranges[at] : NULL;
	if (other && other->base <= last)
		err = vdb__fail(EEXIST,
		                "%s [%#llx, %#llx] covers bus range '%s' [%#llx, %#llx]; move one of them",
		                what, (unsigned long long)addr, (unsigned long long)last, other->name,
		                (unsigned long long)other->base, (unsigned long long)other->last);
	pthread_mutex_unlock(&bus->lock);
	return err;
}

void vdb__bus_guard(struct vdb_bus *bus, vdb__bus_guard_fn guard, void *arg)
{
	bus->guard = guard;
	bus->guard_arg = arg;
}
