/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Lanes that go from loop to loop while their guest goes on. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/gate.h>

#include "io/lane.h"
#include "leak.h"
#include "rig.h"
#include "run.h"

static struct rig a, b;
static struct rig_guest guest;
static struct rig_hold hold;
static struct vdb_backend *backend;

/* What a move has ended with, and where it was told. */
struct told {
	int count, status;
	struct vdb_loop *loop; /* where it should be told; NULL: wherever */
};

static void moved(void *arg, int status)
{
	struct told *told = arg;

	told->count++;
	told->status = status;
	if (told->loop)
		ck_assert_int_eq(vdb_loop_here(told->loop), 1);
}

static void gone(void *arg)
{
	++*(int *)arg;
}

static void setup(void)
{
	rig_open(&a, NULL);
	rig_open(&b, NULL);
	backend = rig_hold_open(&hold);
	rig_join(&a, &guest, &(struct rig_guest_config){.backend = backend});
}

/* Everything but the loops, which may be gone. */
static void teardown_guest(struct rig *where)
{
	guest.rig = where;
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	ck_assert_int_eq(hold.destroyed, 1);
}

static void teardown(struct rig *where)
{
	teardown_guest(where);
	rig_close(&a);
	rig_close(&b);
}

static void turn_both(unsigned n)
{
	while (n--) {
		rig_turns(&a, 1);
		rig_turns(&b, 1);
	}
}

static void move_to(struct rig *to, struct told *told)
{
	told->loop = to->loop;
	ck_assert_msg(vdb_lane_move(guest.lane, to->loop, NULL, moved, told) == 0, "%s", vdb_errmsg());
}

/* One request, there and back, on the loop that should have the lane. */
static void works_on(struct rig *rig)
{
	ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, 77));
	while (!hold.n)
		turn_both(1);
	ck_assert_uint_eq(hold.n, 1);
	ck_assert_ptr_eq(hold.reqs[0]->loop, rig->loop);
	rig_hold_end(&hold, 512, 3);
	guest.rig = rig;
	ck_assert_uint_eq(rig_reap(&guest).user_data, 77);
}

START_TEST(what_is_in_flight_ends_where_it_began)
{
	struct told told = {0};

	setup();
	for (unsigned i = 0; i < 2; i++)
		ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA + i * 512, 512, 0, i));
	RIG_UNTIL(&a, hold.n == 2);
	move_to(&b, &told);
	ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, 2));
	turn_both(10);
	ck_assert_int_eq(told.count, 0);
	ck_assert_uint_eq(hold.n, 2);
	ck_assert_ptr_eq(hold.reqs[0]->loop, a.loop);
	rig_hold_end(&hold, 512, 1);
	turn_both(5);
	ck_assert_int_eq(told.count, 0);
	mock_expect(&guest.m, 0, 512);
	rig_hold_end(&hold, 512, 1);
	/* Published by the loop that it came from. */
	rig_turns(&a, 2);
	mock_expect(&guest.m, 1, 512);
	while (!told.count)
		turn_both(1);
	ck_assert_int_eq(told.status, 0);
	RIG_UNTIL(&b, hold.n == 1);
	ck_assert_ptr_eq(hold.reqs[0]->loop, b.loop);
	rig_hold_end(&hold, 512, 1);
	rig_turns(&b, 2);
	mock_expect(&guest.m, 2, 512);
	works_on(&b);
	ck_assert_uint_eq(rig_stats(&guest).moves, 1);
	ck_assert_uint_eq(rig_stats(&guest).requests, 4);
	ck_assert_uint_eq(rig_stats(&guest).completions, 4);
	teardown(&b);
	ck_assert_int_eq(told.count, 1);
}
END_TEST

START_TEST(to_where_it_is)
{
	struct told told = {0};

	setup();
	ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, 1));
	RIG_UNTIL(&a, hold.n == 1);
	move_to(&a, &told);
	RIG_UNTIL(&a, told.count);
	ck_assert_int_eq(told.status, 0);
	ck_assert_uint_eq(rig_stats(&guest).moves, 0);
	rig_hold_end(&hold, 512, 1);
	rig_turns(&a, 2);
	mock_expect(&guest.m, 1, 512);
	teardown(&a);
}
END_TEST

