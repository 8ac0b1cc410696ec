/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* Chains with a header and a status byte, as a device's framing makes requests of them. */
#include <errno.h>
#include <string.h>

#include "run.h"
#include "virtq_pair.h"
#include "virtq_rig.h"

#define DISK 65536u
#define HEAD VRIG_DATA
#define DATA (VRIG_DATA + 0x10000u)
#define STATUS (VRIG_DATA + 0x20000u)

/* ---- A little block device: 8 bytes of header, data, one byte of status ---- */

struct header {
	uint32_t op;
	uint32_t offset;
};

enum { IDENTIFY = 100, UNANSWERABLE = 101 };

static int finished; /* calls */
static uint32_t seen_pieces;

/* The last byte of what may be written is the status, the rest of it data. */
static void cut_status(struct vdb__chain *chain, struct vdb__frame *frame)
{
	struct vdb__seg *last = &chain->segs[chain->nread + chain->nwrite - 1];

	frame->word[0] = last->gpa + --last->len;
	if (last->len == 0)
		chain->nwrite--;
	chain->writable--;
}

/* The sums are those of what is there. */
static void check_sums(const struct vdb__chain *chain)
{
	uint64_t readable = 0, writable = 0;

	for (uint32_t i = 0; i < chain->nread + chain->nwrite; i++)
		*(i < chain->nread ? &readable : &writable) += chain->segs[i].len;
	ck_assert_uint_eq(chain->readable, readable);
	ck_assert_uint_eq(chain->writable, writable);
}

static bool parse(void *ctx, struct vdb__view *view, struct vdb__chain *chain, struct vdb__elem *elem,
                  struct vdb__frame *frame)
{
	struct header header = {0};

	ck_assert_ptr_eq(ctx, &finished);
	check_sums(chain);
	if (!chain->writable)
		return false;
	seen_pieces = chain->nread + chain->nwrite;
	cut_status(chain, frame);
	frame->word[1] = 0;
	if (!vdb__segs_read(view, chain->segs, chain->nread, 0, &header, sizeof(header))) {
		elem->error = -EINVAL;
		return true;
	}
	elem->op = (uint8_t)header.op;
	elem->offset = header.offset;
	if (header.op == UNANSWERABLE)
		return false;
	if (header.op == IDENTIFY) {
		elem->op = VDB_OP_NOP;
		frame->word[1] = chain->segs[chain->nread].gpa;
	} else if (header.op == VDB_OP_READ) {
		elem->first = (uint16_t)chain->nread;
		elem->nseg = chain->nwrite;
		elem->len = chain->writable;
	} else {
		elem->first = (uint16_t)vdb__segs_skip(chain->segs, chain->nread, sizeof(header));
		elem->nseg = chain->nread - elem->first;
		elem->len = chain->readable - sizeof(header);
	}
	return true;
}

static uint32_t finish(void *ctx, struct vdb__view *view, const struct vdb__frame *frame, int64_t result,
                       uint64_t written)
{
	unsigned char *status = vdb__view_ptr(view, frame->word[0], 1, VDB__WRITE);
	char *identity = frame->word[1] ? vdb__view_ptr(view, frame->word[1], 4, VDB__WRITE) : NULL;

	(void)ctx;
	finished++;
	if (!status)
		return 0;
	*status = (unsigned char)(result < 0 ? -result : 1);
	vdb__view_mark(view, frame->word[0], 1);
	if (result == 0 && identity) {
		memcpy(identity, (const char[4]){'n', 'a', 'm', 'e'}, 4);
		written = 4;
	}
	return (uint32_t)written + 1;
}

static const struct vdb__framing framing = {.parse = parse, .finish = finish};

static const uint32_t kinds[] = {0, VDB_VIRTQ_INDIRECT, VDB_VIRTQ_PACKED,
                                 VDB_VIRTQ_PACKED | VDB_VIRTQ_INDIRECT | VDB_VIRTQ_EVENT_IDX};
#define KINDS 4

static unsigned char disk[DISK];
static struct vrig v;
static struct vdb_backend *backend;

