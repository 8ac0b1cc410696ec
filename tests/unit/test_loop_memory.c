/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: io_uring_register_buffers_sparse io_uring_register_buffers_update_tag calloc realloc */
/* Memory that a loop was told of: pieces of 1 GiB, references, and what the kernel refuses. */
#include "loop/memory.h"

#include <check.h>
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/io.h>

#include "fail.h"
#include "loop/state.h"
#include "run.h"
#include "turn.h"

#define GIB (UINT64_C(1) << 30)

static int table_error, update_error; /* of the kernel's */
static bool played;                   /* nothing is really pinned */
static unsigned entered, left;

int __real_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned n);
int __wrap_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned n);
int __real_io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned at, const struct iovec *iov,
                                                const uint64_t *tags, unsigned n);
int __wrap_io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned at, const struct iovec *iov,
                                                const uint64_t *tags, unsigned n);

int __wrap_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned n)
{
	return table_error ? table_error : __real_io_uring_register_buffers_sparse(ring, n);
}

int __wrap_io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned at, const struct iovec *iov,
                                                const uint64_t *tags, unsigned n)
{
	if (iov->iov_base && update_error)
		return update_error;
	ck_assert_uint_le(iov->iov_len, GIB);
	entered += iov->iov_base != NULL;
	left += !iov->iov_base;
	return played ? (int)n : __real_io_uring_register_buffers_update_tag(ring, at, iov, tags, n);
}

static struct vdb_loop *loop;
static unsigned char *base;

static void make_loop(void)
{
	struct vdb_loop_config config = {
	        .size = sizeof(config), .engine = VDB_ENGINE_URING, .flags = VDB_LOOP_REGISTER_MEMORY};

	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	ck_assert_int_ge(vdb_loop_step(loop), 0);
	ck_assert(vdb__memory_wanted(loop));
}

static void setup(void)
{
	make_loop();
	base = mmap(NULL, 4 * GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
	            0);
	ck_assert_ptr_ne(base, MAP_FAILED);
}

static void teardown(void)
{
	ck_assert_uint_eq(test_loop_stats(loop).memory, 0);
	ck_assert_uint_eq(loop->memory.count, 0);
	test_loop_end(loop);
	munmap(base, 4 * GIB);
}

static bool known(const unsigned char *at, uint64_t len)
{
	const struct vdb__buffer *buffer = vdb__memory_find(&loop->memory, at, len);

	if (buffer)
		ck_assert(at >= buffer->base && at + len <= buffer->base + buffer->len);
	return buffer;
}

START_TEST(a_large_range_is_registered_in_pieces)
{
	played = true;
	ck_assert(vdb__memory_add(loop, NULL, base, 2 * GIB + 4096));
	ck_assert_uint_eq(entered, 3);
	ck_assert_uint_eq(test_loop_stats(loop).memory, 2 * GIB + 4096);
	ck_assert(known(base, 1) && known(base, GIB) && known(base + GIB, GIB));
	ck_assert(known(base + 2 * GIB + 4095, 1));
	ck_assert(!known(base + 2 * GIB + 4095, 2));
	ck_assert(!known(base + 2 * GIB + 4096, 1));
	ck_assert(!known(base + GIB - 1, 2)); /* in two pieces */
	ck_assert(!known(base - 1, 1) && !known(NULL, 1));
	vdb__memory_remove(loop, base, 2 * GIB + 4096);
	ck_assert_uint_eq(left, 3);
	ck_assert(!known(base, 1));
}
END_TEST

START_TEST(told_twice_it_is_registered_once)
{
	ck_assert(vdb__memory_add(loop, NULL, base, 8192));
	ck_assert(vdb__memory_add(loop, NULL, base, 8192));
	ck_assert_uint_eq(entered, 1);
	vdb__memory_remove(loop, base, 8192);
	ck_assert(known(base, 8192));
	vdb__memory_remove(loop, base, 8192);
	ck_assert(!known(base, 1));
	ck_assert_uint_eq(left, 1);
}
END_TEST

