/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limits: what they are made of, and how they are changed. throttle.c holds back who is limited. */
#include "loop/limit.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/export.h"
#include "loop/throttle.h"

/* ---- Flows: two copies, so that readers need not wait for a writer ---- */

/* Acquire, each pairs with the release stores of flow_write(): whoever sees a word of a later
 * generation sees that `generation` had moved on before. */
static struct vdb__flow flow_of(const struct vdb_limit *limit, unsigned unit)
{
	const struct vdb__flow *from;
	struct vdb__flow flow;
	uint32_t generation;

	do {
		generation = vdb__load_acquire(&limit->generation);
		from = &limit->flows[generation % 2][unit];
		flow.rate = vdb__load_acquire(&from->rate);
		flow.burst = vdb__load_acquire(&from->burst);
		flow.base = vdb__load_acquire(&from->base);
		flow.since = vdb__load_acquire(&from->since);
	} while (vdb__load(&limit->generation) != generation);
	return flow;
}

static void flow_write(struct vdb__flow *to, const struct vdb__flow *flow)
{
	vdb__store_release(&to->rate, flow->rate);
	vdb__store_release(&to->burst, flow->burst);
	vdb__store_release(&to->base, flow->base);
	vdb__store_release(&to->since, flow->since);
}

static const struct vdb__flow *flow_now(const struct vdb_limit *limit, unsigned unit)
{
	return &limit->flows[limit->generation % 2][unit];
}

/* Locked. */
static void flows_write(struct vdb_limit *limit, const struct vdb__flow flows[VDB__UNITS])
{
	for (unsigned i = 0; i < VDB__UNITS; i++)
		flow_write(&limit->flows[(limit->generation + 1) % 2][i], &flows[i]);
	vdb__store_release(&limit->generation, limit->generation + 1);
}

/* What nobody took is lost, but for the burst. */
static void catch_up(struct vdb_limit *limit, unsigned unit, uint64_t at)
{
	uint64_t given = vdb__load(&limit->given[unit]);

	while ((int64_t)(given - at) < 0 && !vdb__cas(&limit->given[unit], given, at))
		given = vdb__load(&limit->given[unit]);
}

/* Moves the origin to now; every position stays what it is. Once in 2^62 units, a year of 100 GB/s. */
static void move_origin(struct vdb_limit *limit, uint64_t now)
{
	struct vdb__flow flows[VDB__UNITS];

	pthread_mutex_lock(&limit->lock);
	for (unsigned i = 0; i < VDB__UNITS; i++) {
		const struct vdb__flow *flow = flow_now(limit, i);
		uint64_t given = vdb__load(&limit->given[i]);

		flows[i] = vdb__flow_change(flow, flow->rate, flow->burst, now);
		/* Seen from the old origin, where differences are small. */
		if (vdb__flow_level(flow, given, now) >= flow->burst)
			catch_up(limit, i, vdb__flow_full(&flows[i], now));
	}
	flows_write(limit, flows);
	pthread_mutex_unlock(&limit->lock);
}

static struct vdb__flow near_flow(struct vdb_limit *limit, unsigned unit, uint64_t now)
{
	struct vdb__flow flow = flow_of(limit, unit);

	if (!vdb__flow_far(&flow, now))
		return flow;
	move_origin(limit, now);
	return flow_of(limit, unit);
}

/* ---- Taking and giving ---- */

uint64_t vdb__limit_take(struct vdb_limit *limit, unsigned unit, uint64_t want, uint64_t now)
{
	struct vdb__flow flow = near_flow(limit, unit, now);
	uint64_t *given = &limit->given[unit], old, amount;

	if (!flow.rate)
		return UINT64_MAX;
	do {
		old = vdb__load(given);
		amount = vdb__flow_level(&flow, old, now);
		if (amount > want)
			amount = want;
	} while (amount && !vdb__cas(given, old, vdb__flow_give(&flow, old, amount, now)));
	return amount;
}

bool vdb__limit_open(struct vdb_limit *limit, unsigned unit, uint64_t now)
{
	struct vdb__flow flow = near_flow(limit, unit, now);

	return vdb__flow_level(&flow, vdb__load(&limit->given[unit]), now) > 0;
}

static uint64_t give(struct vdb_limit *limit, unsigned unit, const struct vdb__flow *flow, uint64_t amount,
                     uint64_t now)
{
	uint64_t *given = &limit->given[unit], old, position;

	do {
		old = vdb__load(given);
		position = vdb__flow_give(flow, old, amount, now);
	} while (!vdb__cas(given, old, position));
	return position;
}

uint64_t vdb__limit_reserve(struct vdb_limit *limit, unsigned unit, uint64_t now, uint64_t *position)
{
	struct vdb__flow flow = near_flow(limit, unit, now);
	uint64_t portion = vdb__flow_portion(&flow);

	*position = give(limit, unit, &flow, portion, now);
	return portion;
}

uint64_t vdb__limit_when(const struct vdb_limit *limit, unsigned unit, uint64_t position)
{
	struct vdb__flow flow = flow_of(limit, unit);

	return vdb__flow_when(&flow, position);
}

void vdb__limit_charge(struct vdb_limit *limit, unsigned unit, uint64_t amount, uint64_t now)
{
	struct vdb__flow flow = near_flow(limit, unit, now);

	if (flow.rate && amount)
		(void)give(limit, unit, &flow, amount, now);
}

