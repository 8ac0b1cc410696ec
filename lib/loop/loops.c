/* SPDX-License-Identifier: Apache-2.0 */
/* A group of loops, and who is put on which. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <vdb/loops.h>

#include "base/error.h"
#include "base/export.h"
#include "loop/state.h"

/* Between two looks at what has been served: what is placed in one go goes by one look. */
#define LOOK_NS 10000000u
#define WHOLE 1000u /* all loops' share, of each of the two */

struct place {
	struct vdb_loop *loop;
	int32_t cpu;
	uint32_t placed;
	uint64_t served; /* when last looked at */
	uint64_t recent; /* what came in between, and half of what it was before */
};

struct vdb_loops {
	uint32_t count, policy;
	bool started;
	char name[16];
	pthread_mutex_t lock; /* of all that follows */
	uint32_t next;        /* round robin */
	uint64_t looked;
	struct place places[];
};

/* One that cannot be destroyed here stays, with those before it. */
static int end(struct vdb_loops *loops)
{
	while (loops->count) {
		int err = vdb_loop_destroy(loops->places[loops->count - 1].loop);

		if (err)
			return err;
		loops->count--;
	}
	pthread_mutex_destroy(&loops->lock);
	free(loops);
	return 0;
}

/* ---- Create ---- */

static int take_config(struct vdb_loops_config *own, const struct vdb_loops_config *config)
{
	int err = vdb__config_take(own, sizeof(*own), config, "vdb_loops_config");

	if (err)
		return err;
	if (own->count > VDB_LOOPS_MAX)
		return vdb__fail(EINVAL, "loops: %u of them; at most %u", own->count, VDB_LOOPS_MAX);
	if (own->policy > VDB_PLACE_PINNED)
		return vdb__fail(EINVAL, "loops: policy %u is none of VDB_PLACE_*", own->policy);
	if (own->reserved)
		return vdb__fail(EINVAL, "loops: reserved is %u; it must be 0", own->reserved);
	if (!own->count)
		own->count = 1;
	if (!own->name)
		own->name = "vdb-loop";
	return 0;
}

static int make_loops(struct vdb_loops *loops, const struct vdb_loops_config *config)
{
	int err = 0;

	while (!err && loops->count < config->count) {
		struct place *place = &loops->places[loops->count];

		place->cpu = config->cpus ? config->cpus[loops->count] : -1;
		err = vdb_loop_create(config->loop, &place->loop);
		if (!err)
			loops->count++;
	}
	return err;
}

VDB_EXPORT int vdb_loops_create(const struct vdb_loops_config *config, struct vdb_loops **out)
{
	struct vdb_loops_config own;
	struct vdb_loops *loops;
	int err = take_config(&own, config);

	if (err)
		return err;
	loops = calloc(1, sizeof(*loops) + own.count * sizeof(loops->places[0]));
	if (!loops)
		return vdb__fail(ENOMEM, "loops: no memory for %u", own.count);
	loops->policy = own.policy;
	(void)snprintf(loops->name, sizeof(loops->name), "%s", own.name);
	pthread_mutex_init(&loops->lock, NULL); /* default attributes: cannot fail */
	err = make_loops(loops, &own);
	if (err) {
		(void)end(loops); /* none has run: it cannot fail */
		return err;
	}
	*out = loops;
	return 0;
}

/* ---- Start and end ---- */

/* The first `n`; all of them are told before the first is waited for. */
static int join(struct vdb_loops *loops, uint32_t n)
{
	int err = 0;

	for (uint32_t i = 0; i < n; i++)
		vdb_loop_stop(loops->places[i].loop);
	for (uint32_t i = 0; i < n; i++) {
		int one = vdb_loop_join(loops->places[i].loop);

		err = err ? err : one;
	}
	return err;
}

static int start(struct vdb_loops *loops, uint32_t i)
{
	char name[sizeof(loops->name) + 12];

	(void)snprintf(name, sizeof(name), "%s%u", loops->name, i);
	return vdb_loop_start(loops->places[i].loop, loops->places[i].cpu, name);
}

VDB_EXPORT int vdb_loops_start(struct vdb_loops *loops)
{
	if (loops->started)
		return vdb__fail(EBUSY, "loops: they have been started");
	for (uint32_t i = 0; i < loops->count; i++) {
		int err = start(loops, i);

		if (err) {
			(void)join(loops, i);
			return err;
		}
	}
	loops->started = true;
	return 0;
}

VDB_EXPORT int vdb_loops_join(struct vdb_loops *loops)
{
	if (!loops->started)
		return vdb__fail(EINVAL, "loops: vdb_loops_join() without vdb_loops_start()");
	for (uint32_t i = 0; i < loops->count; i++) {
		if (vdb_loop_here(loops->places[i].loop))
			return vdb__fail(EDEADLK, "loops: vdb_loops_join() on one of their threads");
	}
	loops->started = false;
	return join(loops, loops->count);
}

