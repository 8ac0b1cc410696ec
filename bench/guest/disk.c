/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest that benchmarks disks: one ELF file with a PVH entry, for libvdb's VMMs here and for
 * QEMU's microvm. It drives virtio-blk behind virtio-mmio registers, or a native ring behind a doorbell
 * page, keeps requests under way for a while, and says on the debug port how it went. It polls; all but the
 * first instructions run in CPL 3. The words of its command line:
 *
 *     virtio_mmio.device=SIZE@ADDRESS:GSI   the disk is there; else it is looked for where microvm has it
 *     doorbell=ADDRESS                      a native ring instead
 *     packed, event, table                  of the virtqueue: packed ring, EVENT_IDX, indirect tables
 *     op=read, op=write, op=pair            pair: a write and then a FLUSH count as one
 *     block=BYTES blocks=N sequential       so many of such a size, at random unless one after the other
 *     depth=N warm=TICKS run=TICKS          so many at a time, for how long
 *     check                                 each 4 KiB of the disk must begin with its number
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#include "histogram.h"
#include "layout.h"
#include "port.h"
#include "ring.h"
#include "runtime.h"
#include "start.h"
#include "virtio_mmio.h"
#include "virtq.h"
#include "words.h"

#define DEPTH 128u
#define QUEUE_SIZE 256u
#define PIECE 4096u              /* whose number is its first word */
#define QUEUE_MEMORY 0x300000ull /* what lies where; the image ends before */
#define BUFFERS 0x400000ull
#define BUFFERS_END 0x3000000ull
#define DISARM_EVERY 8192u /* see virtq_split_disarm() */
#define PIC_MASK 0x21u     /* of the first; its pin 5 may be the disk's */

/* One request, as drivers have it: header, status and table beside each other. */
static struct slot {
	struct virtio_blk_outhdr header;
	uint8_t table[48];
	uint8_t status;
	uint8_t flushing;
	uint8_t fill[6];
	uint64_t block, started;
} __attribute__((aligned(64))) slots[DEPTH];

static struct {
	bool native, event, table, sequential, check, pair;
	uint32_t type; /* VIRTIO_BLK_T_IN or OUT */
	uint32_t block, depth;
	uint64_t blocks, warm, run;
} job;

static struct {
	uint64_t all, completed, ran, wrong, rung, disarmed;
} tally;

static struct histogram trips;
static char cmdline[1024];
static struct virtio disk;
static struct virtq queue;
static uint32_t slot_of[VIRTQ_MAX];
static struct vdb_guest ring;
static uint32_t free_slots[DEPTH], free_count;
static uint64_t chance, next_block;

_Noreturn static void give_up(const char *why)
{
	port_text("failed ");
	port_text(why);
	port_end(1);
}

/* ---- Finding the disk ---- */

static bool find_by_word(void)
{
	const char *at = words_find(cmdline, "virtio_mmio.device=");

	while (at && *at && *at++ != '@')
		;
	return at && virtio_mmio_find(&disk, words_parse(at)) && disk.id == VIRTIO_ID_BLOCK;
}

static void open_disk(void)
{
	uint64_t features = VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) | VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX);
	uint16_t size;

	if (!find_by_word() && !start_device(&disk, VIRTIO_ID_BLOCK))
		give_up("no disk");
	features |= words_find(cmdline, "packed") ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0;
	features |= job.event ? VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) : 0;
	features |= job.table ? VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) : 0;
	if (!virtio_negotiate(&disk, features))
		give_up("the disk refuses the features");
	if ((disk.features & features) != features)
		give_up("the disk lacks a feature");
	if (job.blocks * job.block > virtio_config64(&disk, 0) * 512)
		give_up("the disk is too small");
	size = disk.ops->queue_max(&disk, 0);
	size = size < QUEUE_SIZE ? size : QUEUE_SIZE;
	virtq_init(&queue, &disk, 0, size, (void *)QUEUE_MEMORY);
	virtq_disarm(&queue);
	if (!virtq_enable(&queue, VIRTIO_NO_VECTOR) || !virtio_drive(&disk))
		give_up("the disk does not go on");
}

