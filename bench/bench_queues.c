/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the loop's side of a request costs, by the kind of queue it comes through: the driver fills
 * the queue with 32 requests, the loop takes a turn, all on one thread and without a VM. Behind
 * the lane is the null backend, so that this is pop, check, map, complete, publish, and a
 * turn's share. The driver's own work is not counted.
 */
#include <endian.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bench.h"
#include "mock.h"
#include "virtio/blk.h"
#include "virtq_driver.h"

#define BATCH 32u
#define ENTRIES 256u
#define QUEUE 0x10000u
#define TABLES 0x40000u
#define DATA 0x100000u
#define RAM (8u << 20)

struct setup {
	uint32_t flags; /* VDB_VIRTQ_* */
	uint32_t bufs;  /* 1: the data; 3: header, data, status */
	bool ring;
	bool blk;         /* chains are requests of virtio-blk */
	uint32_t regions; /* of the data; 0: it lies with the rest. A power of two */
};

struct bench {
	struct mock_ram ram;
	struct mock m;
	struct virtq_driver d;
	struct vdb_loop *loop;
	struct vdb_lane *lane;
	struct vdb_backend *backend;
	struct vdb__blk *blk;
	const struct setup *setup;
	int kick;
};

static const struct setup setups[] = {
        {.ring = true},
        {.flags = VDB_VIRTQ_EVENT_IDX, .bufs = 1},
        {.flags = VDB_VIRTQ_EVENT_IDX | VDB_VIRTQ_PACKED, .bufs = 1},
        {.flags = VDB_VIRTQ_EVENT_IDX, .bufs = 3},
        {.flags = VDB_VIRTQ_EVENT_IDX | VDB_VIRTQ_PACKED, .bufs = 3},
        {.flags = VDB_VIRTQ_EVENT_IDX | VDB_VIRTQ_INDIRECT, .bufs = 3},
        {.flags = VDB_VIRTQ_EVENT_IDX | VDB_VIRTQ_PACKED | VDB_VIRTQ_INDIRECT, .bufs = 3},
        {.flags = VDB_VIRTQ_EVENT_IDX, .bufs = 3, .blk = true},
        {.flags = VDB_VIRTQ_EVENT_IDX | VDB_VIRTQ_PACKED, .bufs = 3, .blk = true},
        {.flags = VDB_VIRTQ_EVENT_IDX | VDB_VIRTQ_INDIRECT, .bufs = 3, .blk = true},
        {.flags = VDB_VIRTQ_EVENT_IDX | VDB_VIRTQ_PACKED | VDB_VIRTQ_INDIRECT, .bufs = 3, .blk = true},
        {.ring = true, .regions = 2},
        {.ring = true, .regions = 256},
};

static void step(struct bench *b)
{
	int rc = vdb_loop_step(b->loop);

	bench_must(rc);
}

static void kick(void *arg)
{
	const struct bench *b = arg;
	uint64_t one = 1;

	if (write(b->kick, &one, sizeof(one)) != sizeof(one))
		bench_die(BENCH_FAILED, "cannot ring");
}

static struct vdb_queue *make_ring(struct bench *b)
{
	struct vdb_queue *queue;

	mock_open(&b->m, &b->ram, &(struct vdb_ring_config){.gpa = QUEUE, .sq_entries = ENTRIES});
	queue = b->m.queue;
	b->m.queue = NULL;
	b->kick = dup(b->m.kick);
	return queue;
}

/* The framing of virtio-blk without its device. */
static void make_blk(struct bench *b)
{
	static const struct vdb_virtio_config at = {.size = sizeof(at)};
	struct vdb_blk_config config = {.size = sizeof(config), .backend = b->backend, .at = &at};

	bench_must(vdb__blk_make(&config, &b->blk));
	bench_must(vdb__blk_ops.negotiate(b->blk, b->blk->offered));
}

static struct vdb_queue *make_virtq(struct bench *b)
{
	struct vdb_queue *queue = NULL;

	virtq_driver_open(
	        &b->d, &b->ram,
	        &(struct vdb_virtq_config){.entries = ENTRIES, .flags = b->setup->flags, .desc = QUEUE});
	if (b->setup->blk) {
		make_blk(b);
		bench_must(vdb__virtq_create(b->ram.mem, &b->d.config, &vdb__blk_framing, b->blk, &queue));
	} else {
		bench_must(vdb_virtq_create(b->ram.mem, &b->d.config, &queue));
	}
	b->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	b->d.bell = kick;
	b->d.bell_arg = b;
	return queue;
}