START_TEST(back_and_forth)
{
	struct told told = {0};

	setup();
	for (unsigned i = 0; i < 200; i++) {
		struct rig *to = i % 2 ? &a : &b;

		move_to(to, &told);
		/* Before, while and after it goes. */
		if (i % 3 == 0)
			ck_assert(mock_submit(&guest.m, VDB_OP_NOP, 0, 0, 0, i));
		turn_both(i % 5);
		if (i % 3 == 1)
			ck_assert(mock_submit(&guest.m, VDB_OP_NOP, 0, 0, 0, i));
		while (told.count <= (int)i)
			turn_both(1);
		if (i % 3 == 2)
			ck_assert(mock_submit(&guest.m, VDB_OP_NOP, 0, 0, 0, i));
		ck_assert_int_eq(told.status, 0);
		guest.rig = to;
		ck_assert_uint_eq(rig_reap(&guest).user_data, i);
	}
	ck_assert_uint_eq(rig_stats(&guest).moves, 200);
	ck_assert_uint_eq(rig_stats(&guest).completions, 200);
	teardown(&a);
}
END_TEST

START_TEST(refused)
{
	struct vdb_backend_info info = {
	        .size = sizeof(info), .flags = VDB_BACKEND_FIXED, .capacity = 4096, .ops = 0x3e};
	struct vdb_tenant *tenant;
	struct told told = {0};

	setup();
	ck_assert_int_eq(vdb_lane_move(guest.lane, NULL, NULL, NULL, NULL), -EINVAL);
	ck_assert_int_eq(vdb_tenant_create(a.loop, &tenant), 0);
	ck_assert_int_eq(vdb_lane_move(guest.lane, b.loop, tenant, NULL, NULL), -EINVAL);
	vdb_tenant_destroy(tenant);
	move_to(&b, &told);
	ck_assert_int_eq(vdb_lane_move(guest.lane, a.loop, NULL, moved, &told), -EBUSY);
	turn_both(2);
	while (!told.count)
		turn_both(1);
	ck_assert_int_eq(told.status, 0);
	teardown_guest(&b);

	ck_assert_int_eq(vdb_backend_create(&rig_hold_ops, &hold, &info, &backend), 0);
	rig_join(&a, &guest, &(struct rig_guest_config){.backend = backend});
	ck_assert_int_eq(vdb_lane_move(guest.lane, b.loop, NULL, NULL, NULL), -EOPNOTSUPP);
	hold.destroyed = 0;
	teardown(&a);
}
END_TEST

START_TEST(destroyed_on_the_way)
{
	struct told told = {0};
	int done = 0;

	setup();
	ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, 1));
	RIG_UNTIL(&a, hold.n == 1);
	move_to(&b, &told);
	told.loop = NULL;
	rig_turns(&a, 2);
	vdb_lane_destroy(guest.lane, gone, &done);
	turn_both(3);
	ck_assert_int_eq(done, 0);
	rig_hold_end(&hold, 512, 1);
	RIG_UNTIL(&a, done);
	ck_assert_int_eq(told.count, 1);
	ck_assert_int_eq(told.status, -ECANCELED);
	mock_expect(&guest.m, 1, 512);
	mock_close(&guest.m);
	mock_ram_close(&guest.ram);
	vdb_backend_destroy(backend);
	rig_close(&a);
	rig_close(&b);
}
END_TEST

/* At every moment between the asking and the arrival. */
START_TEST(destroyed_at_each_step)
{
	for (unsigned step = 0; step < 8; step++) {
		struct told told = {0};
		int done = 0;

		setup();
		move_to(&b, &told);
		told.loop = NULL;
		for (unsigned i = 0; i < step; i++)
			rig_turns(i < 5 ? &a : &b, 1);
		vdb_lane_destroy(guest.lane, gone, &done);
		while (!done)
			turn_both(1);
		ck_assert_int_eq(told.count, 1);
		ck_assert(told.status == 0 || told.status == -ECANCELED);
		mock_close(&guest.m);
		mock_ram_close(&guest.ram);
		vdb_backend_destroy(backend);
		rig_close(&a);
		rig_close(&b);
	}
}
END_TEST