/* A VM's cap on what it pins: what is beyond is not registered, and counted; what goes makes room. */
START_TEST(no_more_is_pinned_than_the_cap)
{
	const struct vdb_caps caps = {.size = sizeof(caps), .pinned = 3 * 8192};
	struct vdb_tenant_stats stats = {.size = sizeof(stats)};
	struct vdb_tenant *tenant;

	ck_assert_int_eq(vdb_tenant_create(loop, &tenant), 0);
	ck_assert_int_eq(vdb_tenant_caps(tenant, &caps), 0);
	ck_assert(vdb__memory_add(loop, tenant, base, 8192));
	ck_assert(vdb__memory_add(loop, tenant, base, 8192)); /* of another lane: counts once */
	ck_assert(vdb__memory_add(loop, tenant, base + 16384, 16384));
	ck_assert(vdb__memory_add(loop, tenant, base + 65536, 4096));
	ck_assert(vdb__memory_add(loop, NULL, base + 131072, 4096));
	ck_assert(known(base, 8192) && known(base + 16384, 16384));
	ck_assert(!known(base + 65536, 1));
	ck_assert(known(base + 131072, 4096)); /* nobody's */
	ck_assert_int_eq(vdb_tenant_stats(tenant, &stats), 0);
	ck_assert_uint_eq(stats.pinned, 3 * 8192);
	ck_assert_uint_eq(stats.pinned_refused, 4096);
	vdb__memory_remove(loop, base + 65536, 4096);
	vdb__memory_remove(loop, base, 8192);
	vdb__memory_remove(loop, base, 8192);
	ck_assert(vdb__memory_add(loop, tenant, base + 65536, 4096));
	ck_assert(known(base + 65536, 4096));
	vdb_tenant_destroy(tenant); /* what it has pinned holds it */
	vdb__memory_remove(loop, base + 65536, 4096);
	vdb__memory_remove(loop, base + 131072, 4096);
	vdb__memory_remove(loop, base + 16384, 16384);
}
END_TEST

START_TEST(ranges_of_any_order_are_found)
{
	static const unsigned order[] = {5, 1, 7, 3, 0, 6, 2, 4};

	for (int i = 0; i < 8; i++)
		ck_assert(vdb__memory_add(loop, NULL, base + order[i] * 16384u, 8192));
	for (unsigned i = 0; i < 8; i++) {
		ck_assert(known(base + i * 16384u + 4096, 4096));
		ck_assert(!known(base + i * 16384u + 8192, 1));
	}
	for (int i = 0; i < 8; i++) {
		vdb__memory_remove(loop, base + order[i] * 16384u, 8192);
		for (int j = 0; j < 8; j++)
			ck_assert(known(base + order[j] * 16384u, 1) == (j > i));
	}
}
END_TEST

/* One mapping that two regions have, in part: each stays as long as its own is there. */
START_TEST(ranges_may_overlap)
{
	ck_assert(vdb__memory_add(loop, NULL, base, 65536));
	ck_assert(vdb__memory_add(loop, NULL, base, 4096));
	ck_assert(vdb__memory_add(loop, NULL, base + 8192, 4096));
	vdb__memory_remove(loop, base, 65536);
	ck_assert(known(base, 4096) && !known(base, 4097) && known(base + 8192, 4096));
	vdb__memory_remove(loop, base, 4096);
	ck_assert(!known(base, 1) && known(base + 8192, 1));
	vdb__memory_remove(loop, base + 8192, 4096);
}
END_TEST

static const int refusals[] = {-ENOMEM, -EFAULT, -EOPNOTSUPP, -EPERM};

START_TEST(a_refusal_is_counted)
{
	update_error = refusals[_i];
	ck_assert(vdb__memory_add(loop, NULL, base, 8192));
	ck_assert(!known(base, 1));
	ck_assert_uint_eq(test_loop_stats(loop).memory_refused, 8192);
	ck_assert_uint_ne(test_loop_stats(loop).features & VDB_LOOP_HAS_MEMORY, 0);
	update_error = 0;
	ck_assert(vdb__memory_add(loop, NULL, base + 8192, 8192));
	ck_assert(known(base + 8192, 1));
	ck_assert_uint_eq(test_loop_stats(loop).memory, 8192);
	vdb__memory_remove(loop, base + 8192, 8192);
	vdb__memory_remove(loop, base, 8192);
}
END_TEST

START_TEST(a_kernel_without_a_table)
{
	table_error = -EINVAL;
	ck_assert(vdb__memory_add(loop, NULL, base, 8192));
	ck_assert(!known(base, 1));
	ck_assert_uint_eq(test_loop_stats(loop).memory_refused, 8192);
	ck_assert_uint_eq(test_loop_stats(loop).features & VDB_LOOP_HAS_MEMORY, 0);
	vdb__memory_remove(loop, base, 8192);
}
END_TEST