static void setup(int kind)
{
	finished = 0;
	for (uint32_t i = 0; i < DISK; i++)
		disk[i] = (unsigned char)(i * 7 + (i >> 8));
	ck_assert_int_eq(vdb_backend_memory(disk, DISK, &backend), 0);
	vrig_open(&v,
	          &(struct vrig_config){
	                  .virtq = {.entries = 16, .flags = kinds[kind], .max_segments = 8, .max_len = 8192},
	                  .framing = &framing,
	                  .framing_ctx = &finished,
	                  .backend = backend});
}

static void teardown(void)
{
	vrig_close(&v);
	vdb_backend_destroy(backend);
}

static void header(uint32_t op, uint32_t offset)
{
	*(struct header *)vrig_at(&v, HEAD) = (struct header){op, offset};
	*(unsigned char *)vrig_at(&v, STATUS) = 0xee;
}

static int status(void)
{
	return *(unsigned char *)vrig_at(&v, STATUS);
}

START_TEST(data_behind_the_header)
{
	setup(_i);
	for (uint32_t cut = 0; cut < 8; cut++) { /* the header in two pieces, the second with data behind */
		const struct virtq_buf bufs[] = {{HEAD, cut, false},
		                                 {HEAD + cut, 8 - cut + 512, false},
		                                 {DATA, 512, false},
		                                 {STATUS, 1, true}};

		header(VDB_OP_WRITE, 1024);
		memset(vrig_at(&v, HEAD + 8), (int)cut + 1, 512);
		memset(vrig_at(&v, DATA), (int)cut + 2, 512);
		ck_assert_uint_eq(vrig_do(&v, bufs, 4), 1);
		ck_assert_int_eq(status(), 1);
		ck_assert_mem_eq(disk + 1024, vrig_at(&v, HEAD + 8), 512);
		ck_assert_mem_eq(disk + 1536, vrig_at(&v, DATA), 512);
	}
	ck_assert_int_eq(finished, 8);
	teardown();
}
END_TEST

START_TEST(data_before_the_status)
{
	const struct virtq_buf bufs[] = {{HEAD, 8, false}, {DATA, 100, true}, {DATA + 4096, 413, true}};

	setup(_i);
	header(VDB_OP_READ, 4096);
	ck_assert_uint_eq(vrig_do(&v, bufs, 3), 513);
	ck_assert_mem_eq(vrig_at(&v, DATA), disk + 4096, 100);
	ck_assert_mem_eq(vrig_at(&v, DATA + 4096), disk + 4196, 412);
	ck_assert_int_eq(*(unsigned char *)vrig_at(&v, DATA + 4096 + 412), 1);
	teardown();
}
END_TEST

/* NOP has no backend: what it means the framing does. */
START_TEST(nop_is_the_framings_own)
{
	const struct virtq_buf bufs[] = {{HEAD, 8, false}, {DATA, 20, true}, {STATUS, 1, true}};

	setup(_i);
	header(IDENTIFY, 0);
	ck_assert_uint_eq(vrig_do(&v, bufs, 3), 5);
	ck_assert_mem_eq(vrig_at(&v, DATA), "name", 4);
	ck_assert_int_eq(status(), 1);
	teardown();
}
END_TEST

START_TEST(errors_are_answered)
{
	const struct virtq_buf bufs[] = {{HEAD, 8, false}, {DATA, 512, true}, {STATUS, 1, true}};
	const struct virtq_buf shorter[] = {{HEAD, 7, false}, {DATA, 512, true}, {STATUS, 1, true}};

	setup(_i);
	header(VDB_OP_READ, DISK);
	ck_assert_uint_eq(vrig_do(&v, bufs, 3), 1);
	ck_assert_int_eq(status(), ERANGE);
	header(VDB_OP_READ, 0);
	ck_assert_uint_eq(vrig_do(&v, shorter, 3), 1);
	ck_assert_int_eq(status(), EINVAL);
	ck_assert_uint_eq(vrig_stats(&v).errors, 2);
	teardown();
}
END_TEST