static void open_ring(uint64_t page)
{
	int r = guest_find_ring(&ring, (const void *)(uintptr_t)page);

	if (r)
		give_up("no ring");
	vdb_guest_reset(&ring, VDB_F_EVENT_IDX);
	while ((r = vdb_guest_poll_ready(&ring)) == 0)
		guest_pause();
	if (r < 0)
		give_up("the ring does not go on");
	vdb_guest_disarm(&ring);
}

/* ---- One request ---- */

static uint64_t *data_of(uint32_t index)
{
	return (uint64_t *)(uintptr_t)(BUFFERS + (uint64_t)index * job.block);
}

/* The number of each piece goes into its first word; or, before a read, what it cannot be. */
static void mark(uint32_t index)
{
	uint64_t first = slots[index].block * (job.block / PIECE);

	for (uint32_t i = 0; i < job.block / PIECE; i++)
		data_of(index)[i * (PIECE / 8)] = job.type == VIRTIO_BLK_T_OUT ? first + i : UINT64_MAX;
}

static bool marked(uint32_t index)
{
	uint64_t first = slots[index].block * (job.block / PIECE);

	for (uint32_t i = 0; i < job.block / PIECE; i++)
		if (((volatile uint64_t *)data_of(index))[i * (PIECE / 8)] != first + i)
			return false;
	return true;
}

static bool add_virtio(uint32_t index, uint32_t type)
{
	struct slot *slot = &slots[index];
	struct virtq_buffer chain[3];
	uint16_t n = 0;
	int id;

	slot->header = (struct virtio_blk_outhdr){
	        .type = type, .sector = type == VIRTIO_BLK_T_FLUSH ? 0 : slot->block * (job.block / 512)};
	slot->status = 0xee;
	chain[n++] = (struct virtq_buffer){(uintptr_t)&slot->header, sizeof(slot->header), 0};
	if (type != VIRTIO_BLK_T_FLUSH)
		chain[n++] =
		        (struct virtq_buffer){(uintptr_t)data_of(index), job.block, type == VIRTIO_BLK_T_IN};
	chain[n++] = (struct virtq_buffer){(uintptr_t)&slot->status, 1, 1};
	id = job.table ? virtq_add_indirect(&queue, chain, n, slot->table) : virtq_add(&queue, chain, n);
	if (id >= 0)
		slot_of[id] = index;
	return id >= 0;
}

static bool add_native(uint32_t index, uint32_t type)
{
	struct vdb_sqe *sqe = vdb_guest_sqe(&ring);

	if (!sqe)
		return false;
	sqe->user_data = index;
	if (type == VIRTIO_BLK_T_FLUSH) {
		sqe->op = VDB_OP_FLUSH;
		return true;
	}
	sqe->op = type == VIRTIO_BLK_T_IN ? VDB_OP_READ : VDB_OP_WRITE;
	sqe->addr = (uintptr_t)data_of(index);
	sqe->len = job.block;
	sqe->offset = slots[index].block * job.block;
	return true;
}

static bool add(uint32_t index, uint32_t type)
{
	return job.native ? add_native(index, type) : add_virtio(index, type);
}

static void publish(void)
{
	if (job.native)
		(void)vdb_guest_submit(&ring);
	else
		tally.rung += virtq_publish(&queue);
}

/* The slot of a request that has come back; -1: there is none. */
static int take_native(void)
{
	struct vdb_cqe cqe;
	uint32_t index;

	if (!vdb_guest_reap(&ring, &cqe))
		return -1;
	index = (uint32_t)cqe.user_data % DEPTH;
	tally.wrong += cqe.result != (slots[index].flushing ? 0 : (int32_t)job.block);
	return (int)index;
}

static int take_virtio(void)
{
	uint32_t len, index;
	int id = virtq_take(&queue, &len);

	if (id < 0)
		return -1;
	index = slot_of[id];
	tally.wrong += *(volatile uint8_t *)&slots[index].status != VIRTIO_BLK_S_OK;
	return (int)index;
}

/* ---- Keeping them going ---- */

/* xorshift64; the high half of the product: no division. */
static uint64_t pick(void)
{
	if (job.sequential) {
		next_block = next_block + 1 < job.blocks ? next_block + 1 : 0;
		return next_block;
	}
	chance ^= chance << 13;
	chance ^= chance >> 7;
	chance ^= chance << 17;
	return (uint64_t)((unsigned __int128)chance * job.blocks >> 64);
}