void vdb__limit_refund(struct vdb_limit *limit, unsigned unit, uint64_t amount)
{
	(void)vdb__fetch_add(&limit->given[unit], 0 - amount);
}

/* ---- Life ---- */

struct vdb_limit *vdb__limit_ref(struct vdb_limit *limit)
{
	if (limit)
		vdb__ref_get(&limit->refs);
	return limit;
}

void vdb__limit_unref(struct vdb_limit *limit)
{
	if (!limit || !vdb__ref_put(&limit->refs))
		return;
	pthread_mutex_destroy(&limit->lock);
	free(limit);
}

static int check_numbers(const char *what, uint64_t rate, uint64_t burst)
{
	if (rate > VDB_LIMIT_MAX || burst > VDB_LIMIT_MAX)
		return vdb__fail(EINVAL, "limit: %s: %llu a second, burst %llu; at most 2^60, 0 is unlimited",
		                 what, (unsigned long long)rate, (unsigned long long)burst);
	if (burst && !rate)
		return vdb__fail(EINVAL, "limit: %s: a burst of %llu without a rate; give both", what,
		                 (unsigned long long)burst);
	return 0;
}

static int take_config(struct vdb_limit_config *own, const struct vdb_limit_config *config)
{
	int rc = vdb__config_take(own, sizeof(*own), config, "limit config");

	if (!rc && own->reserved)
		rc = vdb__fail(EINVAL, "limit config: reserved is %#x; it must be 0", own->reserved);
	if (!rc)
		rc = check_numbers("bytes", own->bytes_per_s, own->bytes_burst);
	return rc ? rc : check_numbers("operations", own->ops_per_s, own->ops_burst);
}

VDB_EXPORT int vdb_limit_create(const struct vdb_limit_config *config, struct vdb_limit **out)
{
	struct vdb_limit_config own;
	struct vdb_limit *limit;
	uint64_t now = vdb__now();
	int rc = take_config(&own, config);

	if (rc)
		return rc;
	limit = aligned_alloc(_Alignof(struct vdb_limit), sizeof(*limit));
	if (!limit)
		return vdb__fail(ENOMEM, "limit: no memory");
	*limit = (struct vdb_limit){.refs = 1};
	/* Default attributes: cannot fail. */
	pthread_mutex_init(&limit->lock, NULL);
	vdb__list_init(&limit->permits);
	limit->flows[0][VDB__BYTES] = vdb__flow_begin(own.bytes_per_s, own.bytes_burst, now);
	limit->flows[0][VDB__OPS] = vdb__flow_begin(own.ops_per_s, own.ops_burst, now);
	for (unsigned i = 0; i < VDB__UNITS; i++)
		limit->given[i] = vdb__flow_full(&limit->flows[0][i], now);
	*out = limit;
	return 0;
}

VDB_EXPORT void vdb_limit_destroy(struct vdb_limit *limit)
{
	vdb__limit_unref(limit);
}

/* ---- Changing ---- */

/* Locked. What had no limit until now has a full bucket, whatever it owed before that. */
static void change(struct vdb_limit *limit, unsigned unit, uint64_t rate, uint64_t burst, uint64_t now,
                   struct vdb__flow *to)
{
	const struct vdb__flow *flow = flow_now(limit, unit);

	*to = vdb__flow_change(flow, rate, burst, now);
	if (!flow->rate)
		vdb__store(&limit->given[unit], vdb__flow_full(to, now));
	else if (vdb__flow_level(flow, vdb__load(&limit->given[unit]), now) >= flow->burst)
		catch_up(limit, unit, to->base - flow->burst);
}

VDB_EXPORT int vdb_limit_set(struct vdb_limit *limit, const struct vdb_limit_config *config)
{
	struct vdb__flow flows[VDB__UNITS];
	struct vdb_limit_config own;
	struct vdb__list *entry;
	int rc = take_config(&own, config);
	uint64_t now;

	if (rc)
		return rc;
	pthread_mutex_lock(&limit->lock);
	now = vdb__now();
	change(limit, VDB__BYTES, own.bytes_per_s, own.bytes_burst, now, &flows[VDB__BYTES]);
	change(limit, VDB__OPS, own.ops_per_s, own.ops_burst, now, &flows[VDB__OPS]);
	flows_write(limit, flows);
	for (entry = limit->permits.next; entry != &limit->permits; entry = entry->next)
		vdb__permit_changed(vdb__container(entry, struct vdb__permit, link));
	pthread_mutex_unlock(&limit->lock);
	return 0;
}

/* ---- Asking ---- */

VDB_EXPORT int vdb_limit_stats(struct vdb_limit *limit, struct vdb_limit_stats *stats)
{
	struct vdb_limit_stats own;
	struct vdb__list *entry;

	pthread_mutex_lock(&limit->lock);
	own = limit->past;
	for (entry = limit->permits.next; entry != &limit->permits; entry = entry->next)
		vdb__permit_count(vdb__container(entry, struct vdb__permit, link), &own);
	pthread_mutex_unlock(&limit->lock);
	own.waiting = vdb__load(&limit->waiting);
	return vdb__stats_give(stats, &own, sizeof(own), "limit stats");
}