#define FAR 0x100000000ull /* gpa of the first region of the data, if it has its own */
#define FAR_STEP 0x100000ull

/* Each of a batch's buffers in another region than the one before it: no last hit is one. */
static vdb_gpa_t data_at(const struct bench *b, uint32_t i)
{
	uint32_t regions = b->setup->regions;

	return regions ? FAR + (i * 37u & (regions - 1)) * FAR_STEP : DATA + i * 8192ull;
}

static void add_regions(struct bench *b)
{
	struct vdb_region_config region = {.size = sizeof(region), .len = 4096};

	for (uint32_t i = 0; i < b->setup->regions; i++) {
		region.gpa = FAR + i * FAR_STEP;
		bench_must(vdb_mem_add(b->ram.mem, &region));
	}
}

static void start(struct bench *b)
{
	struct vdb_loop_config loop = {.size = sizeof(loop)};
	struct vdb_lane_config lane = {.size = sizeof(lane)};
	struct vdb_queue *queue;

	mock_ram_open(&b->ram, 0, RAM);
	add_regions(b);
	bench_must(vdb_loop_create(&loop, &b->loop));
	bench_must(vdb_loop_fd(b->loop));
	bench_must(vdb_backend_null(1ull << 40, &b->backend));
	queue = b->setup->ring ? make_ring(b) : make_virtq(b);
	lane.kick_fd = b->kick;
	bench_must(vdb_lane_create(b->loop, queue, b->backend, &lane, &b->lane));
	step(b);
	if (!b->setup->ring)
		return;
	vdb_guest_reset(&b->m.g, VDB_F_EVENT_IDX);
	while (!vdb_guest_poll_ready(&b->m.g))
		step(b);
}

static void gone(void *arg)
{
	*(bool *)arg = true;
}

static void end(struct bench *b)
{
	bool is_gone = false;

	vdb_lane_destroy(b->lane, gone, &is_gone);
	while (!is_gone)
		step(b);
	if (b->setup->ring)
		mock_close(&b->m);
	else
		virtq_driver_close(&b->d);
	if (b->blk)
		vdb__blk_free(b->blk);
	vdb_backend_destroy(b->backend);
	bench_must(vdb_loop_destroy(b->loop));
	close(b->kick);
	mock_ram_close(&b->ram);
}

static void submit_virtq(struct bench *b, uint32_t i)
{
	vdb_gpa_t slot = DATA + i * 8192ull;
	const struct virtq_buf bufs[3] = {
	        {slot + 4096, 16, false}, {slot, 4096, true}, {slot + 5000, 1, true}};
	const struct virtio_blk_outhdr header = {.type = htole32(VIRTIO_BLK_T_IN),
	                                         .sector = htole64(i * 8ull)};
	bool ok;

	if (b->setup->blk)
		memcpy(mock_at(&b->ram, bufs[0].gpa), &header, sizeof(header));
	if (b->setup->flags & VDB_VIRTQ_INDIRECT)
		ok = virtq_add_indirect(&b->d, TABLES + i * 64ull, bufs, 3, i);
	else
		ok = virtq_add(&b->d, b->setup->bufs == 1 ? bufs + 1 : bufs, b->setup->bufs, i);
	if (!ok)
		bench_die(BENCH_FAILED, "no room");
}

static void submit(struct bench *b)
{
	for (uint32_t i = 0; i < BATCH; i++) {
		if (!b->setup->ring)
			submit_virtq(b, i);
		else if (!mock_prepare(&b->m, VDB_OP_READ, data_at(b, i), 4096, i * 4096ull, i))
			bench_die(BENCH_FAILED, "no room");
	}
	if (b->setup->ring)
		(void)vdb_guest_submit(&b->m.g);
	else
		(void)virtq_publish(&b->d);
}

static uint32_t reap(struct bench *b)
{
	struct vdb_cqe cqe;
	uint64_t cookie;
	uint32_t n = 0, len;

	while (b->setup->ring ? vdb_guest_reap(&b->m.g, &cqe) : virtq_reap(&b->d, &cookie, &len))
		n++;
	return n;
}