static bool any_runs(const struct vdb_loops *loops)
{
	for (uint32_t i = 0; i < loops->count; i++) {
		const struct vdb_loop *loop = loops->places[i].loop;

		if (vdb__load(&loop->started) || vdb__load(&loop->running))
			return true;
	}
	return false;
}

VDB_EXPORT int vdb_loops_destroy(struct vdb_loops *loops)
{
	if (!loops)
		return 0;
	if (any_runs(loops))
		return vdb__fail(EBUSY, "loops: one is running; join them first");
	return end(loops);
}

/* ---- Which is which ---- */

VDB_EXPORT uint32_t vdb_loops_count(const struct vdb_loops *loops)
{
	return loops->count;
}

VDB_EXPORT struct vdb_loop *vdb_loops_get(const struct vdb_loops *loops, uint32_t index)
{
	return index < loops->count ? loops->places[index].loop : NULL;
}

VDB_EXPORT int vdb_loops_index(const struct vdb_loops *loops, const struct vdb_loop *loop)
{
	for (uint32_t i = 0; i < loops->count; i++) {
		if (loops->places[i].loop == loop)
			return (int)i;
	}
	return vdb__fail(ENOENT, "loops: that loop is none of the group's");
}

/* ---- Placing (locked) ---- */

static void look(struct vdb_loops *loops)
{
	uint64_t now = vdb__now();

	if (now - loops->looked < LOOK_NS)
		return;
	loops->looked = now;
	for (uint32_t i = 0; i < loops->count; i++) {
		struct place *place = &loops->places[i];
		uint64_t served = vdb__load(&place->loop->stats.served);

		place->recent = place->recent / 2 + (served - place->served);
		place->served = served;
	}
}

static uint32_t share(uint64_t part, uint64_t all)
{
	return all ? (uint32_t)((double)part / (double)all * WHOLE) : 0;
}

static uint32_t load_of(const struct vdb_loops *loops, uint32_t index)
{
	uint64_t placed = 0, recent = 0;

	for (uint32_t i = 0; i < loops->count; i++) {
		placed += loops->places[i].placed;
		recent += loops->places[i].recent;
	}
	return share(loops->places[index].placed, placed) + share(loops->places[index].recent, recent);
}

/* The first of equals. */
static uint32_t least_loaded(struct vdb_loops *loops)
{
	uint32_t best = 0, least = UINT32_MAX;

	look(loops);
	for (uint32_t i = 0; i < loops->count; i++) {
		uint32_t load = load_of(loops, i);

		if (load < least) {
			least = load;
			best = i;
		}
	}
	return best;
}

static uint32_t choose(struct vdb_loops *loops)
{
	if (loops->policy == VDB_PLACE_LEAST_LOADED)
		return least_loaded(loops);
	return loops->next++ % loops->count;
}

VDB_EXPORT int vdb_loops_place(struct vdb_loops *loops, uint32_t index, struct vdb_loop **out)
{
	if (index == VDB_PLACE_ANY && loops->policy == VDB_PLACE_PINNED)
		return vdb__fail(EINVAL, "loops: their policy is VDB_PLACE_PINNED; say which");
	if (index != VDB_PLACE_ANY && index >= loops->count)
		return vdb__fail(ENOENT, "loops: no loop %u; there are %u", index, loops->count);
	pthread_mutex_lock(&loops->lock);
	if (index == VDB_PLACE_ANY)
		index = choose(loops);
	loops->places[index].placed++;
	pthread_mutex_unlock(&loops->lock);
	*out = loops->places[index].loop;
	return 0;
}

VDB_EXPORT void vdb_loops_leave(struct vdb_loops *loops, const struct vdb_loop *loop)
{
	int index = vdb_loops_index(loops, loop);

	if (index < 0)
		return;
	pthread_mutex_lock(&loops->lock);
	assert(loops->places[index].placed && "leaves a loop where it was not placed");
	loops->places[index].placed--;
	pthread_mutex_unlock(&loops->lock);
}

VDB_EXPORT int vdb_loops_query(struct vdb_loops *loops, uint32_t index, struct vdb_loops_info *info)
{
	struct vdb_loops_info own;

	if (index >= loops->count)
		return vdb__fail(ENOENT, "loops: no loop %u; there are %u", index, loops->count);
	pthread_mutex_lock(&loops->lock);
	own = (struct vdb_loops_info){
	        .cpu = loops->places[index].cpu,
	        .placed = loops->places[index].placed,
	        .load = load_of(loops, index),
	};
	pthread_mutex_unlock(&loops->lock);
	return vdb__stats_give(info, &own, sizeof(own), "vdb_loops_info");
}
