/* SPDX-License-Identifier: Apache-2.0 */
#include "crowd.h"

#include <stdlib.h>

#include "rig.h"

#define REQUEST_COST 65536u /* turns matter, not requests */
#define LARGE (128u * 1024)
#define SMALL 512u

struct member {
	struct rig_guest guest;
	uint32_t len; /* of its requests */
};

static bool greedy(unsigned vm)
{
	return vm % 2 == 0;
}

/* Takes what is complete and asks for as much again, and for an interrupt at the next. */
static void refill(struct rig_guest *guest)
{
	struct member *member = guest->user;
	struct vdb_guest *g = &guest->m.g;
	struct vdb_cqe cqe;

	do {
		while (vdb_guest_reap(g, &cqe))
			ck_assert_int_eq(cqe.result, (int32_t)member->len);
		while (mock_prepare(&guest->m, VDB_OP_READ, RIG_DATA, member->len, 0, 0))
			;
		(void)vdb_guest_submit(g);
	} while (vdb_guest_arm(g));
}

static void join(struct rig *rig, struct member *member, unsigned vm, struct vdb_backend *backend,
                 struct vdb_tenant *tenant)
{
	struct rig_guest_config config = {
	        .backend = backend,
	        .entries = greedy(vm) ? 1024 : 8,
	        .lane = {.tenant = tenant},
	};

	member->len = greedy(vm) ? LARGE : SMALL;
	rig_join(rig, &member->guest, &config);
	member->guest.user = member;
}

static uint64_t served(const struct vdb_tenant *tenant)
{
	struct vdb_tenant_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_tenant_stats(tenant, &stats), 0);
	return stats.bytes + stats.requests * REQUEST_COST;
}

static uint64_t spread(struct vdb_tenant *const *tenants, const uint64_t *start)
{
	uint64_t least = UINT64_MAX, most = 0, now;

	for (unsigned vm = 0; vm < CROWD_VMS; vm++) {
		now = served(tenants[vm]) - start[vm];
		least = now < least ? now : least;
		most = now > most ? now : most;
	}
	ck_assert_uint_gt(least, 0);
	return most - least;
}

uint64_t crowd_spread(unsigned turns)
{
	struct vdb_loop_config config = test_loop_config();
	unsigned members = CROWD_VMS + CROWD_RINGS - 1;
	struct member *all = calloc(members, sizeof(*all));
	struct vdb_tenant *tenants[CROWD_VMS];
	struct vdb_backend *backend;
	uint64_t start[CROWD_VMS], result;
	struct rig rig;

	ck_assert_ptr_nonnull(all);
	config.quantum = CROWD_QUANTUM;
	config.request_cost = REQUEST_COST;
	rig_open(&rig, &config);
	ck_assert_int_eq(vdb_backend_null(1 << 30, &backend), 0);
	for (unsigned vm = 0; vm < CROWD_VMS; vm++)
		ck_assert_int_eq(vdb_tenant_create(rig.loop, &tenants[vm]), 0);
	/* The first VM's rings come first, and it is a greedy one. */
	for (unsigned i = 0; i < members; i++) {
		unsigned vm = i < CROWD_RINGS ? 0 : i - CROWD_RINGS + 1;

		join(&rig, &all[i], vm, backend, tenants[vm]);
	}
	for (unsigned i = 0; i < members; i++) {
		all[i].guest.on_trigger = refill;
		refill(&all[i].guest);
	}
	rig_turns(&rig, 10);
	for (unsigned vm = 0; vm < CROWD_VMS; vm++)
		start[vm] = served(tenants[vm]);
	rig_turns(&rig, turns);
	result = spread(tenants, start);
	for (unsigned i = 0; i < members; i++)
		all[i].guest.on_trigger = NULL;
	for (unsigned i = 0; i < members; i++)
		rig_leave(&all[i].guest);
	for (unsigned vm = 0; vm < CROWD_VMS; vm++)
		vdb_tenant_destroy(tenants[vm]);
	vdb_backend_destroy(backend);
	rig_close(&rig);
	free(all);
	return result;
}
