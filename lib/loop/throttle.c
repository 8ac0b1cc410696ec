/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/throttle.h"

#include <stdlib.h>

#include "base/error.h"

/* ---- One permit ---- */

static uint64_t at_most(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A reservation, if it has one, is used first: it has come, or nothing has. */
static uint64_t ask(struct vdb__permit *p, unsigned unit, uint64_t want, uint64_t now)
{
	uint64_t got;

	if (p->portion[unit])
		return vdb__limit_when(p->limit, unit, p->position[unit]) <= now ? p->portion[unit] : 0;
	got = vdb__limit_take(p->limit, unit, want, now);
	if (got != UINT64_MAX)
		p->taken[unit] = got;
	return got;
}

/* What was reserved has come, and is there for this visit: and what has flowed since, if it is wanted. */
static uint64_t redeem(struct vdb__permit *p, unsigned unit, uint64_t want, uint64_t now)
{
	uint64_t got = p->portion[unit], more;

	p->portion[unit] = 0;
	more = got < want ? vdb__limit_take(p->limit, unit, want - got, now) : 0;
	if (more == UINT64_MAX)
		more = 0;
	p->taken[unit] = got + more;
	return p->taken[unit];
}

static void settle(struct vdb__permit *p, unsigned unit, uint64_t used, uint64_t now)
{
	uint64_t taken = p->taken[unit];

	p->taken[unit] = 0;
	if (taken > used)
		vdb__limit_refund(p->limit, unit, taken - used);
	else
		vdb__limit_charge(p->limit, unit, used - taken, now);
}

static void cancel(struct vdb__permit *p)
{
	for (unsigned unit = 0; unit < VDB__UNITS; unit++) {
		if (p->portion[unit])
			vdb__limit_refund(p->limit, unit, p->portion[unit]);
		p->portion[unit] = 0;
	}
}

static void reserve(struct vdb__permit *p, uint64_t now)
{
	for (unsigned unit = 0; unit < VDB__UNITS; unit++) {
		if (p->portion[unit] || vdb__limit_open(p->limit, unit, now))
			continue;
		p->portion[unit] = vdb__limit_reserve(p->limit, unit, now, &p->position[unit]);
		if (p->since)
			continue;
		p->since = now;
		vdb__count(&p->throttled, 1);
		vdb__count(&vdb__account(p->throttle->source->tenant)->stats.throttled, 1);
		(void)vdb__fetch_add(&p->limit->waiting, 1u);
	}
}

static void waited(struct vdb__permit *p, uint64_t now)
{
	if (!p->since)
		return;
	vdb__count(&p->waited_ns, now > p->since ? now - p->since : 0);
	p->since = 0;
	(void)vdb__fetch_add(&p->limit->waiting, UINT32_MAX);
}

/* When all that it has reserved has come, if that is after `last`. */
static uint64_t when(const struct vdb__permit *p, uint64_t last)
{
	uint64_t at;

	for (unsigned unit = 0; unit < VDB__UNITS; unit++) {
		at = p->portion[unit] ? vdb__limit_when(p->limit, unit, p->position[unit]) : 0;
		last = at > last ? at : last;
	}
	return last;
}

/* ---- A visit ---- */

/* At most so much can be used in a visit: a request costs the budget something besides its bytes. */
static void wants(const struct vdb__source *source, uint64_t budget, uint64_t want[VDB__UNITS])
{
	uint64_t cost = source->loop->request_cost;

	want[VDB__BYTES] = budget ? budget : 1;
	want[VDB__OPS] = budget / (cost ? cost : 1) + 1;
}

static void stop_at(struct vdb__source *source, const uint64_t may[VDB__UNITS])
{
	source->stop_bytes = source->bytes + at_most(may[VDB__BYTES], UINT64_MAX - source->bytes);
	source->stop_requests = source->requests + at_most(may[VDB__OPS], UINT64_MAX - source->requests);
}

/* Something of everything, or it is not even begun. */
static bool ask_all(struct vdb__throttle *t, const uint64_t want[VDB__UNITS], uint64_t now)
{
	for (unsigned i = 0; i < t->count; i++)
		for (unsigned unit = 0; unit < VDB__UNITS; unit++)
			if (!ask(&t->permits[i], unit, want[unit], now))
				return false;
	return true;
}

static void begin(struct vdb__permit *p, const uint64_t want[VDB__UNITS], uint64_t may[VDB__UNITS],
                  uint64_t now)
{
	uint64_t got;

	waited(p, now);
	for (unsigned unit = 0; unit < VDB__UNITS; unit++) {
		got = p->portion[unit] ? redeem(p, unit, want[unit], now) : p->taken[unit];
		if (got)
			may[unit] = at_most(may[unit], got);
	}
}

void vdb__throttle_open(struct vdb__throttle *t, uint64_t budget)
{
	uint64_t now = vdb__now(), want[VDB__UNITS], may[VDB__UNITS] = {0, 0};

	wants(t->source, budget, want);
	if (ask_all(t, want, now)) {
		may[VDB__BYTES] = may[VDB__OPS] = UINT64_MAX;
		for (unsigned i = 0; i < t->count; i++)
			begin(&t->permits[i], want, may, now);
		vdb_timer_disarm(t->timer);
	}
	stop_at(t->source, may);
}

void vdb__throttle_close(struct vdb__throttle *t, uint64_t requests, uint64_t bytes)
{
	uint64_t now = vdb__now();

	for (unsigned i = 0; i < t->count; i++) {
		struct vdb__permit *p = &t->permits[i];

		settle(p, VDB__BYTES, bytes, now);
		settle(p, VDB__OPS, requests, now);
		vdb__count(&p->bytes, bytes);
		vdb__count(&p->ops, requests);
	}
}

void vdb__throttle_charge(struct vdb__throttle *t, uint64_t bytes)
{
	uint64_t now = vdb__now();

	for (unsigned i = 0; i < t->count; i++) {
		vdb__limit_charge(t->permits[i].limit, VDB__BYTES, bytes, now);
		vdb__count(&t->permits[i].bytes, bytes);
	}
}

/* ---- Waiting ---- */

/* What is reserved stays so, come or not: another limit may be what it waits for. */
bool vdb__throttle_hold(struct vdb__throttle *t)
{
	uint64_t now = vdb__now(), last = now;

	for (unsigned i = 0; i < t->count; i++) {
		reserve(&t->permits[i], now);
		last = when(&t->permits[i], last);
	}
	if (last == now)
		return false;
	t->source->state = VDB__HELD; /* and not armed: the visit before has seen to that */
	vdb__timer_arm_at(t->timer, last);
	return true;
}

void vdb__throttle_rest(struct vdb__throttle *t)
{
	uint64_t now;

	for (unsigned i = 0; i < t->count; i++) {
		if (!t->permits[i].since)
			continue;
		now = vdb__now();
		cancel(&t->permits[i]);
		waited(&t->permits[i], now);
	}
	vdb_timer_disarm(t->timer);
}

static void time_has_come(void *arg)
{
	struct vdb__throttle *t = arg;

	vdb__source_ready(t->source);
}

/* ---- Changes ---- */

static void unref(struct vdb__throttle *t)
{
	if (vdb__ref_put(&t->refs))
		free(t);
}

static void wait_anew(struct vdb__throttle *t)
{
	uint64_t now = vdb__now(), last = now;

	for (unsigned i = 0; i < t->count; i++)
		last = when(&t->permits[i], last);
	if (last > now)
		vdb__timer_arm_at(t->timer, last);
	else
		vdb__source_ready(t->source);
}

/* The positions it waits for are reached sooner now, or later, or have been. */
static void look_again(struct vdb__post *post, int status)
{
	struct vdb__throttle *t = vdb__container(post, struct vdb__throttle, post);

	(void)status;
	/* Acquire: what was changed before the next one tells us is in force. */
	(void)vdb__exchange(&t->told, 0u);
	if (t->source && t->source->state == VDB__HELD)
		wait_anew(t);
	unref(t);
}

void vdb__permit_changed(struct vdb__permit *permit)
{
	struct vdb__throttle *t = permit->throttle;

	/* Acquire, pairs with look_again(): the loop has let go of the post. */
	if (vdb__exchange(&t->told, 1u))
		return;
	vdb__ref_get(&t->refs);
	vdb__loop_post(t->loop, &t->post);
}

/* ---- Life ---- */

static void attach(struct vdb__throttle *t, struct vdb_limit *limit)
{
	struct vdb__permit *p = &t->permits[t->count];

	if (!limit)
		return;
	t->count++;
	p->throttle = t;
	p->limit = vdb__limit_ref(limit);
	pthread_mutex_lock(&limit->lock);
	vdb__list_append(&limit->permits, &p->link);
	pthread_mutex_unlock(&limit->lock);
}

int vdb__throttle_add(struct vdb__source *source)
{
	struct vdb_limit *own = source->limit, *shared = source->tenant->limit;
	struct vdb__throttle *t;

	source->throttle = NULL;
	source->stop_requests = source->stop_bytes = UINT64_MAX;
	if (!own && !shared)
		return 0;
	t = calloc(1, sizeof(*t));
	if (!t)
		return vdb__fail(ENOMEM, "limit: no memory for one that it limits");
	if (vdb_timer_create(source->loop, time_has_come, t, &t->timer)) {
		free(t);
		return -ENOMEM;
	}
	t->refs = 1;
	t->source = source;
	t->loop = source->loop;
	t->post.fn = look_again;
	attach(t, own);
	attach(t, shared != own ? shared : NULL);
	source->throttle = t;
	return 0;
}

void vdb__permit_count(const struct vdb__permit *p, struct vdb_limit_stats *to)
{
	to->bytes += vdb__load(&p->bytes);
	to->ops += vdb__load(&p->ops);
	to->throttled += vdb__load(&p->throttled);
	to->waited_ns += vdb__load(&p->waited_ns);
}

static void detach(struct vdb__permit *p)
{
	struct vdb_limit *limit = p->limit;
	uint64_t now = vdb__now();

	cancel(p);
	waited(p, now);
	settle(p, VDB__BYTES, 0, now);
	settle(p, VDB__OPS, 0, now);
	pthread_mutex_lock(&limit->lock);
	vdb__list_remove(&p->link);
	vdb__permit_count(p, &limit->past);
	pthread_mutex_unlock(&limit->lock);
	vdb__limit_unref(limit);
}

void vdb__throttle_remove(struct vdb__source *source)
{
	struct vdb__throttle *t = source->throttle;

	if (!t)
		return;
	source->throttle = NULL;
	for (unsigned i = 0; i < t->count; i++)
		detach(&t->permits[i]);
	vdb_timer_destroy(t->timer);
	t->source = NULL;
	unref(t);
}
