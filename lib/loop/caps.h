/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tenant's account: what it has, what it may have (vdb/caps.h), and what it has done, for
 * vdb_tenant_stats(). The loop's thread only, unless said otherwise; one writer, any reader.
 */
#ifndef VDB_LOOP_CAPS_H
#define VDB_LOOP_CAPS_H

#include <vdb/caps.h>

#include "base/atomic.h"
#include "base/list.h"
#include "loop/flow.h"
#include "loop/source.h"

/* An interrupt that the cap holds back. Zeroed, and its link initialized, at first. */
struct vdb__late {
	struct vdb__list link; /* account->late */
	void (*raise)(struct vdb__late *late);
};

/* Somebody who would take an fd when there is one. */
struct vdb__fd_wait {
	struct vdb__list link;
	void (*again)(struct vdb__fd_wait *wait);
};

struct vdb__account {
	/* What each request touches. */
	uint32_t inflight;
	uint32_t inflight_max;         /* UINT32_MAX: no cap */
	struct vdb__list crowded;      /* sources that wait until it has less in flight */
	struct vdb_tenant_stats stats; /* what it did: of the rest of the tenant's nothing is kept here */

	struct vdb_caps caps;
	uint64_t pinned;
	uint32_t fds;
	struct vdb__list fd_waits;

	struct vdb__flow irqs; /* interrupts; rate 0 = no cap */
	uint64_t irqs_given;
	struct vdb__list late;
	struct vdb_timer *timer; /* for these; there is one while it has sources, if there is a cap */
	uint32_t sources;

	/* Any thread. */
	uint64_t log_window[VDB_LOG_PLACES]; /* when it began, ms, and lines in it: 40 and 24 bits */
	uint32_t log_missed[VDB_LOG_PLACES]; /* since the last line */
	uint64_t log_lines, log_dropped;
};

/* It is the tenant's first member. */
static inline struct vdb__account *vdb__account(struct vdb_tenant *tenant)
{
	return (struct vdb__account *)tenant;
}

void vdb__account_init(struct vdb__account *account);

/* The same caps for another, which is new. */
void vdb__account_inherit(struct vdb__account *to, const struct vdb__account *from);

/* A source comes, or goes. -ENOMEM. */
int vdb__account_join(struct vdb_tenant *tenant, struct vdb_loop *loop);
void vdb__account_part(struct vdb_tenant *tenant);

/* ---- In flight ---- */

static inline bool vdb__tenant_has_room(struct vdb_tenant *tenant)
{
	const struct vdb__account *account = vdb__account(tenant);

	return account->inflight < account->inflight_max;
}

static inline void vdb__tenant_took(struct vdb_tenant *tenant)
{
	vdb__count(&vdb__account(tenant)->inflight, 1);
}

static inline void vdb__tenant_gave(struct vdb_tenant *tenant)
{
	vdb__count(&vdb__account(tenant)->inflight, UINT32_MAX);
}

/* There was no room for it: it will be ready when there is. */
void vdb__tenant_crowded(struct vdb__source *source);
void vdb__tenant_wake(struct vdb__account *account);

/* Once a batch: some may have ended. */
static inline void vdb__tenant_freed(struct vdb_tenant *tenant)
{
	struct vdb__account *account = vdb__account(tenant);

	if (!vdb__list_empty(&account->crowded))
		vdb__tenant_wake(account);
}

/* ---- Interrupts ---- */

/* True: the caller raises it, now. False: late->raise() will. */
bool vdb__tenant_irq_take(struct vdb_tenant *tenant, struct vdb__late *late);

static inline bool vdb__tenant_irq(struct vdb_tenant *tenant, struct vdb__late *late)
{
	return !vdb__account(tenant)->irqs.rate || vdb__tenant_irq_take(tenant, late);
}

/* It cannot wait: raised by the caller, and counted against later ones. */
void vdb__tenant_irq_now(struct vdb_tenant *tenant, struct vdb__late *late);

/* ---- Memory and fds ---- */

/* False: beyond its cap, and counted as refused. */
bool vdb__tenant_pin(struct vdb_tenant *tenant, uint64_t bytes);
void vdb__tenant_unpin(struct vdb_tenant *tenant, uint64_t bytes);

static inline bool vdb__tenant_has_fd(struct vdb_tenant *tenant)
{
	const struct vdb__account *account = vdb__account(tenant);

	return !account->caps.fds || account->fds < account->caps.fds;
}

void vdb__tenant_fd_take(struct vdb_tenant *tenant);
void vdb__tenant_fd_give(struct vdb_tenant *tenant);
/* again() once, when one has been given back. Queueing twice is once. */
void vdb__tenant_fd_await(struct vdb_tenant *tenant, struct vdb__fd_wait *wait);

#endif