/* ---- Loops that end meanwhile ---- */

START_TEST(the_other_loop_ends_first)
{
	struct told told = {0};

	setup();
	ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, 1));
	RIG_UNTIL(&a, hold.n == 1);
	move_to(&b, &told);
	told.loop = a.loop;
	rig_turns(&a, 2);
	rig_close(&b);
	rig_hold_end(&hold, 512, 1);
	RIG_UNTIL(&a, told.count);
	ck_assert_int_eq(told.status, -ESHUTDOWN);
	mock_expect(&guest.m, 1, 512);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_NOP, 0, 0, 0), 0);
	ck_assert_uint_eq(rig_stats(&guest).moves, 0);
	teardown_guest(&a);
	rig_close(&a);
}
END_TEST

/* It is the other's already, but has not been seen there. */
START_TEST(the_other_loop_never_runs)
{
	struct vdb_tenant *shared;
	struct told told = {0};

	setup();
	teardown_guest(&a);
	backend = rig_hold_open(&hold);
	ck_assert_int_eq(vdb_tenant_create(a.loop, &shared), 0);
	rig_join(&a, &guest, &(struct rig_guest_config){.backend = backend, .lane.tenant = shared});
	move_to(&b, &told);
	told.loop = a.loop;
	rig_turns(&a, 10);
	ck_assert_ptr_eq(guest.lane->loop, b.loop);
	ck_assert(mock_submit(&guest.m, VDB_OP_NOP, 0, 0, 0, 1));
	rig_close(&b);
	RIG_UNTIL(&a, told.count);
	ck_assert_int_eq(told.status, -ESHUTDOWN);
	ck_assert_ptr_eq(guest.lane->tenant, shared);
	ck_assert_uint_eq(rig_reap(&guest).user_data, 1);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_NOP, 0, 0, 0), 0);
	vdb_tenant_destroy(shared);
	teardown_guest(&a);
	rig_close(&a);
}
END_TEST

START_TEST(its_own_loop_ends_first)
{
	struct told told = {0};

	setup();
	ck_assert(mock_submit(&guest.m, VDB_OP_NOP, 0, 0, 0, 1));
	move_to(&b, &told);
	rig_close(&a);
	RIG_UNTIL(&b, told.count);
	ck_assert_int_eq(told.status, 0);
	guest.rig = &b;
	ck_assert_uint_eq(rig_reap(&guest).user_data, 1);
	teardown_guest(&b);
	rig_close(&b);
}
END_TEST

START_TEST(both_loops_end)
{
	for (int first = 0; first < 2; first++) {
		struct told told = {0};
		int done = 0;

		setup();
		move_to(&b, &told);
		told.loop = NULL;
		rig_turns(&a, first ? 10 : 0);
		rig_close(first ? &b : &a);
		rig_close(first ? &a : &b);
		ck_assert_int_eq(told.count, 1);
		ck_assert_int_eq(told.status, -ECANCELED);
		ck_assert_int_eq(vdb_lane_move(guest.lane, NULL, NULL, moved, &told), -EINVAL);
		vdb_lane_kick(guest.lane);
		vdb_lane_destroy(guest.lane, gone, &done);
		ck_assert_int_eq(done, 1);
		mock_close(&guest.m);
		mock_ram_close(&guest.ram);
		vdb_backend_destroy(backend);
	}
}
END_TEST

START_TEST(a_lane_whose_loop_has_ended)
{
	struct told told = {0};

	setup();
	rig_close(&a);
	ck_assert_int_eq(vdb_lane_move(guest.lane, b.loop, NULL, moved, &told), -ECANCELED);
	ck_assert_int_eq(vdb_lane_move(guest.lane, b.loop, NULL, moved, &told), -ECANCELED);
	ck_assert_int_eq(told.count, 0);
	vdb_lane_destroy(guest.lane, NULL, NULL);
	mock_close(&guest.m);
	mock_ram_close(&guest.ram);
	vdb_backend_destroy(backend);
	rig_close(&b);
}
END_TEST