/* The middle of a chain that is too long is not kept, its status is. */
START_TEST(too_long_is_answered)
{
	struct virtq_buf bufs[12] = {{HEAD, 8, false}};

	setup(_i);
	for (uint32_t i = 1; i < 11; i++)
		bufs[i] = (struct virtq_buf){DATA + i * 512, 512, true};
	bufs[11] = (struct virtq_buf){STATUS, 1, true};
	header(VDB_OP_READ, 0);
	ck_assert_uint_eq(vrig_do(&v, bufs, 12), 1);
	ck_assert_int_eq(status(), E2BIG);
	ck_assert_uint_eq(seen_pieces, 8);
	/* As many as are allowed, and too many bytes. */
	for (uint32_t i = 1; i < 7; i++)
		bufs[i].len = 1400;
	bufs[7] = bufs[11];
	header(VDB_OP_READ, 0);
	ck_assert_uint_eq(vrig_do(&v, bufs, 8), 1);
	ck_assert_int_eq(status(), E2BIG);
	/* Just enough of both. */
	for (uint32_t i = 1; i < 7; i++)
		bufs[i] = (struct virtq_buf){DATA + i * 1024, 1024, true};
	header(VDB_OP_READ, 0);
	ck_assert_uint_eq(vrig_do(&v, bufs, 8), 6 * 1024 + 1);
	ck_assert_int_eq(status(), 1);
	teardown();
}
END_TEST

START_TEST(what_cannot_be_answered_breaks)
{
	const struct virtq_buf no_status[] = {{HEAD, 8, false}};
	const struct virtq_buf bufs[] = {{HEAD, 8, false}, {STATUS, 1, true}};

	setup(_i);
	header(UNANSWERABLE, 0);
	ck_assert(_i % 2 ? virtq_add(&v.d, no_status, 1, 0) : virtq_add(&v.d, bufs, 2, 0));
	(void)virtq_publish(&v.d);
	RIG_UNTIL(&v.rig, v.broken);
	ck_assert_uint_eq(v.broken, VDB_REASON_CHAIN);
	ck_assert_int_eq(finished, 0);
	ck_assert_int_eq(status(), 0xee);
	teardown();
}
END_TEST

/* ---- Runs of segments ---- */

START_TEST(segments_are_read_and_skipped)
{
	static struct virtq_pair p;
	struct vdb__seg segs[3] = {{PAIR_DATA, 3}, {PAIR_DATA + 100, 4}, {PAIR_DATA + 200, 5}};
	char out[16] = "";

	virtq_pair_open(&p, &(struct vdb_virtq_config){.entries = 4});
	memcpy(mock_at(&p.ram, PAIR_DATA), "abc", 3);
	memcpy(mock_at(&p.ram, PAIR_DATA + 100), "defg", 4);
	memcpy(mock_at(&p.ram, PAIR_DATA + 200), "hijkl", 5);
	for (uint32_t from = 0; from <= 12; from++) {
		for (uint32_t len = 0; len <= 13 - from; len++) {
			bool fits = from + len <= 12;

			ck_assert(vdb__segs_read(&p.queue->view, segs, 3, from, out, len) == fits);
			if (fits)
				ck_assert_mem_eq(out, &"abcdefghijkl"[from], len);
		}
	}
	segs[1].gpa = PAIR_RAM;
	ck_assert(!vdb__segs_read(&p.queue->view, segs, 3, 2, out, 2));
	ck_assert(vdb__segs_read(&p.queue->view, segs, 3, 7, out, 2));
	for (uint32_t bytes = 0; bytes <= 14; bytes++) {
		struct vdb__seg run[3] = {{0, 3}, {100, 4}, {200, 5}};
		uint32_t i = vdb__segs_skip(run, 3, bytes);

		ck_assert_uint_eq(i, bytes < 3 ? 0 : bytes < 7 ? 1 : bytes < 12 ? 2 : 3);
		if (i < 3)
			ck_assert_uint_eq(run[i].gpa % 100, bytes - (i == 0 ? 0 : i == 1 ? 3 : 7));
		if (i < 3)
			ck_assert_uint_eq(run[i].gpa % 100 + run[i].len, 3 + i);
	}
	virtq_pair_close(&p);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("virtq_framing");

	tcase_add_loop_test(tc, data_behind_the_header, 0, KINDS);
	tcase_add_loop_test(tc, data_before_the_status, 0, KINDS);
	tcase_add_loop_test(tc, nop_is_the_framings_own, 0, KINDS);
	tcase_add_loop_test(tc, errors_are_answered, 0, KINDS);
	tcase_add_loop_test(tc, too_long_is_answered, 0, KINDS);
	tcase_add_loop_test(tc, what_cannot_be_answered_breaks, 0, KINDS);
	tcase_add_test(tc, segments_are_read_and_skipped);
	return test_run("virtq_framing", tc);
}
