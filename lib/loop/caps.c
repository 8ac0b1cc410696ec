/* SPDX-License-Identifier: Apache-2.0 */
/* Caps on a tenant: what is beyond them waits, or is done without. */
#include "loop/caps.h"

#include <assert.h>

#include "base/error.h"
#include "base/export.h"
#include "loop/state.h"

/* ---- Life ---- */

_Static_assert(offsetof(struct vdb_tenant, account) == 0, "vdb__account() takes it for the first");

void vdb__account_init(struct vdb__account *account)
{
	account->inflight_max = UINT32_MAX;
	vdb__list_init(&account->crowded);
	vdb__list_init(&account->fd_waits);
	vdb__list_init(&account->late);
}

static void set_caps(struct vdb__account *account, const struct vdb_caps *caps)
{
	uint64_t now = vdb__now();

	account->caps = *caps;
	account->inflight_max = caps->inflight ? caps->inflight : UINT32_MAX;
	account->irqs = vdb__flow_begin(caps->irqs_per_s, 0, now);
	account->irqs_given = vdb__flow_full(&account->irqs, now);
}

void vdb__account_inherit(struct vdb__account *to, const struct vdb__account *from)
{
	set_caps(to, &from->caps);
}

static void time_has_come(void *arg);

int vdb__account_join(struct vdb_tenant *tenant, struct vdb_loop *loop)
{
	struct vdb__account *account = &tenant->account;

	if (account->irqs.rate && !account->timer &&
	    vdb_timer_create(loop, time_has_come, account, &account->timer))
		return -ENOMEM;
	account->sources++;
	return 0;
}

void vdb__account_part(struct vdb_tenant *tenant)
{
	struct vdb__account *account = &tenant->account;

	if (--account->sources)
		return;
	assert(vdb__list_empty(&account->late));
	vdb_timer_destroy(account->timer);
	account->timer = NULL;
}

static int check(const struct vdb_caps *caps)
{
	if (caps->reserved)
		return vdb__fail(EINVAL, "caps: reserved is %#x; it must be 0", caps->reserved);
	if (caps->irqs_per_s > VDB_CAPS_MAX_IRQS)
		return vdb__fail(EINVAL, "caps: %u interrupts a second; at most %u, 0 is no cap",
		                 caps->irqs_per_s, VDB_CAPS_MAX_IRQS);
	return 0;
}

VDB_EXPORT int vdb_tenant_caps(struct vdb_tenant *tenant, const struct vdb_caps *caps)
{
	struct vdb_caps own;
	int rc = vdb__config_take(&own, sizeof(own), caps, "caps");

	if (!rc)
		rc = check(&own);
	/* Lanes have references, and vsock devices. */
	if (!rc && vdb__load(&tenant->refs) != 1)
		rc = vdb__fail(EBUSY, "caps: the tenant has lanes already; give it its caps before");
	if (!rc)
		set_caps(&tenant->account, &own);
	return rc;
}

/* ---- In flight ---- */

void vdb__tenant_crowded(struct vdb__source *source)
{
	if (vdb__list_empty(&source->crowd))
		vdb__list_append(&vdb__account(source->tenant)->crowded, &source->crowd);
}

/* No more than there is room for, in the order in which they came: each takes one at least. */
void vdb__tenant_wake(struct vdb__account *account)
{
	uint32_t room =
	        account->inflight < account->inflight_max ? account->inflight_max - account->inflight : 0;
	struct vdb__list *entry;

	while (room-- && (entry = vdb__list_pop(&account->crowded)))
		vdb__source_ready(vdb__container(entry, struct vdb__source, crowd));
}

/* ---- Interrupts ---- */

static bool may(struct vdb__account *account, uint64_t now)
{
	const struct vdb__flow *flow = &account->irqs;

	if (!vdb__flow_level(flow, account->irqs_given, now))
		return false;
	account->irqs_given = vdb__flow_give(flow, account->irqs_given, 1, now);
	return true;
}

/* The moment when there is one more. */
static void wait_for_one(struct vdb__account *account)
{
	uint64_t at = vdb__flow_when(&account->irqs, account->irqs_given + 1);

	vdb__timer_arm_at(account->timer, at ? at : 1);
}

bool vdb__tenant_irq_take(struct vdb_tenant *tenant, struct vdb__late *late)
{
	struct vdb__account *account = &tenant->account;

	if (!vdb__list_empty(&late->link))
		return false;
	if (vdb__list_empty(&account->late) && may(account, vdb__poll_now(tenant->loop)))
		return true;
	vdb__count(&account->stats.irqs_delayed, 1);
	if (vdb__list_empty(&account->late))
		wait_for_one(account);
	vdb__list_append(&account->late, &late->link);
	return false;
}

void vdb__tenant_irq_now(struct vdb_tenant *tenant, struct vdb__late *late)
{
	struct vdb__account *account = &tenant->account;

	vdb__list_remove(&late->link);
	if (account->irqs.rate)
		account->irqs_given = vdb__flow_give(&account->irqs, account->irqs_given, 1, vdb__now());
}

/* Those that waited, in order, one for each that has flowed. */
static void time_has_come(void *arg)
{
	struct vdb__account *account = arg;
	uint64_t now = vdb__now();
	struct vdb__late *late;

	while (!vdb__list_empty(&account->late) && may(account, now)) {
		late = vdb__container(vdb__list_pop(&account->late), struct vdb__late, link);
		late->raise(late);
	}
	if (!vdb__list_empty(&account->late))
		wait_for_one(account);
}

/* ---- Memory ---- */

bool vdb__tenant_pin(struct vdb_tenant *tenant, uint64_t bytes)
{
	struct vdb__account *account = vdb__account(tenant);
	uint64_t cap = account->caps.pinned;

	if (cap && (account->pinned > cap || bytes > cap - account->pinned)) {
		vdb__count(&account->stats.pinned_refused, bytes);
		return false;
	}
	vdb__count(&account->pinned, bytes);
	return true;
}

void vdb__tenant_unpin(struct vdb_tenant *tenant, uint64_t bytes)
{
	vdb__count(&vdb__account(tenant)->pinned, 0 - bytes);
}

/* ---- Fds ---- */

void vdb__tenant_fd_take(struct vdb_tenant *tenant)
{
	vdb__count(&vdb__account(tenant)->fds, 1);
}

void vdb__tenant_fd_give(struct vdb_tenant *tenant)
{
	struct vdb__account *account = vdb__account(tenant);
	struct vdb__list *entry;

	vdb__count(&account->fds, UINT32_MAX);
	entry = vdb__list_pop(&account->fd_waits);
	if (entry) {
		struct vdb__fd_wait *wait = vdb__container(entry, struct vdb__fd_wait, link);

		wait->again(wait);
	}
}

void vdb__tenant_fd_await(struct vdb_tenant *tenant, struct vdb__fd_wait *wait)
{
	if (vdb__list_empty(&wait->link))
		vdb__list_append(&vdb__account(tenant)->fd_waits, &wait->link);
}
