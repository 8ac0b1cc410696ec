/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/*
 * Random chains over virtqueues of every kind and of random size: each goes through a lane to a backend that
 * finishes them in random order. Every head comes back once (the driver sees to that), with the
 * length and the bytes that it must have.
 */
#include <stdlib.h>
#include <string.h>

#include "io/cursor.h"
#include "run.h"
#include "virtq_rig.h"

#define REQUESTS 12500u /* of each kind: 100,000 in all */
#define MAX_BUFS 12u
#define SLOT 0x1000u /* memory of one chain: to be read, to be written, a table */
#define PART 0x600u
#define MAX_ENTRIES 128u

static const uint32_t kinds[] = {
        0,
        VDB_VIRTQ_EVENT_IDX,
        VDB_VIRTQ_INDIRECT | VDB_VIRTQ_IN_ORDER,
        VDB_VIRTQ_INDIRECT | VDB_VIRTQ_EVENT_IDX,
        VDB_VIRTQ_PACKED,
        VDB_VIRTQ_PACKED | VDB_VIRTQ_EVENT_IDX,
        VDB_VIRTQ_PACKED | VDB_VIRTQ_INDIRECT | VDB_VIRTQ_IN_ORDER,
        VDB_VIRTQ_PACKED | VDB_VIRTQ_INDIRECT | VDB_VIRTQ_EVENT_IDX,
};
#define KINDS ((int)(sizeof(kinds) / sizeof(kinds[0])))

static uint64_t seed;

static uint32_t below(uint32_t limit)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 11) % limit;
}

/* ---- A backend that finishes what it has in random order ---- */

static struct vdb_req *held[MAX_ENTRIES];
static unsigned nheld;

static int shuffle_start(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	ck_assert_uint_lt(nheld, MAX_ENTRIES);
	held[nheld++] = req;
	return VDB_REQ_PENDING;
}

/* Copies what is to be read into what may be written. */
static void finish_one(void)
{
	unsigned i = below(nheld);
	struct vdb_req *req = held[i];
	uint64_t room = req->len - req->readable;
	int32_t n = (int32_t)(room < req->readable ? room : req->readable);
	unsigned char bytes[PART];
	struct vdb__cursor at = {0, 0};
	struct iovec piece;

	held[i] = held[--nheld];
	for (int32_t done = 0; done < n; done += (int32_t)piece.iov_len) {
		piece = vdb__cursor_piece(&at, req->iov, (uint64_t)(n - done));
		memcpy(bytes + done, piece.iov_base, piece.iov_len);
		vdb__cursor_pass(&at, req->iov, piece.iov_len);
	}
	at = (struct vdb__cursor){0, 0};
	vdb__cursor_skip(&at, req->iov, req->readable);
	for (int32_t done = 0; done < n; done += (int32_t)piece.iov_len) {
		piece = vdb__cursor_piece(&at, req->iov, (uint64_t)(n - done));
		memcpy(piece.iov_base, bytes + done, piece.iov_len);
		vdb__cursor_pass(&at, req->iov, piece.iov_len);
	}
	vdb_req_complete(req, n);
}

/* ---- Chains ---- */

struct chain {
	struct virtq_buf bufs[MAX_BUFS];
	uint32_t n, readable, writable;
	unsigned char fill; /* what was there before */
	bool busy;
};

static struct chain chains[MAX_ENTRIES];
static struct vrig v;

static vdb_gpa_t part_of(uint32_t slot, bool write)
{
	return VRIG_DATA + slot * SLOT + (write ? PART : 0);
}

/* Buffers of random length, one behind the other, none crossing another; some are empty. */
static void make_chain(uint32_t slot, uint32_t max_bufs)
{
	struct chain *c = &chains[slot];
	uint32_t reads = below(max_bufs + 1);

	*c = (struct chain){.n = 1 + below(max_bufs), .busy = true};
	for (uint32_t i = 0; i < c->n; i++) {
		struct virtq_buf *buf = &c->bufs[i];
		uint32_t *sum = i < reads ? &c->readable : &c->writable;

		buf->write = i >= reads;
		buf->len = below(8) ? below(PART / MAX_BUFS) : 0;
		buf->gpa = part_of(slot, buf->write) + *sum;
		*sum += buf->len;
	}
	c->fill = (unsigned char)below(256);
	memset(vrig_at(&v, part_of(slot, true)), c->fill, PART);
	for (uint32_t i = 0; i < c->readable; i += 4) {
		uint32_t word = below(UINT32_MAX);

		memcpy((char *)vrig_at(&v, part_of(slot, false)) + i, &word, 4);
	}
}

