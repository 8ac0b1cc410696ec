/* SPDX-License-Identifier: Apache-2.0 */
/* Where a source is: idle until kicked, hot and looked at, or ready to be served. */
#include <fcntl.h>

#include "base/error.h"
#include "loop/throttle.h"

/* Found empty so often while others kept the loop busy, a source is left to its doorbell: what a turn costs
 * follows the rings in use. So many looks cost about what a bell does, the guest's share included; and a
 * thousand rings that take turns with one request each must stay, or each request has its bell. */
#define COLD_AFTER 1024u

static void watch_init(struct vdb_loop *loop, struct vdb__source *source, int fd)
{
	struct vdb__watch *watch = &source->watch;

	*watch = (struct vdb__watch){.loop = loop, .fd = fd, .source = source, .rang = vdb__source_rang};
	vdb__list_init(&watch->link);
	vdb__list_append(&loop->watches, &watch->all);
}

static void watch_fini(struct vdb__watch *watch)
{
	vdb__list_remove(&watch->link);
	vdb__list_remove(&watch->all);
}

static int watch_start(struct vdb_loop *loop, struct vdb__watch *watch)
{
	if (watch->fd < 0)
		return 0;
	if (fcntl(watch->fd, F_GETFD) < 0)
		return vdb__fail_sys(errno, "source: kick fd %d", watch->fd);
	return loop->engine->ops->watch(loop->engine, watch);
}

static struct vdb_tenant *tenant_for(struct vdb_loop *loop, struct vdb_tenant *tenant)
{
	if (!tenant)
		return vdb__tenant_new(loop);
	vdb__tenant_ref(tenant);
	return tenant;
}

static void start(struct vdb__source *source)
{
	source->since = 0;
	source->place = (struct vdb__place){0};
	source->state = VDB__HOT;
	source->ending = false;
	vdb__list_init(&source->link);
	vdb__list_init(&source->crowd);
	vdb__count(&vdb__account(source->tenant)->stats.starts, 1);
	vdb__source_ready(source);
}

int vdb__source_add(struct vdb_loop *loop, struct vdb__source *source, struct vdb_tenant *tenant, int kick_fd)
{
	int err;

	tenant = tenant_for(loop, tenant);
	if (!tenant)
		return vdb__fail(ENOMEM, "source: no memory for a tenant");
	err = vdb__account_join(tenant, loop);
	if (err) {
		vdb__tenant_unref(tenant);
		return err;
	}
	watch_init(loop, source, kick_fd);
	source->loop = loop;
	source->tenant = tenant;
	err = vdb__throttle_add(source);
	if (!err)
		err = watch_start(loop, &source->watch);
	if (err) {
		vdb__throttle_remove(source);
		watch_fini(&source->watch);
		vdb__account_part(tenant);
		vdb__tenant_unref(tenant);
		return err;
	}
	start(source);
	return 0;
}

void vdb__source_ready(struct vdb__source *source)
{
	struct vdb_tenant *tenant = source->tenant;

	if (source->state == VDB__READY || source->state == VDB__GONE)
		return;
	vdb__list_remove(&source->link);
	source->state = VDB__READY;
	vdb__list_append(&tenant->ready, &source->link);
	vdb__order_wait(&tenant->order, &source->place);
	if (vdb__list_empty(&tenant->link))
		vdb__tenant_queue(tenant);
	vdb__loop_nudge(source->loop);
}

void vdb__source_ending(struct vdb__source *source)
{
	source->ending = true;
	if (source->state == VDB__HELD)
		vdb__source_ready(source);
}

void vdb__source_hot(struct vdb__source *source)
{
	source->state = VDB__HOT;
	vdb__list_append(&source->loop->hot, &source->link);
}