/* ---- What happens meanwhile ---- */

START_TEST(bells_and_kicks_while_nobody_has_it)
{
	struct told told = {0};
	uint64_t kicks;

	setup();
	rig_turns(&a, 5);
	move_to(&b, &told);
	rig_turns(&a, 10); /* b has it, and does not know */
	ck_assert(mock_submit(&guest.m, VDB_OP_NOP, 0, 0, 0, 1));
	kicks = rig_stats(&guest).kicks;
	vdb_lane_kick(guest.lane);
	rig_turns(&a, 10);
	ck_assert_int_eq(told.count, 0);
	guest.rig = &b;
	ck_assert_uint_eq(rig_reap(&guest).user_data, 1);
	ck_assert_int_eq(told.count, 1);
	ck_assert_uint_gt(rig_stats(&guest).kicks, kicks);
	teardown(&b);
}
END_TEST

START_TEST(inline_work_is_gone_on_with)
{
	struct told told = {0};

	setup();
	ck_assert(mock_submit(&guest.m, VDB_OP_FILL, RIG_DATA, 1 << 20, 6, 1));
	rig_turns(&a, 1);
	move_to(&b, &told);
	while (!told.count)
		turn_both(1);
	ck_assert_int_eq(told.status, 0);
	mock_expect(&guest.m, 1, 0);
	for (unsigned i = 0; i < 1 << 20; i += 4096)
		ck_assert_uint_eq(*(uint8_t *)rig_at(&guest, RIG_DATA + i), 6);
	teardown(&b);
}
END_TEST

START_TEST(the_guest_resets_its_ring_meanwhile)
{
	struct told told = {0};

	setup();
	ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, 1));
	RIG_UNTIL(&a, hold.n == 1);
	move_to(&b, &told);
	rig_turns(&a, 2);
	vdb_guest_reset(&guest.m.g, VDB_F_EVENT_IDX);
	turn_both(5);
	rig_hold_end(&hold, 512, 1);
	while (!told.count)
		turn_both(1);
	guest.rig = &b;
	rig_handshake(&guest);
	works_on(&b);
	teardown(&b);
}
END_TEST

START_TEST(the_map_changes_meanwhile)
{
	struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = 1 << 30, .len = 1 << 16, .backing = VDB_MEM_ANON};
	struct told told = {0};
	int removed = 0;

	setup();
	for (unsigned i = 0; i < 20; i++) {
		move_to(i % 2 ? &a : &b, &told);
		turn_both(i / 4);
		ck_assert_int_eq(vdb_mem_add(guest.ram.mem, &region), 0);
		turn_both(i % 4);
		ck_assert_int_eq(vdb_mem_remove(guest.ram.mem, region.gpa, gone, &removed), 0);
		while (told.count <= (int)i || removed <= (int)i)
			turn_both(1);
		ck_assert_int_eq(told.status, 0);
		works_on(i % 2 ? &a : &b);
	}
	teardown(&a);
}
END_TEST

