/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/*
 * G67, G75: a guest that floods transmit, and an outside that floods receive, beside a bystander's disk on
 * the same loop: between the bystander's request and its service everybody else gets at most one budget.
 */
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vdb/error.h>

#include "arena.h"
#include "net/pair.h"
#include "queue/chain.h"
#include "rig.h"
#include "run.h"
#include "virtq_driver.h"

#define QUANTUM (256u << 10)
#define REQUEST_COST 4096u
#define ENTRIES 256u
#define QUEUE_RAM 0x100000u /* of one queue: areas, buffers behind them */
#define QUEUE_BUFFERS 0x10000u
#define BUFFER 2048u
#define FRAME (VDB_NET_HDR + 64u)
#define ROUNDS 300
#define BYSTANDER 4096u

struct end {
	struct virtq_driver d;
	struct vdb_lane *lane;
	int kick, gone;
	uint32_t len; /* of what it offers */
	bool write;
	vdb_gpa_t buffers;
	uint64_t done;
};

static struct {
	struct rig rig;
	struct mock_ram ram;
	struct vdb__net net;
	struct vdb_netdev *netdev;
	struct vdb_net_pair *pair;
	struct end ends[VDB__NET_WAYS];
	struct rig_guest bystander;
	struct vdb_backend *disk;
	/* The outside: always has another packet, of this length. */
	struct vdb_net_pair *open;
	uint32_t rx_len;
} t;

/* ---- The outside ---- */

static int outside_open(void *ctx, uint32_t index, struct vdb_net_pair *pair, struct vdb_loop *loop)
{
	(void)ctx, (void)index, (void)loop;
	t.open = pair;
	if (t.rx_len)
		vdb_net_wake(pair, VDB_NET_ROOMS);
	return 0;
}

static void outside_close(void *ctx, uint32_t index)
{
	(void)ctx, (void)index;
	t.open = NULL;
}

static int outside_transmit(void *ctx, uint32_t index, struct vdb_req *packet)
{
	(void)ctx, (void)index, (void)packet;
	return VDB_REQ_DONE;
}

static void outside_receive(void *ctx, uint32_t index)
{
	struct vdb_net_room *room;

	(void)ctx, (void)index;
	while (t.rx_len && !vdb_net_take(t.open, t.rx_len, &room))
		vdb_net_deliver(room, t.rx_len);
	vdb_net_wake(t.open, t.rx_len ? VDB_NET_ROOMS : 0);
}

static void make_netdev(void)
{
	static const struct vdb_netdev_ops ops = {.size = sizeof(ops),
	                                          .name = "outside",
	                                          .open = outside_open,
	                                          .close = outside_close,
	                                          .transmit = outside_transmit,
	                                          .receive = outside_receive};
	static const struct vdb_netdev_info info = {.size = sizeof(info)};

	ck_assert_int_eq(vdb_netdev_create(&ops, NULL, &info, &t.netdev), 0);
}

/* ---- The guest's two queues, each a tenant of its own ---- */

static void ring_bell(void *arg)
{
	uint64_t one = 1;

	ck_assert_int_eq(write(((struct end *)arg)->kick, &one, sizeof(one)), sizeof(one));
}

static void gone(void *arg)
{
	((struct end *)arg)->gone++;
}

static void failed(void *arg, uint32_t queue)
{
	(void)arg;
	ck_abort_msg("queue %u has failed", queue);
}

static void triggered(void *arg)
{
	(void)arg;
}

static void open_end(struct end *end, unsigned way)
{
	const struct vdb_virtq_config virtq = {.size = sizeof(virtq),
	                                       .entries = ENTRIES,
	                                       .flags = VDB_VIRTQ_EVENT_IDX,
	                                       .desc = (vdb_gpa_t)way * QUEUE_RAM};
	struct vdb_lane_config lane = {
	        .size = sizeof(lane), .max_inflight = ENTRIES, .trigger = triggered, .trigger_arg = end};
	struct vdb_queue *queue = NULL;

	virtq_driver_open(&end->d, &t.ram, &virtq);
	end->d.bell = ring_bell;
	end->d.bell_arg = end;
	end->write = way == VDB__NET_RX;
	end->len = end->write ? BUFFER : FRAME;
	end->buffers = virtq.desc + QUEUE_BUFFERS;
	lane.kick_fd = end->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert_int_ge(end->kick, 0);
	ck_assert_int_eq(vdb__virtq_create(t.ram.mem, &end->d.config, &vdb__framing_plain, NULL, &queue), 0);
	ck_assert_msg(vdb_lane_create(t.rig.loop, queue, t.pair->backends[way], &lane, &end->lane) == 0, "%s",
	              vdb_errmsg());
}

static void close_end(struct end *end)
{
	vdb_lane_destroy(end->lane, gone, end);
	while (!end->gone)
		rig_wait(&t.rig);
	virtq_driver_close(&end->d);
	close(end->kick);
}

