/* SPDX-License-Identifier: Apache-2.0 */
/* Deficit round robin between tenants. */
#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/export.h"
#include "loop/throttle.h"

/* A tenant with several rings goes round them in shares of its turn. */
#define SHARES 8u

struct vdb_tenant *vdb__tenant_new(struct vdb_loop *loop)
{
	struct vdb_tenant *tenant = calloc(1, sizeof(*tenant));

	if (!tenant)
		return NULL;
	vdb__account_init(&tenant->account);
	tenant->refs = 1;
	tenant->loop = loop;
	vdb__list_init(&tenant->link);
	vdb__list_init(&tenant->ready);
	return tenant;
}

VDB_EXPORT int vdb_tenant_create(struct vdb_loop *loop, struct vdb_tenant **out)
{
	struct vdb_tenant *tenant = vdb__tenant_new(loop);

	if (!tenant)
		return vdb__fail(ENOMEM, "tenant: no memory");
	*out = tenant;
	return 0;
}

VDB_EXPORT void vdb_tenant_destroy(struct vdb_tenant *tenant)
{
	if (tenant)
		vdb__tenant_unref(tenant);
}

void vdb__tenant_ref(struct vdb_tenant *tenant)
{
	vdb__ref_get(&tenant->refs);
}

/* Sources hold references: without one it is on no list, and any thread may free it. */
void vdb__tenant_unref(struct vdb_tenant *tenant)
{
	if (!vdb__ref_put(&tenant->refs))
		return;
	vdb__limit_unref(tenant->limit);
	free(tenant);
}

VDB_EXPORT int vdb_tenant_limit(struct vdb_tenant *tenant, struct vdb_limit *limit)
{
	struct vdb_limit *before = tenant->limit;

	/* Lanes have references. */
	if (vdb__load(&tenant->refs) != 1)
		return vdb__fail(EBUSY,
		                 "tenant: has lanes already; give it its limit before, and change that "
		                 "by vdb_limit_set()");
	tenant->limit = vdb__limit_ref(limit);
	vdb__limit_unref(before);
	return 0;
}

const struct vdb_loop *vdb__tenant_loop(const struct vdb_tenant *tenant)
{
	return tenant->loop;
}

void vdb__tenant_move(struct vdb_tenant *tenant, struct vdb_loop *loop)
{
	assert(vdb__list_empty(&tenant->link) && vdb__list_empty(&tenant->ready));
	tenant->loop = loop;
	tenant->place = (struct vdb__place){0};
}

VDB_EXPORT int vdb_tenant_stats(const struct vdb_tenant *tenant, struct vdb_tenant_stats *stats)
{
	const struct vdb__account *account = &tenant->account;
	const struct vdb_tenant_stats *did = &account->stats;
	struct vdb_tenant_stats own = {
	        .inflight = vdb__load(&account->inflight),
	        .bytes = vdb__load(&tenant->bytes),
	        .requests = vdb__load(&tenant->requests),
	        .turns = vdb__load(&tenant->turns),
	        .overtaken = vdb__load(&tenant->overtaken),
	        .wait_most = vdb__load(&tenant->wait_most),
	        .bells = vdb__load(&did->bells),
	        .bells_vain = vdb__load(&did->bells_vain),
	        .starts = vdb__load(&did->starts),
	        .broken = vdb__load(&did->broken),
	        .refused = vdb__load(&did->refused),
	        .errors = vdb__load(&did->errors),
	        .dropped = vdb__load(&did->dropped),
	        .throttled = vdb__load(&did->throttled),
	        .crowded = vdb__load(&did->crowded),
	        .irqs = vdb__load(&did->irqs),
	        .irqs_delayed = vdb__load(&did->irqs_delayed),
	        .pinned = vdb__load(&account->pinned),
	        .pinned_refused = vdb__load(&did->pinned_refused),
	        .fds = vdb__load(&account->fds),
	        .fds_refused = vdb__load(&did->fds_refused),
	        .log_lines = vdb__load(&account->log_lines),
	        .log_dropped = vdb__load(&account->log_dropped),
	};

	return vdb__stats_give(stats, &own, sizeof(own), "vdb_tenant_stats");
}

void vdb__tenant_inherit(struct vdb_tenant *to, const struct vdb_tenant *from)
{
	to->limit = vdb__limit_ref(from->limit);
	vdb__account_inherit(&to->account, &from->account);
}

static void account(struct vdb_tenant *tenant, uint64_t cost, uint64_t bytes, uint64_t requests)
{
	tenant->deficit -= (int64_t)cost;
	tenant->wait_mark += cost;
	vdb__count(&tenant->loop->stats.served, cost);
	vdb__count(&tenant->bytes, bytes);
	vdb__count(&tenant->requests, requests);
}

void vdb__tenant_charge(struct vdb_tenant *tenant, uint64_t cost, uint64_t bytes, uint64_t requests)
{
	account(tenant, cost, bytes, requests);
}

void vdb__source_charge(struct vdb__source *source, uint64_t bytes)
{
	account(source->tenant, bytes, bytes, 0);
	if (source->throttle)
		vdb__throttle_charge(source->throttle, bytes);
}