START_TEST(tenants)
{
	struct vdb_tenant *there, *own = NULL;
	struct vdb_tenant_stats stats = {.size = sizeof(stats)};
	struct told told = {0};

	setup();
	works_on(&a);
	own = guest.lane->tenant;
	move_to(&b, &told);
	while (told.count < 1)
		turn_both(1);
	/* Its own goes along. */
	ck_assert_ptr_eq(guest.lane->tenant, own);
	works_on(&b);
	ck_assert_int_eq(vdb_tenant_stats(own, &stats), 0);
	ck_assert_uint_eq(stats.requests, 2);
	/* One that is given. */
	ck_assert_int_eq(vdb_tenant_create(a.loop, &there), 0);
	told.loop = a.loop;
	ck_assert_int_eq(vdb_lane_move(guest.lane, a.loop, there, moved, &told), 0);
	while (told.count < 2)
		turn_both(1);
	ck_assert_ptr_eq(guest.lane->tenant, there);
	works_on(&a);
	ck_assert_int_eq(vdb_tenant_stats(there, &stats), 0);
	ck_assert_uint_eq(stats.requests, 1);
	/* It is shared: a new one. */
	move_to(&b, &told);
	while (told.count < 3)
		turn_both(1);
	ck_assert_ptr_ne(guest.lane->tenant, there);
	works_on(&b);
	/* Another one on the same loop. */
	vdb_tenant_destroy(there);
	ck_assert_int_eq(vdb_tenant_create(b.loop, &there), 0);
	told.loop = b.loop;
	ck_assert_int_eq(vdb_lane_move(guest.lane, b.loop, there, moved, &told), 0);
	while (told.count < 4)
		turn_both(1);
	ck_assert_ptr_eq(guest.lane->tenant, there);
	works_on(&b);
	vdb_tenant_destroy(there);
	teardown(&b);
	ck_assert_int_eq(told.status, 0);
}
END_TEST

START_TEST(it_leaves_nothing_behind)
{
	int fds = leak_fds();

	setup();
	teardown(&a);
	ck_assert_int_eq(leak_fds(), fds);
}
END_TEST

/* ---- Threads ---- */

static void crossed(void *arg, int status)
{
	struct vdb_gate *gate = arg;

	vdb_gate_open(gate, status);
	vdb_gate_unref(gate);
}

static int64_t move_and_wait(struct vdb_lane *lane, struct vdb_loop *to)
{
	struct vdb_gate *gate;
	int64_t status;

	ck_assert_int_eq(vdb_gate_create(&gate), 0);
	ck_assert_msg(vdb_lane_move(lane, to, NULL, crossed, vdb_gate_ref(gate)) == 0, "%s", vdb_errmsg());
	ck_assert_int_eq(vdb_gate_wait(gate, -1, &status), 0);
	vdb_gate_unref(gate);
	return status;
}

static uint32_t stop;

static void *kicks(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		vdb_lane_kick(guest.lane);
		usleep(50);
	}
	return arg;
}

#define CROSSINGS 300

static void *moves(void *arg)
{
	for (int i = 0; i < CROSSINGS; i++)
		ck_assert_int_eq(move_and_wait(guest.lane, i % 2 ? a.loop : b.loop), 0);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	return arg;
}

static void start_both(void)
{
	ck_assert_int_eq(vdb_loop_start(a.loop, -1, "a"), 0);
	ck_assert_int_eq(vdb_loop_start(b.loop, -1, "b"), 0);
}

static void stop_both(void)
{
	ck_assert_int_eq(vdb_loop_join(a.loop), 0);
	ck_assert_int_eq(vdb_loop_join(b.loop), 0);
}

#define UNDER_WAY 16
#define BLOCKS (2 * UNDER_WAY)

/* Every request is one block more, of a value of its own; whoever waits for it leaves its buffer alone. */
static bool send(uint64_t n)
{
	uint64_t block = n % BLOCKS;

	memset(rig_at(&guest, RIG_DATA + block * 512), (int)(n / BLOCKS), 512);
	return mock_submit(&guest.m, VDB_OP_WRITE, RIG_DATA + block * 512, 512, block * 512, n);
}

/* None lost, none twice, none out of order: a memory disk answers at once. */
static uint64_t receive(uint64_t got)
{
	struct vdb_cqe cqe;

	while (vdb_guest_reap(&guest.m.g, &cqe)) {
		ck_assert_int_eq(cqe.result, 512);
		ck_assert_uint_eq(cqe.user_data, got++);
	}
	return got;
}

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_ACQUIRE);
}

static void check_counters(uint64_t sent)
{
	struct vdb_lane_stats stats = rig_stats(&guest);

	ck_assert_uint_eq(stats.requests, sent);
	ck_assert_uint_eq(stats.completions, sent);
	ck_assert_uint_eq(stats.bytes_written, sent * 512);
	ck_assert_uint_eq(stats.moves, CROSSINGS);
	ck_assert_uint_eq(stats.errors, 0);
}