/* What was used is offered again: a driver that is never idle. */
static void refill(struct end *end)
{
	static uint32_t next;
	uint64_t cookie;
	uint32_t len;

	while (virtq_reap(&end->d, &cookie, &len))
		end->done++;
	while (end->d.room) {
		const struct virtq_buf buf = {.gpa = end->buffers + next++ % ENTRIES * BUFFER,
		                              .len = end->len,
		                              .write = end->write};

		ck_assert(virtq_add(&end->d, &buf, 1, 0));
	}
	(void)virtq_publish(&end->d);
}

/* ---- All together ---- */

static void setup(void)
{
	memset(&t, 0, sizeof(t));
	rig_open(&t.rig, NULL);
	mock_ram_open(&t.ram, 0, VDB__NET_WAYS * QUEUE_RAM);
	make_netdev();
	t.net = (struct vdb__net){.netdev = t.netdev,
	                          .in_use = 1,
	                          .mergeable = true,
	                          .longest = BUFFER,
	                          .usual = BUFFER,
	                          .failed = failed};
	vdb__net_filter_reset(&t.net.filter, 0);
	ck_assert_int_eq(vdb__net_pair_make(&t.net, 0, &t.pair), 0);
	ck_assert_int_eq(vdb_backend_null(1 << 20, &t.disk), 0);
	rig_join(&t.rig, &t.bystander, &(struct rig_guest_config){.backend = t.disk});
}

static void teardown(void)
{
	t.rx_len = 0;
	for (unsigned way = 0; way < VDB__NET_WAYS; way++)
		close_end(&t.ends[way]);
	rig_leave(&t.bystander);
	vdb_backend_destroy(t.disk);
	vdb__net_pair_drop(t.pair);
	vdb_netdev_destroy(t.netdev);
	rig_close(&t.rig);
	mock_ram_close(&t.ram);
}

static uint64_t served(void)
{
	struct vdb_loop_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_loop_stats(t.rig.loop, &stats), 0);
	return stats.served;
}

/* What everybody else was served between the moment when the loop knew of the request, and its completion. */
static uint64_t beside_one_request(void)
{
	struct vdb_cqe cqe;
	uint64_t before = 0;
	unsigned turns = 0;

	ck_assert(mock_submit(&t.bystander.m, VDB_OP_READ, RIG_DATA, BYSTANDER, 0, 1));
	while (!vdb_guest_reap(&t.bystander.m.g, &cqe)) {
		before = served();
		rig_turns(&t.rig, 1);
		/* The first turn's bells are seen when it begins or, of one that goes on, ends. */
		ck_assert_uint_le(++turns, 2);
	}
	ck_assert_int_eq(cqe.result, (int32_t)BYSTANDER);
	return served() - before - BYSTANDER - REQUEST_COST;
}

static void check_floods(bool tx, uint32_t rx_len)
{
	uint64_t most = 0, sum = 0, cost;
	const unsigned floods = (unsigned)tx + (rx_len != 0);
	/* A budget is overdrawn by the last request at most; what lands in buffers is known only then. */
	const uint64_t bound =
	        floods * (QUANTUM + REQUEST_COST + BUFFER) + (rx_len ? VDB_NET_ROOMS * rx_len : 0);

	arena_spare("all that the loop serves is counted, beside a neighbour of its own");
	t.rx_len = rx_len;
	for (unsigned way = 0; way < VDB__NET_WAYS; way++)
		open_end(&t.ends[way], way);
	rig_turns(&t.rig, 4);
	for (int i = 0; i < ROUNDS; i++) {
		if (tx)
			refill(&t.ends[VDB__NET_TX]);
		if (rx_len)
			refill(&t.ends[VDB__NET_RX]);
		cost = beside_one_request();
		sum += cost;
		most = cost > most ? cost : most;
	}
	ck_assert_msg(most <= bound, "%llu were served between a request and its end, not %llu at most",
	              (unsigned long long)most, (unsigned long long)bound);
	/* It was a flood: half of what it may have. */
	ck_assert_uint_ge(sum, (uint64_t)floods * ROUNDS * QUANTUM / 2);
}

START_TEST(g66_beside_a_guest_that_floods_transmit)
{
	check_floods(true, 0);
}
END_TEST

START_TEST(g67_beside_an_outside_that_floods_receive)
{
	check_floods(false, FRAME);
}
END_TEST

START_TEST(g67_beside_floods_both_ways)
{
	check_floods(true, FRAME);
}
END_TEST

START_TEST(g67_beside_floods_of_long_packets)
{
	check_floods(true, BUFFER);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("net_fair");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, g66_beside_a_guest_that_floods_transmit);
	tcase_add_test(tc, g67_beside_an_outside_that_floods_receive);
	tcase_add_test(tc, g67_beside_floods_both_ways);
	tcase_add_test(tc, g67_beside_floods_of_long_packets);
	return test_run("net_fair", tc);
}