START_TEST(a_full_table_takes_no_more)
{
	played = true;
	for (uint64_t i = 0; i <= VDB__BUFFERS_MAX; i++)
		ck_assert(vdb__memory_add(loop, NULL, base + i * 8192, 4096));
	ck_assert(known(base + (VDB__BUFFERS_MAX - 1) * UINT64_C(8192), 1));
	ck_assert(!known(base + VDB__BUFFERS_MAX * UINT64_C(8192), 1));
	ck_assert_uint_eq(test_loop_stats(loop).memory_refused, 4096);
	for (uint64_t i = 0; i <= VDB__BUFFERS_MAX; i++)
		vdb__memory_remove(loop, base + i * 8192, 4096);
	ck_assert_uint_eq(left, VDB__BUFFERS_MAX);
}
END_TEST

/* The last piece cannot be remembered: then none is. */
START_TEST(without_memory_nothing_is_registered)
{
	played = true;
	for (unsigned n = 1; n < 4; n++) {
		fail_at(n);
		if (vdb__memory_add(loop, NULL, base, 4 * GIB)) {
			ck_assert_ptr_null(fail_what());
			vdb__memory_remove(loop, base, 4 * GIB);
		}
		fail_at(0);
		ck_assert_uint_eq(loop->memory.count, 0);
		ck_assert_uint_eq(test_loop_stats(loop).memory, 0);
	}
}
END_TEST

static int64_t result;

static void io_done(struct vdb_io *io, int64_t got)
{
	(void)io;
	result = got;
}

static bool transfers(uint32_t op, int fd, void *at, size_t len)
{
	uint64_t before = test_loop_stats(loop).fixed_buffers;
	struct iovec iov = {at, len};
	struct vdb_io io = {.op = op, .fd = fd, .iov = &iov, .niov = 1, .done = io_done};

	result = 0;
	vdb_io_submit(loop, &io);
	while (!result)
		test_turn(loop);
	ck_assert_int_eq(result, (int64_t)len);
	return test_loop_stats(loop).fixed_buffers > before;
}

START_TEST(io_goes_by_what_is_registered)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);

	memset(base, 5, 4096);
	ck_assert(vdb__memory_add(loop, NULL, base, 8192));
	ck_assert(transfers(VDB_IO_WRITEV, fd, base + 1, 4095));
	ck_assert(transfers(VDB_IO_READV, fd, base + 4096, 4095));
	ck_assert_mem_eq(base + 4096, base, 4095);
	memset(base + 8190, 0, 4);
	ck_assert(!transfers(VDB_IO_READV, fd, base + 8190, 4)); /* goes beyond */
	ck_assert_mem_eq(base + 8190, base, 4);
	vdb__memory_remove(loop, base, 8192);
	ck_assert(!transfers(VDB_IO_READV, fd, base, 4));
	close(fd);
}
END_TEST

START_TEST(another_engine_is_told_anew)
{
	ck_assert(vdb__memory_add(loop, NULL, base, 8192));
	ck_assert_int_eq(vdb__engine_renew(loop), 0);
	ck_assert(!known(base, 1));
	ck_assert_uint_eq(test_loop_stats(loop).memory, 0);
	ck_assert_int_ge(vdb_loop_step(loop), 0);
	ck_assert(known(base, 8192));
	ck_assert_uint_eq(entered, 2);
	vdb__memory_remove(loop, base, 8192);
}
END_TEST

int main(void)
{
	struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_URING};
	TCase *tc = tcase_create("memory");

	if (vdb_loop_create(&config, &loop)) {
		(void)fprintf(stderr, "no io_uring here: %s\n", vdb_errmsg());
		return 77;
	}
	(void)!vdb_loop_destroy(loop);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_large_range_is_registered_in_pieces);
	tcase_add_test(tc, told_twice_it_is_registered_once);
	tcase_add_test(tc, no_more_is_pinned_than_the_cap);
	tcase_add_test(tc, ranges_of_any_order_are_found);
	tcase_add_test(tc, ranges_may_overlap);
	tcase_add_loop_test(tc, a_refusal_is_counted, 0, 4);
	tcase_add_test(tc, a_kernel_without_a_table);
	tcase_add_test(tc, a_full_table_takes_no_more);
	tcase_add_test(tc, without_memory_nothing_is_registered);
	tcase_add_test(tc, io_goes_by_what_is_registered);
	tcase_add_test(tc, another_engine_is_told_anew);
	return test_run("memory", tc);
}
