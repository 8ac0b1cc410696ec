/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <poll.h>
#include <string.h>
#include <vdb/error.h>

#include "arena.h"

void rig_open(struct rig *rig, const struct vdb_loop_config *config)
{
	struct vdb_loop_config own = config ? *config : test_loop_config();

	ck_assert_msg(vdb_loop_create(&own, &rig->loop) == 0, "%s", vdb_errmsg());
	ck_assert_int_ge(vdb_loop_fd(rig->loop), 0); /* rig_wait() sleeps on it */
	arena_begin_case(rig->loop);
}

void rig_close(struct rig *rig)
{
	arena_end_case(rig->loop);
	ck_assert_msg(vdb_loop_destroy(rig->loop) == 0, "%s", vdb_errmsg());
	rig->loop = NULL;
}

static void triggered(void *arg)
{
	struct rig_guest *guest = arg;

	guest->triggers++;
	if (guest->on_trigger)
		guest->on_trigger(guest);
}

static void broke(void *arg, uint32_t reason)
{
	struct rig_guest *guest = arg;

	guest->broken = reason;
}

static void gone(void *arg)
{
	struct rig_guest *guest = arg;

	guest->gone++;
}

static void make_lane(struct rig_guest *guest, const struct rig_guest_config *config)
{
	struct vdb_lane_config lane = config->lane;

	lane.size = sizeof(lane);
	lane.kick_fd = guest->m.kick;
	lane.broken = broke;
	lane.broken_arg = guest;
	if (config->by_fd) {
		lane.call_fd = guest->m.call;
	} else {
		lane.trigger = triggered;
		lane.trigger_arg = guest;
	}
	ck_assert_msg(
	        vdb_lane_create(guest->rig->loop, guest->m.queue, config->backend, &lane, &guest->lane) == 0,
	        "%s", vdb_errmsg());
	guest->m.queue = NULL;
}

void rig_plug(struct rig *rig, struct rig_guest *guest, const struct rig_guest_config *config)
{
	struct vdb_ring_config ring = {.gpa = RIG_RING,
	                               .sq_entries = config->entries ? config->entries : RIG_DEPTH,
	                               .max_segments = config->max_segments};

	memset(guest, 0, sizeof(*guest));
	guest->rig = rig;
	mock_ram_open(&guest->ram, 0, config->ram ? config->ram : RIG_RAM);
	mock_open(&guest->m, &guest->ram, &ring);
	make_lane(guest, config);
}

void rig_handshake(struct rig_guest *guest)
{
	int ready;

	vdb_guest_reset(&guest->m.g, VDB_F_EVENT_IDX | VDB_F_SG | VDB_F_MEMOPS);
	while ((ready = vdb_guest_poll_ready(&guest->m.g)) == 0)
		rig_wait(guest->rig);
	ck_assert_int_eq(ready, 1);
}

void rig_join(struct rig *rig, struct rig_guest *guest, const struct rig_guest_config *config)
{
	rig_plug(rig, guest, config);
	rig_handshake(guest);
}

void rig_leave(struct rig_guest *guest)
{
	vdb_lane_destroy(guest->lane, gone, guest);
	while (!guest->gone)
		rig_wait(guest->rig);
	mock_close(&guest->m);
	mock_ram_close(&guest->ram);
}

void rig_turns(struct rig *rig, unsigned n)
{
	while (n--)
		ck_assert_int_ge(vdb_loop_step(rig->loop), 0);
}

void rig_wait(struct rig *rig)
{
	struct pollfd pfd = {.fd = vdb_loop_fd(rig->loop), .events = POLLIN};
	int idle = vdb_loop_prepare(rig->loop);

	ck_assert_int_ge(idle, 0);
	if (idle)
		ck_assert_int_ge(poll(&pfd, 1, -1), 0);
	rig_turns(rig, 1);
}

struct vdb_lane_stats rig_stats(const struct rig_guest *guest)
{
	struct vdb_lane_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_lane_stats(guest->lane, &stats), 0);
	return stats;
}

struct vdb_cqe rig_reap(struct rig_guest *guest)
{
	struct vdb_cqe cqe;

	while (!vdb_guest_reap(&guest->m.g, &cqe))
		rig_wait(guest->rig);
	return cqe;
}

int32_t rig_do(struct rig_guest *guest, uint8_t op, vdb_gpa_t addr, uint32_t len, uint64_t offset)
{
	struct vdb_cqe cqe;

	ck_assert(mock_submit(&guest->m, op, addr, len, offset, 0xabcdef));
	cqe = rig_reap(guest);
	ck_assert_uint_eq(cqe.user_data, 0xabcdef);
	return cqe.result;
}

void rig_submit_sg(struct rig_guest *guest, uint8_t op, vdb_gpa_t table, const struct vdb_seg *segs,
                   uint16_t n, uint64_t offset, uint64_t user_data)
{
	struct vdb_sqe *sqe = vdb_guest_sqe(&guest->m.g);

	ck_assert_ptr_nonnull(sqe);
	memcpy(rig_at(guest, table), segs, n * sizeof(*segs));
	sqe->op = op;
	sqe->flags = VDB_SQE_SG;
	sqe->segments = n;
	sqe->len = 0;
	sqe->addr = table;
	sqe->offset = offset;
	sqe->user_data = user_data;
	(void)vdb_guest_submit(&guest->m.g);
}

void *rig_at(const struct rig_guest *guest, vdb_gpa_t gpa)
{
	return mock_at(&guest->ram, gpa);
}

/* ---- The backend that holds ---- */

static int hold_start(void *ctx, struct vdb_req *req)
{
	struct rig_hold *hold = ctx;

	ck_assert_uint_lt(hold->n, 256);
	hold->reqs[hold->n++] = req;
	return VDB_REQ_PENDING;
}

static void hold_destroy(void *ctx)
{
	struct rig_hold *hold = ctx;

	hold->destroyed++;
}

const struct vdb_backend_ops rig_hold_ops = {
        .size = sizeof(rig_hold_ops), .name = "hold", .start = hold_start, .destroy = hold_destroy};

struct vdb_backend *rig_hold_open(struct rig_hold *hold)
{
	static const struct vdb_backend_info info = {
	        .size = sizeof(info), .capacity = 1 << 30, .ops = 0x8000003eu};
	struct vdb_backend *backend = NULL;

	memset(hold, 0, sizeof(*hold));
	ck_assert_int_eq(vdb_backend_create(&rig_hold_ops, hold, &info, &backend), 0);
	return backend;
}

void rig_hold_end(struct rig_hold *hold, int32_t result, int byte)
{
	struct vdb_req *req = hold->reqs[0];

	ck_assert_uint_gt(hold->n, 0);
	memmove(hold->reqs, hold->reqs + 1, --hold->n * sizeof(hold->reqs[0]));
	for (uint32_t i = 0; req->op == VDB_OP_READ && i < req->niov; i++)
		memset(req->iov[i].iov_base, byte, req->iov[i].iov_len);
	vdb_req_complete(req, result);
}