/* What bench/instructions has callgrind look at; the name is known there. */
__attribute__((noinline)) static void measured_step(struct bench *b)
{
	step(b);
	__asm__ __volatile__("" ::: "memory");
}

/* One batch; the ticks that the loop took. */
static uint64_t turn(struct bench *b)
{
	uint64_t ticks = 0, before;
	uint32_t n = 0;

	submit(b);
	while (n < BATCH) {
		before = bench_tsc();
		measured_step(b);
		ticks += bench_tsc() - before;
		n += reap(b);
	}
	return ticks;
}

static void cost(const struct bench_options *o, const struct bench_case *c)
{
	struct bench b = {.setup = &setups[c->kind]};
	uint64_t requests = 0, ticks = 0, end_at;

	bench_pin(o->loop_cpu);
	start(&b);
	for (int i = 0; i < 100; i++)
		(void)turn(&b);
	for (end_at = bench_ns() + o->ms * 1000000; bench_ns() < end_at; requests += BATCH)
		ticks += turn(&b);
	bench_row(o, c, "cost", bench_ticks_to_ns((double)ticks) / (double)requests, "ns", c->what);
	end(&b);
	bench_unpin();
}

/* For a tool that slows everything down: so many batches, and how many requests they were. */
static void count(const struct bench_options *o, const struct bench_case *c)
{
	struct bench b = {.setup = &setups[c->kind]};

	start(&b);
	for (uint64_t i = 0; i < o->count; i++)
		(void)turn(&b);
	bench_row(o, c, "served", (double)(o->count * BATCH), "", c->what);
	end(&b);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
	        {.name = "ring", .run = cost, .kind = 0, .what = "a request of a native ring, on the loop"},
	        {.name = "split", .run = cost, .kind = 1, .what = "of a split virtqueue, one descriptor"},
	        {.name = "packed", .run = cost, .kind = 2, .what = "of a packed one"},
	        {.name = "split-3", .run = cost, .kind = 3, .what = "of a split virtqueue, chains of three"},
	        {.name = "packed-3", .run = cost, .kind = 4, .what = "of a packed one"},
	        {.name = "split-table",
	         .run = cost,
	         .kind = 5,
	         .what = "of a split virtqueue, tables of three"},
	        {.name = "packed-table", .run = cost, .kind = 6, .what = "of a packed one"},
	        {.name = "blk-split",
	         .run = cost,
	         .kind = 7,
	         .what = "of virtio-blk: split, three descriptors"},
	        {.name = "blk-packed", .run = cost, .kind = 8, .what = "packed"},
	        {.name = "blk-split-table", .run = cost, .kind = 9, .what = "split, indirect"},
	        {.name = "blk-packed-table", .run = cost, .kind = 10, .what = "packed, indirect"},
	        {.name = "ring-regions-2",
	         .run = cost,
	         .kind = 11,
	         .what = "native ring, data in two regions by turns"},
	        {.name = "ring-regions-256", .run = cost, .kind = 12, .what = "in 256 regions"},
	        {.name = "count-ring", .run = count, .kind = 0, .what = "-n batches, to be counted"},
	        {.name = "count-split", .run = count, .kind = 1, .what = "the same"},
	        {.name = "count-packed", .run = count, .kind = 2, .what = "the same"},
	        {.name = "count-split-3", .run = count, .kind = 3, .what = "the same"},
	        {.name = "count-packed-3", .run = count, .kind = 4, .what = "the same"},
	        {.name = "count-split-table", .run = count, .kind = 5, .what = "the same"},
	        {.name = "count-packed-table", .run = count, .kind = 6, .what = "the same"},
	        {.name = "count-blk-split", .run = count, .kind = 7, .what = "the same"},
	        {.name = "count-blk-packed", .run = count, .kind = 8, .what = "the same"},
	        {.name = "count-blk-split-table", .run = count, .kind = 9, .what = "the same"},
	        {.name = "count-blk-packed-table", .run = count, .kind = 10, .what = "the same"},
	        {.name = "count-ring-regions-2", .run = count, .kind = 11, .what = "the same"},
	        {.name = "count-ring-regions-256", .run = count, .kind = 12, .what = "the same"},
	};

	return bench_main(argc, argv, "queues", cases, sizeof(cases) / sizeof(cases[0]));
}