START_TEST(io_goes_on)
{
	static uint8_t disk[BLOCKS * 512];
	uint64_t sent = 0, got = 0;
	pthread_t mover, kicker;

	rig_open(&a, NULL);
	rig_open(&b, NULL);
	ck_assert_int_eq(vdb_backend_memory(disk, sizeof(disk), &backend), 0);
	rig_plug(&a, &guest, &(struct rig_guest_config){.backend = backend, .by_fd = 1});
	start_both();
	mock_wait_ready(&guest.m, VDB_F_EVENT_IDX);
	ck_assert_int_eq(pthread_create(&mover, NULL, moves, NULL), 0);
	ck_assert_int_eq(pthread_create(&kicker, NULL, kicks, NULL), 0);
	while (!stopped() || got < sent || sent < BLOCKS) {
		if (sent - got < UNDER_WAY && (!stopped() || sent < BLOCKS))
			sent += send(sent);
		got = receive(got);
	}
	pthread_join(mover, NULL);
	pthread_join(kicker, NULL);
	stop_both();
	check_counters(sent);
	for (uint64_t n = sent - BLOCKS; n < sent; n++)
		ck_assert_uint_eq(disk[n % BLOCKS * 512 + 511], n / BLOCKS % 256);
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&a);
	rig_close(&b);
}
END_TEST

static void ended(void *arg)
{
	crossed(arg, 0);
}

/* Moved by one thread, destroyed by another, both at any moment. */
START_TEST(destroyed_by_another_thread)
{
	struct vdb_gate *gates[2];
	int64_t status;

	rig_open(&a, NULL);
	rig_open(&b, NULL);
	start_both();
	for (int i = 0; i < 100; i++) {
		backend = rig_hold_open(&hold);
		rig_plug(&a, &guest, &(struct rig_guest_config){.backend = backend, .by_fd = 1});
		ck_assert_int_eq(vdb_gate_create(&gates[0]), 0);
		ck_assert_int_eq(vdb_gate_create(&gates[1]), 0);
		ck_assert_int_eq(vdb_lane_move(guest.lane, b.loop, NULL, crossed, vdb_gate_ref(gates[0])), 0);
		usleep((useconds_t)(i * 7 % 100));
		vdb_lane_destroy(guest.lane, ended, vdb_gate_ref(gates[1]));
		ck_assert_int_eq(vdb_gate_wait(gates[1], -1, &status), 0);
		ck_assert_int_eq(vdb_gate_peek(gates[0], &status), 1);
		ck_assert(status == 0 || status == -ECANCELED);
		vdb_gate_unref(gates[0]);
		vdb_gate_unref(gates[1]);
		vdb_backend_destroy(backend);
		ck_assert_int_eq(hold.destroyed, 1);
		mock_close(&guest.m);
		mock_ram_close(&guest.ram);
	}
	stop_both();
	rig_close(&a);
	rig_close(&b);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("move");

	tcase_set_timeout(tc, 100);
	tcase_add_test(tc, what_is_in_flight_ends_where_it_began);
	tcase_add_test(tc, to_where_it_is);
	tcase_add_test(tc, back_and_forth);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, destroyed_on_the_way);
	tcase_add_test(tc, destroyed_at_each_step);
	tcase_add_test(tc, the_other_loop_ends_first);
	tcase_add_test(tc, the_other_loop_never_runs);
	tcase_add_test(tc, its_own_loop_ends_first);
	tcase_add_test(tc, both_loops_end);
	tcase_add_test(tc, a_lane_whose_loop_has_ended);
	tcase_add_test(tc, bells_and_kicks_while_nobody_has_it);
	tcase_add_test(tc, inline_work_is_gone_on_with);
	tcase_add_test(tc, the_guest_resets_its_ring_meanwhile);
	tcase_add_test(tc, the_map_changes_meanwhile);
	tcase_add_test(tc, tenants);
	tcase_add_test(tc, it_leaves_nothing_behind);
	tcase_add_test(tc, io_goes_on);
	tcase_add_test(tc, destroyed_by_another_thread);
	return test_run("lane_move", tc);
}