/* The doorbell. Edges may merge, and come late: it says "look", no more. */
void vdb__source_rang(struct vdb__watch *watch)
{
	struct vdb__source *source = watch->source;

	vdb__count(&watch->loop->stats.bells, 1);
	vdb__count(&vdb__account(source->tenant)->stats.bells, 1);
	vdb__poll_rang(source);
	source->ops->kicked(source);
	vdb__source_ready(source);
}

void vdb__source_remove(struct vdb__source *source, void (*gone)(struct vdb__source *source))
{
	struct vdb_loop *loop = source->loop;
	struct vdb__watch *watch = &source->watch;

	source->state = VDB__GONE;
	vdb__throttle_remove(source);
	vdb__account_part(source->tenant);
	vdb__list_remove(&source->crowd);
	vdb__list_remove(&source->link);
	if (vdb__list_empty(&source->tenant->ready))
		vdb__list_remove(&source->tenant->link);
	watch->closing = true;
	watch->gone = gone;
	if (watch->fd >= 0)
		loop->engine->ops->unwatch(loop->engine, watch);
	else
		vdb__watch_gone(watch);
	vdb__loop_nudge(loop);
}

void vdb__watch_gone(struct vdb__watch *watch)
{
	watch->armed = false;
	vdb__list_remove(&watch->link);
	vdb__list_append(&watch->loop->gone, &watch->link);
}

/* At the end of a turn's reaping: nothing refers to the watch any more. */
unsigned vdb__sources_gone(struct vdb_loop *loop)
{
	struct vdb__list *entry;
	unsigned count = 0;

	while ((entry = vdb__list_pop(&loop->gone))) {
		struct vdb__watch *watch = vdb__container(entry, struct vdb__watch, link);
		struct vdb__source *source = watch->source;
		void (*gone)(struct vdb__source *) = watch->gone;
		struct vdb_tenant *tenant = source ? source->tenant : NULL;

		watch_fini(watch);
		if (gone)
			gone(source); /* it may be freed now, or another loop's */
		if (gone)
			vdb__tenant_unref(tenant);
		count++;
	}
	return count;
}

bool vdb__source_arm(struct vdb__source *source)
{
	if (source->loop->polling.max_ns && !source->since)
		source->since = vdb__poll_now(source->loop);
	if (source->ops->arm(source)) {
		vdb__source_ready(source);
		return false;
	}
	vdb__list_remove(&source->link);
	source->state = VDB__IDLE;
	return true;
}

/* Looks at every hot source. While the loop is busy, those long empty are armed. */
bool vdb__sources_look(struct vdb_loop *loop, bool busy)
{
	struct vdb__list *entry = loop->hot.next, *next;
	bool found = false;

	for (; entry != &loop->hot; entry = next) {
		struct vdb__source *source = vdb__container(entry, struct vdb__source, link);

		next = entry->next;
		if (source->ops->pending(source)) {
			vdb__count(&loop->stats.poll_hits, 1);
			vdb__source_ready(source);
			found = true;
		} else if (busy && ++source->looks >= COLD_AFTER && vdb__poll_over(source) &&
		           !vdb__source_arm(source)) {
			found = true;
		}
	}
	return found;
}

bool vdb__loop_arm(struct vdb_loop *loop)
{
	struct vdb__list *entry = loop->hot.next, *next;
	bool idle = true;

	if (loop->polling.max_ns && !loop->polling.quiet && entry != &loop->hot)
		loop->polling.quiet = vdb__poll_now(loop);
	for (; entry != &loop->hot; entry = next) {
		next = entry->next;
		idle &= vdb__source_arm(vdb__container(entry, struct vdb__source, link));
	}
	return idle;
}

void vdb__sources_rescan(struct vdb_loop *loop)
{
	struct vdb__list *entry = loop->watches.next;

	for (; entry != &loop->watches; entry = entry->next) {
		struct vdb__watch *watch = vdb__container(entry, struct vdb__watch, all);

		if (watch->source && !watch->closing)
			vdb__source_ready(watch->source);
	}
}