static void check_chain(uint32_t slot, uint32_t len)
{
	struct chain *c = &chains[slot];
	uint32_t n = c->readable < c->writable ? c->readable : c->writable;
	const unsigned char *in = vrig_at(&v, part_of(slot, true));

	ck_assert(c->busy);
	ck_assert_uint_eq(len, n);
	ck_assert_mem_eq(in, vrig_at(&v, part_of(slot, false)), n);
	while (n < PART && in[n] == c->fill)
		n++;
	ck_assert_uint_eq(n, PART);
	c->busy = false;
}

/* Adds one if there is room; false if not. */
static bool add(uint32_t *cursor)
{
	uint32_t flags = v.d.config.flags, entries = v.d.config.entries, slot = *cursor;
	bool indirect = (flags & VDB_VIRTQ_INDIRECT) && below(2);
	uint32_t most = entries < MAX_BUFS ? entries : MAX_BUFS;

	while (chains[slot].busy)
		slot = (slot + 1) % MAX_ENTRIES;
	make_chain(slot, most);
	*cursor = (slot + 1) % MAX_ENTRIES;
	if (indirect)
		return virtq_add_indirect(&v.d, VRIG_DATA + slot * SLOT + 2 * PART + below(64),
		                          chains[slot].bufs, chains[slot].n, slot) ||
		       (chains[slot].busy = false);
	return virtq_add(&v.d, chains[slot].bufs, chains[slot].n, slot) || (chains[slot].busy = false);
}

static uint32_t reap_all(void)
{
	uint64_t slot;
	uint32_t len, n = 0;

	for (; virtq_reap(&v.d, &slot, &len); n++)
		check_chain((uint32_t)slot, len);
	return n;
}

static void run(uint32_t requests)
{
	uint32_t added = 0, reaped = 0, n, cursor = 0;

	while (reaped < requests) {
		for (n = below(8); n && added < requests && v.d.outstanding < MAX_ENTRIES / 2 && add(&cursor);
		     n--) {
			added++;
			if (below(3) == 0)
				(void)virtq_publish(&v.d);
		}
		(void)virtq_publish(&v.d);
		if (below(4) == 0)
			virtq_hush(&v.d);
		rig_turns(&v.rig, below(3));
		for (n = below(nheld + 1); n; n--)
			finish_one();
		reaped += n = reap_all();
		/* Nothing moves by itself any more: a bell must come, or an interrupt. */
		if (!n && !nheld && v.d.outstanding && !virtq_arm(&v.d))
			rig_wait(&v.rig);
	}
	ck_assert_uint_eq(added, requests);
	ck_assert_uint_eq(v.d.outstanding, 0);
	ck_assert_uint_eq(v.d.room, v.d.config.entries);
}

START_TEST(every_chain_comes_back_once)
{
	static const struct vdb_backend_ops ops = {
	        .size = sizeof(ops), .name = "shuffle", .start = shuffle_start};
	static const struct vdb_backend_info info = {.size = sizeof(info), .ops = 1u << 31};
	struct vdb_backend *backend = NULL;
	uint32_t entries;

	seed = 0x9e3779b97f4a7c15u + (uint64_t)_i;
	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &backend), 0);
	for (int round = 0; round < 10; round++) {
		entries = kinds[_i] & VDB_VIRTQ_PACKED ? 1 + below(MAX_ENTRIES - 1) : 1u << below(8);
		memset(chains, 0, sizeof(chains));
		vrig_open(&v, &(struct vrig_config){.virtq = {.entries = entries, .flags = kinds[_i]},
		                                    .lane = {.max_inflight = 1 + below(MAX_ENTRIES)},
		                                    .backend = backend});
		run(REQUESTS / 10);
		ck_assert_uint_eq(vrig_stats(&v).completions, REQUESTS / 10);
		ck_assert_uint_eq(v.broken, 0);
		vrig_close(&v);
	}
	vdb_backend_destroy(backend);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("virtq_random");

	tcase_add_loop_test(tc, every_chain_comes_back_once, 0, KINDS);
	return test_run("virtq_random", tc);
}
