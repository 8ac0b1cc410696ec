/* SPDX-License-Identifier: Apache-2.0 */
/* An address space and its changes. Locks and the life of a region: mem.h. */
#include "mem/mem.h"

#include <stdlib.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"

#define LL(x) ((unsigned long long)(x))

VDB_EXPORT int vdb_mem_create(struct vdb_mem **out)
{
	struct vdb_mem *mem = calloc(1, sizeof(*mem));
	int err;

	if (!mem)
		return vdb__fail(ENOMEM, "memory: no memory for its description");
	err = vdb__map_empty(&mem->current);
	if (err) {
		free(mem);
		return err;
	}
	/* Default attributes: cannot fail. */
	pthread_mutex_init(&mem->control, NULL);
	pthread_mutex_init(&mem->lock, NULL);
	pthread_cond_init(&mem->called, NULL);
	mem->version = mem->current->version;
	mem->tracking = vdb__dirty_begin();
	vdb__list_init(&mem->dead);
	vdb__list_init(&mem->finishing);
	*out = mem;
	return 0;
}

struct vdb__map *vdb__mem_map(struct vdb_mem *mem)
{
	struct vdb__map *map;

	pthread_mutex_lock(&mem->lock);
	map = mem->current;
	vdb__ref_get(&map->refs);
	pthread_mutex_unlock(&mem->lock);
	return map;
}

VDB_EXPORT int vdb_mem_reap(struct vdb_mem *mem)
{
	struct vdb__list dead, *l;
	uint32_t leaving;

	vdb__list_init(&dead);
	pthread_mutex_lock(&mem->lock);
	vdb__list_splice(&dead, &mem->dead);
	leaving = mem->leaving;
	pthread_mutex_unlock(&mem->lock);
	while ((l = vdb__list_pop(&dead)))
		vdb__region_free(vdb__container(l, struct vdb__region, link));
	return (int)leaving;
}

/* ---- Users ---- */

/* Calls every user without holding the lock: the one that is being called cannot leave
 * meanwhile, so its `next` is good afterwards. Stops when `call` fails. */
static int for_users(struct vdb_mem *mem, int (*call)(struct vdb__mem_user *, const struct vdb__region *),
                     const struct vdb__region *region)
{
	struct vdb__mem_user *user, *next;
	int err = 0;

	pthread_mutex_lock(&mem->lock);
	for (user = mem->users; user && !err; user = next) {
		user->calls++;
		pthread_mutex_unlock(&mem->lock);
		err = call(user, region);
		pthread_mutex_lock(&mem->lock);
		user->calls--;
		next = user->next;
		pthread_cond_broadcast(&mem->called);
	}
	pthread_mutex_unlock(&mem->lock);
	return err;
}

static int tell_added(struct vdb__mem_user *user, const struct vdb__region *region)
{
	int err = user->added ? user->added(user, region) : 0;

	user->told = !err;
	return err;
}

/* A failed add: only those that have it already hear that it is gone. */
static int tell_undone(struct vdb__mem_user *user, const struct vdb__region *region)
{
	if (user->told && user->removed)
		user->removed(user, region);
	user->told = false;
	return 0;
}

static int tell_removed(struct vdb__mem_user *user, const struct vdb__region *region)
{
	if (user->removed)
		user->removed(user, region);
	return 0;
}

static int tell_changed(struct vdb__mem_user *user, const struct vdb__region *region)
{
	(void)region;
	user->told = false;
	if (user->changed)
		user->changed(user);
	return 0;
}

/* The map stays as it is meanwhile: control is held. */
static int introduce(struct vdb_mem *mem, struct vdb__mem_user *user)
{
	const struct vdb__map *map = mem->current;
	int err = 0;
	uint32_t i;

	for (i = 0; i < map->count && !err && user->added; i++)
		err = user->added(user, map->entries[i].region);
	if (!err)
		return 0;
	for (i--; i > 0 && user->removed; i--)
		user->removed(user, map->entries[i - 1].region);
	return err;
}