static void passed_over(struct vdb_tenant *tenant, bool so)
{
	if (!so)
		return;
	vdb__count(&tenant->overtaken, 1);
	vdb__count(&tenant->loop->stats.overtaken, 1);
}

static void keep_most(uint64_t *most, uint64_t value)
{
	if (value > vdb__load(most))
		vdb__store(most, value);
}

static uint64_t serve_source(struct vdb_tenant *tenant, struct vdb__source *source, uint64_t budget)
{
	uint64_t bytes = source->bytes, requests = source->requests;
	uint64_t cost;

	passed_over(tenant, vdb__order_visit(&tenant->order, &source->place));
	if (source->throttle)
		vdb__throttle_open(source->throttle, budget);
	cost = source->ops->serve(source, budget);
	bytes = source->bytes - bytes;
	requests = source->requests - requests;
	account(tenant, cost, bytes, requests);
	if (source->throttle)
		vdb__throttle_close(source->throttle, requests, bytes);
	return cost;
}

/* What one of its sources is told: all that is left, or a share if others wait. */
static uint64_t share(const struct vdb_tenant *tenant)
{
	uint64_t left = (uint64_t)tenant->deficit, part = tenant->loop->quantum / SHARES + 1;

	return vdb__list_empty(&tenant->ready) || left < part ? left : part;
}

/* A quantum more, but nothing is hoarded: what was not used up is lost, debt is not. */
static void grant(struct vdb_tenant *tenant)
{
	int64_t quantum = (int64_t)tenant->loop->quantum;

#ifdef VDB__NO_DEFICIT /* a test shows that it notices */
	tenant->deficit = quantum;
#else
	tenant->deficit = tenant->deficit > 0 ? quantum : tenant->deficit + quantum;
#endif
	vdb__count(&tenant->turns, 1);
}

/* Where a served source belongs now. It may have been removed or made ready while served. */
static void put_back(struct vdb__source *source, struct vdb__list *stuck, uint64_t cost)
{
	if (source->state != VDB__HOT)
		return;
	if (!source->ops->pending(source)) {
		if (source->throttle)
			vdb__throttle_rest(source->throttle);
		vdb__poll_start(source);
		vdb__source_hot(source);
		return;
	}
	if (source->throttle && !source->ending && vdb__throttle_hold(source->throttle))
		return;
	source->state = VDB__READY;
	vdb__list_append(cost ? &source->tenant->ready : stuck, &source->link);
	if (cost)
		vdb__order_wait(&source->tenant->order, &source->place);
	else
		vdb__order_aside(&source->place);
}

void vdb__tenant_queue(struct vdb_tenant *tenant)
{
	struct vdb_loop *loop = tenant->loop;

	vdb__order_wait(&loop->order, &tenant->place);
	tenant->wait_mark = loop->stats.served;
#ifdef VDB__LAST_FIRST /* a test shows that it notices */
	vdb__list_append(loop->active.next, &tenant->link);
#else
	vdb__list_append(&loop->active, &tenant->link);
#endif
}

/* Its turn has come: what went before it. */
static void end_wait(struct vdb_tenant *tenant)
{
	struct vdb_loop *loop = tenant->loop;

	passed_over(tenant, vdb__order_visit(&loop->order, &tenant->place));
	keep_most(&tenant->wait_most, loop->stats.served - tenant->wait_mark);
}

static void end_visit(struct vdb_tenant *tenant, uint64_t requests, int64_t granted)
{
	struct vdb_loop_stats *stats = &tenant->loop->stats;

	keep_most(&stats->visit_most, (uint64_t)(granted - tenant->deficit));
	keep_most(&stats->visit_requests, tenant->requests - requests);
}

static unsigned visit(struct vdb_tenant *tenant)
{
	struct vdb__list stuck, *entry;
	unsigned served = 0;
	uint64_t cost, requests = tenant->requests;
	int64_t granted;

	vdb__list_init(&stuck);
	end_wait(tenant);
	grant(tenant);
	granted = tenant->deficit;
	while (tenant->deficit > 0 && (entry = vdb__list_pop(&tenant->ready))) {
		struct vdb__source *source = vdb__container(entry, struct vdb__source, link);

		source->state = VDB__HOT; /* if serve() makes it ready, it is put on the list */
		source->looks = 0;
		cost = serve_source(tenant, source, share(tenant));
		served++;
		put_back(source, &stuck, cost);
	}
	vdb__list_splice(&tenant->ready, &stuck);
	end_visit(tenant, requests, granted);
	return served;
}

static void requeue(struct vdb_tenant *tenant)
{
	vdb__list_remove(&tenant->link);
	if (!vdb__list_empty(&tenant->ready))
		vdb__tenant_queue(tenant);
}

unsigned vdb__tenants_serve(struct vdb_loop *loop)
{
	struct vdb__list round, *entry;
	unsigned served = 0;

	if (vdb__list_empty(&loop->active))
		return 0;
	vdb__list_init(&round);
	vdb__list_splice(&round, &loop->active);
	while ((entry = vdb__list_pop(&round))) {
		struct vdb_tenant *tenant = vdb__container(entry, struct vdb_tenant, link);

		/* Removed sources hold their reference until the end of the turn. */
		served += visit(tenant);
		requeue(tenant);
	}
	vdb__count(&loop->stats.turns, 1);
	return served;
}
