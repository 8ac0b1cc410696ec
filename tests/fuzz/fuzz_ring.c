/* SPDX-License-Identifier: Apache-2.0 */
/* A native ring: handshakes, indices, requests and segment tables as no driver would write them. */
#include <vdb/abi.h>

#include "play.h"

#define RING 0x1000u
#define TABLE 0x8000u
#define STEPS 256

static struct play play;
static uint32_t sq_entries, cq_entries;
static uint32_t tail, generation; /* what a driver that keeps the rules would have */

static struct vdb_ring *ring(void)
{
	return fuzz_ram_at(RING, VDB_RING_BYTES(sq_entries, cq_entries));
}

static struct vdb_sqe *slot(uint32_t i)
{
	return (struct vdb_sqe *)(ring() + 1) + (i & (sq_entries - 1));
}

/* A step to and fro. */
static uint32_t some(struct fuzz_input *in)
{
	uint8_t n = fuzz_u8(in);

	return n < 128 ? n : n - 256u;
}

/* Reset and ready, as it should be done; or with one word of it wrong. */
static void shake(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	struct vdb_ring *r = ring();

	r->driver.ready = 0;
	r->driver.reset = ++generation;
	play_step(&play, PLAY_SERVE, in);
	r->sq_tail.value = r->cq_head.value = tail = 0;
	r->driver.version = how & 1 ? fuzz_u32(in) : VDB_ABI_VERSION;
	r->driver.features = how & 2 ? fuzz_u64(in) : (how >> 4) & 7;
	r->driver.ready = how & 4 ? fuzz_u32(in) : generation;
	play_step(&play, PLAY_SERVE, in);
}

static void request(struct fuzz_input *in)
{
	static const uint8_t ops[] = {
	        VDB_OP_NOP,          VDB_OP_READ, VDB_OP_WRITE, VDB_OP_FLUSH, VDB_OP_DISCARD,
	        VDB_OP_WRITE_ZEROES, VDB_OP_COPY, VDB_OP_FILL,  VDB_OP_USER,  9};
	uint8_t how = fuzz_u8(in), op = fuzz_u8(in);
	struct vdb_sqe sqe = {
	        .op = how & 0x80 ? op : ops[op % sizeof(ops)],
	        .flags = how & 1 ? VDB_SQE_SG : (how & 2 ? fuzz_u8(in) : 0),
	        .segments = how & 1 ? fuzz_u8(in) : 0,
	        .len = how & 4 ? fuzz_len(in) : 512u * (how >> 3 & 7),
	        .addr = how & 1 && how & 0x40 ? TABLE : fuzz_gpa(in),
	        .offset = how & 8 ? fuzz_u64(in) : 512u * fuzz_u8(in),
	        .user_data = tail,
	};

	memcpy(slot(tail), &sqe, sizeof(sqe));
	ring()->sq_tail.value = ++tail;
}

static void segment(struct fuzz_input *in)
{
	uint8_t i = fuzz_u8(in);
	struct vdb_seg seg = {.addr = fuzz_gpa(in), .len = fuzz_len(in), .reserved = i == 255};

	fuzz_ram_put(TABLE + i % 32u * sizeof(seg), &seg, sizeof(seg));
}

static void step(uint8_t kind, struct fuzz_input *in)
{
	vdb_gpa_t bytes = VDB_RING_BYTES(sq_entries, cq_entries), at;

	switch (kind) {
	case 0:
		shake(in);
		break;
	case 1:
		request(in);
		break;
	case 2:
		segment(in);
		break;
	case 3:
		at = fuzz_u16(in);
		fuzz_ram_write(in, RING + at % (bytes - 3), 4);
		break;
	case 4:
		tail += some(in);
		ring()->sq_tail.value = tail;
		break;
	case 5:
		ring()->cq_head.value += some(in);
		break;
	case 6:
		ring()->cq_event.value = ring()->cq_tail.value + some(in);
		break;
	case 7:
		ring()->cq_head.value = ring()->cq_tail.value;
		break;
	default:
		play_step(&play, (enum play_step)(kind % PLAY_STEPS), in);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = fuzz_input(data, size);
	struct vdb_mem *mem = fuzz_ram();
	uint8_t sizes = fuzz_u8(&in), features = fuzz_u8(&in);
	struct vdb_ring_config config = {.size = sizeof(config), .gpa = RING};
	struct vdb_queue *queue;

	sq_entries = 1u << (sizes & 3);
	cq_entries = sq_entries << (sizes >> 2 & 1);
	config.sq_entries = sq_entries;
	config.cq_entries = cq_entries;
	config.max_segments = sizes >> 3 & 1 ? 4 : 32;
	config.features = features & 7;
	config.max_len = features & 0x80 ? 4096 : 0;
	tail = generation = 0;
	fuzz_check(vdb_ring_create(mem, &config, &queue) == 0);
	play_open(&play, queue, false);
	shake(&in);
	for (int i = 0; i < STEPS && fuzz_more(&in); i++)
		step(fuzz_u8(&in) % 32, &in);
	play_close(&play);
	return 0;
}