/* Behind the others: a round of calls that is under way reaches it, too. */
static void link_user(struct vdb_mem *mem, struct vdb__mem_user *user)
{
	struct vdb__mem_user **at;

	pthread_mutex_lock(&mem->lock);
	for (at = &mem->users; *at; at = &(*at)->next)
		;
	*at = user;
	pthread_mutex_unlock(&mem->lock);
}

int vdb__mem_join(struct vdb_mem *mem, struct vdb__mem_user *user)
{
	int err = 0;

	user->next = NULL;
	user->calls = 0;
	user->told = false;
	/* Who does not care for regions need not wait for a change in progress. */
	if (!user->added && !user->removed) {
		link_user(mem, user);
		return 0;
	}
	pthread_mutex_lock(&mem->control);
	err = introduce(mem, user);
	if (!err)
		link_user(mem, user);
	pthread_mutex_unlock(&mem->control);
	return err;
}

void vdb__mem_leave(struct vdb_mem *mem, struct vdb__mem_user *user)
{
	struct vdb__mem_user **at;

	pthread_mutex_lock(&mem->lock);
	while (user->calls)
		pthread_cond_wait(&mem->called, &mem->lock);
	for (at = &mem->users; *at; at = &(*at)->next) {
		if (*at == user) {
			*at = user->next;
			break;
		}
	}
	pthread_mutex_unlock(&mem->lock);
}

/* ---- Changes ---- */

/* Makes the map current and tells the users. The caller drops the old one, outside of
 * control: that may be a region's end. */
static struct vdb__map *publish(struct vdb_mem *mem, struct vdb__map *map)
{
	struct vdb__map *old;

	pthread_mutex_lock(&mem->lock);
	old = mem->current;
	mem->current = map;
	/* Pairs with the acquire in vdb__view_refresh(). */
	vdb__store_release(&mem->version, map->version);
	pthread_mutex_unlock(&mem->lock);
	(void)for_users(mem, tell_changed, NULL);
	return old;
}

static int check_free(const struct vdb_mem *mem, const struct vdb_region_config *config)
{
	const struct vdb__map *map = mem->current;
	const struct vdb__map_entry *other;

	if (!vdb__map_overlaps(map, config->gpa, config->len))
		return 0;
	other = &map->entries[vdb__map_find(map, config->gpa)];
	return vdb__fail(EEXIST, "region [%#llx, +%#llx) overlaps [%#llx, +%#llx); move one of them",
	                 LL(config->gpa), LL(config->len), LL(other->gpa), LL(other->len));
}

/* With control held. */
static int add(struct vdb_mem *mem, const struct vdb_region_config *config, struct vdb__map **old)
{
	struct vdb__region *region = NULL;
	struct vdb__map *map = NULL;
	int err = check_free(mem, config);

	if (err)
		return err;
	err = vdb__region_create(mem, config, &region);
	if (err)
		return err;
	err = vdb__map_with(mem->current, region, &map);
	if (!err) {
		err = for_users(mem, tell_added, region);
		if (err)
			(void)for_users(mem, tell_undone, region);
	}
	if (err) {
		/* The map's reference goes before ours: nothing ever left, so nothing may finish. */
		vdb__map_put(map);
		vdb__region_free(region);
		return err;
	}
	vdb__region_put(region);
	*old = publish(mem, map);
	return 0;
}

VDB_EXPORT int vdb_mem_add(struct vdb_mem *mem, const struct vdb_region_config *config)
{
	struct vdb_region_config own;
	struct vdb__map *old = NULL;
	int err = vdb__config_take(&own, sizeof(own), config, "vdb_region_config");

	if (!err)
		err = vdb__region_check(&own);
	if (err)
		return err;
	(void)vdb_mem_reap(mem);
	pthread_mutex_lock(&mem->control);
	err = add(mem, &own, &old);
	pthread_mutex_unlock(&mem->control);
	vdb__map_put(old);
	return err;
}

