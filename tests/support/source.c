/* SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/atomic.h"

static struct fake *fake_of(struct vdb__source *source)
{
	return vdb__container(source, struct fake, source);
}

static bool pending(struct vdb__source *source)
{
	struct fake *fake = fake_of(source);

	if (++fake->looks == fake->finds_at_look)
		fake->work++;
	return vdb__load_acquire(&fake->work) > 0;
}

static uint64_t serve(struct vdb__source *source, uint64_t budget)
{
	struct fake *fake = fake_of(source);
	uint64_t each = fake->bytes + vdb__loop_request_cost(source->loop), cost = 0;
	uint64_t taken = 0; /* no more than the ring holds; it is full again afterwards */

	fake->serves++;
	while (cost < budget && vdb__source_may(source) && vdb__load_acquire(&fake->work) &&
	       (!fake->refill || taken++ < fake->refill)) {
		if (!fake->refill)
			(void)__atomic_fetch_sub(&fake->work, 1, __ATOMIC_ACQ_REL);
		fake->served++;
		source->requests++;
		source->bytes += fake->bytes;
		cost += each;
	}
	fake->cost += cost;
	if (fake->on_serve)
		fake->on_serve(fake);
	return cost;
}

/* Pairs with fake_produce(): one of both sees the other's store. */
static bool arm(struct vdb__source *source)
{
	struct fake *fake = fake_of(source);

	fake->arms++;
	vdb__store(&fake->armed, 1);
	vdb__fence_full();
	if (fake->arm_finds) {
		fake->arm_finds = 0;
		fake->work++;
	}
	return pending(source);
}

static void kicked(struct vdb__source *source)
{
	fake_of(source)->kicks++;
}

static const struct vdb__source_ops ops = {
        .pending = pending,
        .serve = serve,
        .arm = arm,
        .kicked = kicked,
};

int fake_try(struct vdb_loop *loop, struct fake *fake, struct vdb_tenant *tenant, int fd)
{
	fake->source.ops = &ops;
	return vdb__source_add(loop, &fake->source, tenant, fd);
}

void fake_add(struct vdb_loop *loop, struct fake *fake, struct vdb_tenant *tenant, int kick)
{
	fake->kick_fd = kick ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : -1;
	if (fake->refill)
		fake->work = fake->refill;
	if (fake_try(loop, fake, tenant, fake->kick_fd))
		abort();
}

void fake_produce(struct fake *fake, uint64_t requests)
{
	(void)__atomic_fetch_add(&fake->work, requests, __ATOMIC_ACQ_REL);
	vdb__fence_full();
	if (vdb__load(&fake->armed) && vdb__exchange(&fake->armed, 0) && fake->kick_fd >= 0)
		fake_ring(fake);
}

void fake_ring(struct fake *fake)
{
	(void)eventfd_write(fake->kick_fd, 1);
}

static void gone(struct vdb__source *source)
{
	struct fake *fake = fake_of(source);

	if (fake->kick_fd >= 0)
		close(fake->kick_fd);
	fake->gone++;
}

void fake_remove(struct fake *fake)
{
	vdb__source_remove(&fake->source, gone);
}