static void fill(void)
{
	while (free_count) {
		uint32_t index = free_slots[free_count - 1];

		slots[index].block = pick();
		if (job.type == VIRTIO_BLK_T_OUT || job.check)
			mark(index);
		if (job.depth == 1)
			slots[index].started = guest_tsc();
		if (!add(index, job.type))
			break;
		free_count--;
	}
	publish();
}

/* A write of a pair goes on as its FLUSH. True: the whole of it is done. */
static bool finish(uint32_t index, bool record)
{
	struct slot *slot = &slots[index];

	tally.all++;
	if (job.pair && !slot->flushing) {
		slot->flushing = 1;
		if (!add(index, VIRTIO_BLK_T_FLUSH))
			give_up("no room for a FLUSH");
		publish();
		return false;
	}
	slot->flushing = 0;
	if (record)
		histogram_add(&trips, guest_tsc() - slot->started);
	if (job.check && job.type == VIRTIO_BLK_T_IN && !marked(index))
		tally.wrong++;
	free_slots[free_count++] = index;
	return true;
}

static uint64_t drain(bool record)
{
	uint64_t count = 0;
	int index;

	while ((index = job.native ? take_native() : take_virtio()) >= 0)
		count += finish((uint32_t)index, record);
	if (!job.native && tally.all - tally.disarmed > DISARM_EVERY) {
		tally.disarmed = tally.all;
		virtq_disarm(&queue);
	}
	return count;
}

static uint64_t keep_going(uint64_t ticks, bool record)
{
	uint64_t start = guest_tsc(), count = 0, got;

	do {
		fill();
		while (!(got = drain(record)))
			guest_pause();
		count += got;
		tally.ran = guest_tsc() - start;
	} while (tally.ran < ticks);
	return count;
}

static void work(void)
{
	for (uint32_t i = 0; i < job.depth; i++) {
		free_slots[free_count++] = i;
		/* The first touch of a page is slow. */
		for (uint32_t at = 0; at < job.block; at += PIECE)
			data_of(i)[at / 8] = 0;
	}
	(void)keep_going(job.warm, false);
	tally.completed = keep_going(job.run, job.depth == 1);
	while (free_count < job.depth)
		if (!drain(false))
			guest_pause();
}

/* ---- What is asked, what is told ---- */

static void read_job(uint64_t start)
{
	if (!start_cmdline(start, cmdline, sizeof(cmdline)))
		give_up("this is not hvm_start_info");
	job.native = words_find(cmdline, "doorbell=");
	job.event = words_find(cmdline, "event");
	job.table = words_find(cmdline, "table");
	job.sequential = words_find(cmdline, "sequential");
	job.check = words_find(cmdline, "check");
	job.pair = words_find(cmdline, "op=pair");
	job.type = words_find(cmdline, "op=read") ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
	job.block = (uint32_t)words_number(cmdline, "block=", PIECE);
	job.blocks = words_number(cmdline, "blocks=", 0);
	job.depth = (uint32_t)words_number(cmdline, "depth=", 1);
	job.warm = words_number(cmdline, "warm=", 0);
	job.run = words_number(cmdline, "run=", 0);
	if (!job.blocks || !job.depth || job.depth > DEPTH || job.block % PIECE ||
	    BUFFERS + (uint64_t)job.depth * job.block > BUFFERS_END || !job.block)
		give_up("what the command line asks for");
}

void guest_main(uint64_t start, uint64_t unused1, uint64_t unused2)
{
	(void)unused1;
	(void)unused2;
	guest_out8(PIC_MASK, 0xff);
	read_job(start);
	chance = guest_tsc() | 1;
	if (job.native)
		open_ring(words_number(cmdline, "doorbell=", 0));
	else
		open_disk();
	work();
	port_field("done completed=", tally.completed);
	port_field(" ran=", tally.ran);
	port_field(" all=", tally.all);
	port_field(" wrong=", tally.wrong);
	port_field(" rung=", job.native ? ring.rung : tally.rung);
	port_field(" p50=", histogram_percentile(&trips, 50));
	port_field(" p99=", histogram_percentile(&trips, 99));
	port_end(0);
}