/* With control held. */
static int take_out(struct vdb_mem *mem, vdb_gpa_t gpa, vdb_done_fn done, void *arg, struct vdb__map **old)
{
	const struct vdb__map_entry *entry = vdb__map_at(mem->current, gpa);
	struct vdb__map *map = NULL;
	int err;

	if (!entry || entry->gpa != gpa)
		return vdb__fail(ENOENT, "no region starts at %#llx", LL(gpa));
	err = vdb__map_without(mem->current, entry->region, &map);
	if (err)
		return err;
	(void)for_users(mem, tell_removed, entry->region);
	entry->region->done = done;
	entry->region->done_arg = arg;
	pthread_mutex_lock(&mem->lock);
	mem->leaving++;
	pthread_mutex_unlock(&mem->lock);
	*old = publish(mem, map);
	return 0;
}

VDB_EXPORT int vdb_mem_remove(struct vdb_mem *mem, vdb_gpa_t gpa, vdb_done_fn done, void *arg)
{
	struct vdb__map *old = NULL;
	int err;

	(void)vdb_mem_reap(mem);
	pthread_mutex_lock(&mem->control);
	err = take_out(mem, gpa, done, arg, &old);
	pthread_mutex_unlock(&mem->control);
	/* Without views and requests this is the last use: `done` comes here. */
	vdb__map_put(old);
	return err;
}

/* -EBUSY with what it is that uses the memory. Locked. */
static int check_idle(const struct vdb_mem *mem)
{
	const struct vdb__map *map = mem->current;

	if (mem->users)
		return vdb__fail(
		        EBUSY,
		        "memory: a VM, a lane or a device served elsewhere uses it; destroy that first, "
		        "and wait for its done()");
	if (mem->views)
		return vdb__fail(EBUSY, "memory: %u queues use it; destroy them first", mem->views);
	if (mem->leaving)
		return vdb__fail(EBUSY, "memory: %u removed regions are still in use by requests or pins",
		                 mem->leaving);
	for (uint32_t i = 0; i < map->count; i++) {
		if (vdb__load_acquire(&map->entries[i].region->refs) != 1)
			return vdb__fail(EBUSY, "memory: a request or a pin uses the region at %#llx",
			                 LL(map->entries[i].gpa));
	}
	return 0;
}

/* From here on the regions leave as removed ones do. Locked. */
static int begin_destroy(struct vdb_mem *mem)
{
	int err = check_idle(mem);

	if (err)
		return err;
	if (vdb__mem_finishing_here(mem))
		return vdb__fail(EBUSY, "memory: cannot be destroyed from a removal's own done()");
	while (!vdb__list_empty(&mem->finishing))
		pthread_cond_wait(&mem->called, &mem->lock);
	mem->leaving = mem->current->count;
	return 0;
}

VDB_EXPORT int vdb_mem_destroy(struct vdb_mem *mem)
{
	int err;

	if (!mem)
		return 0;
	pthread_mutex_lock(&mem->lock);
	err = begin_destroy(mem);
	pthread_mutex_unlock(&mem->lock);
	if (err)
		return err;
	vdb__map_put(mem->current);
	(void)vdb_mem_reap(mem);
	pthread_cond_destroy(&mem->called);
	pthread_mutex_destroy(&mem->lock);
	pthread_mutex_destroy(&mem->control);
	free(mem);
	return 0;
}

/* ---- Questions ---- */

VDB_EXPORT int vdb_mem_fd(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t *offset)
{
	struct vdb__map *map = vdb__mem_map(mem);
	const struct vdb__map_entry *entry = vdb__map_at(map, gpa);
	int fd;

	if (!entry)
		fd = vdb__fail(ENOENT, "no region contains %#llx", LL(gpa));
	else if (entry->region->fd < 0)
		fd = vdb__fail(EBADF, "the region at %#llx has no file; use VDB_MEM_MEMFD", LL(entry->gpa));
	else
		fd = entry->region->fd;
	if (fd >= 0 && offset)
		*offset = entry->region->fd_offset + (gpa - entry->gpa);
	vdb__map_put(map);
	return fd;
}

bool vdb__mem_overlaps(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t len)
{
	struct vdb__map *map = vdb__mem_map(mem);
	bool overlaps = vdb__map_overlaps(map, gpa, len);

	vdb__map_put(map);
	return overlaps;
}
