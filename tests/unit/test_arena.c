/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* The arena of hostile cases sees what it is there to see. */
#include "arena.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fair.h"
#include "loop/state.h"
#include "run.h"

#define DISK (1u << 20)

static struct vdb_loop *loop;
static struct vdb_backend *disk;

static void setup(void)
{
	loop = test_loop_new();
}

static void teardown(void)
{
	vdb_backend_destroy(disk);
	disk = NULL;
	test_loop_end(loop);
}

static void expect(const char *part)
{
	const char *verdict = arena_verdict(300);

	ck_assert_ptr_nonnull(verdict);
	ck_assert_msg(strstr(verdict, part) != NULL, "%s", verdict);
}

START_TEST(nothing_happens)
{
	arena_begin(loop);
	arena_goes_on();
	arena_end();
	/* And again. */
	arena_begin(loop);
	arena_end();
}
END_TEST

START_TEST(on_a_thread)
{
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	arena_begin(loop);
	arena_goes_on();
	arena_goes_on();
	arena_end();
	ck_assert_int_eq(vdb_loop_join(loop), 0);
}
END_TEST

/* A crowd that is never satisfied, all turns full. */
START_TEST(beside_a_crowd)
{
	struct fake rings[16];

	memset(rings, 0, sizeof(rings));
	arena_begin(loop);
	for (unsigned i = 0; i < 16; i++) {
		rings[i].refill = 64;
		rings[i].bytes = i % 2 ? 100000 : 0;
		fake_add(loop, &rings[i], NULL, 0);
	}
	for (unsigned i = 0; i < 4; i++)
		arena_goes_on();
	for (unsigned i = 0; i < 16; i++)
		fake_remove(&rings[i]);
	for (unsigned i = 0; i < 16; i++) {
		while (!rings[i].gone)
			ck_assert_int_ge(vdb_loop_step(loop), 0);
	}
	arena_end();
}
END_TEST

START_TEST(an_fd_stays_open)
{
	int fd;

	arena_begin(loop);
	fd = dup(1);
	expect("open fds");
	close(fd);
	arena_end();
}
END_TEST

START_TEST(memory_is_kept)
{
	void *much;

	arena_begin(loop);
	much = malloc(64u << 20);
	ck_assert_ptr_nonnull(much);
	memset(much, 1, 64u << 20);
#ifdef __SANITIZE_ADDRESS__
	expect("bytes of heap");
#endif
	free(much);
	arena_end();
}
END_TEST

static void never(struct vdb_io *io, int64_t result)
{
	ck_assert(result < 0 || result);
	io->op = 0;
}

START_TEST(an_operation_stays_in_flight)
{
	struct vdb_io io = {.op = VDB_IO_POLL, .mode = 1 /* POLLIN */, .done = never};
	int pipes[2];

	ck_assert_int_eq(pipe(pipes), 0);
	arena_begin(loop);
	io.fd = pipes[0];
	vdb_io_submit(loop, &io);
	expect("in flight");
	vdb_io_cancel(loop, &io);
	while (io.op)
		ck_assert_int_ge(vdb_loop_step(loop), 0);
	arena_end();
	close(pipes[0]);
	close(pipes[1]);
}
END_TEST

/* As a loop would count that served somebody out of turn: test_fair_broken has such a one. */
START_TEST(somebody_is_passed_over)
{
	arena_begin(loop);
	loop->stats.overtaken++;
	expect("served twice");
	loop->stats.overtaken--;
	arena_end();
}
END_TEST

/* A ring that takes more than its budget. */
START_TEST(somebody_takes_too_much)
{
	struct fake greedy = {.bytes = 4u << 20};

	arena_begin(loop);
	fake_add(loop, &greedy, NULL, 0);
	greedy.work = 1;
	vdb__source_ready(&greedy.source);
	expect("bytes served in one visit");
	arena_largest(4u << 20);
	fake_remove(&greedy);
	arena_end();
}
END_TEST

/* The loop goes on, but somebody does not let the bystander's answers through. */
static void hog(struct fake *fake)
{
	(void)fake;
	usleep(1000000);
}

START_TEST(the_bystander_is_not_served)
{
	struct fake slow = {.refill = 1, .bytes = 1u << 20, .on_serve = hog};

	arena_begin(loop);
	fake_add(loop, &slow, NULL, 0);
	expect("not served any more");
	slow.on_serve = NULL;
	arena_largest(1u << 20);
	fake_remove(&slow);
	arena_end();
}
END_TEST

START_TEST(canaries_in_memory)
{
	static const int64_t places[] = {-1, -(int64_t)(64u << 10), DISK, DISK + (64 << 10) - 1};
	uint8_t byte, *memory;

	disk = arena_memory(DISK);
	memory = arena_disk();
	arena_begin(loop);
	ck_assert_ptr_null(arena_verdict(20000));
	for (unsigned i = 0; i < 4; i++) {
		byte = memory[places[i]];
		memory[places[i]] ^= 1;
		expect("memory was written");
		memory[places[i]] = byte;
	}
	memory[0] ^= 1;
	memory[DISK - 1] ^= 1;
	arena_end();
}
END_TEST

START_TEST(canaries_in_a_file)
{
	struct vdb_backend_info info = {.size = sizeof(info)};
	uint8_t byte;
	int fd;

	disk = arena_file(DISK, 0);
	fd = arena_fd();
	arena_begin(loop);
	ck_assert_int_eq(vdb_backend_query(disk, &info), 0);
	ck_assert_uint_eq(info.capacity, DISK);
	ck_assert_int_eq(pread(fd, &byte, 1, DISK), 1);
	byte ^= 1;
	ck_assert_int_eq(pwrite(fd, &byte, 1, DISK), 1);
	expect("written behind");
	byte ^= 1;
	ck_assert_int_eq(pwrite(fd, &byte, 1, DISK), 1);
	ck_assert_int_eq(pwrite(fd, &byte, 1, DISK + (64 << 10)), 1);
	expect("size has changed");
	ck_assert_int_eq(ftruncate(fd, DISK + (64 << 10)), 0);
	ck_assert_int_eq(pwrite(fd, &byte, 1, 0), 1);
	arena_end();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("arena");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, nothing_happens);
	tcase_add_test(tc, on_a_thread);
	tcase_add_test(tc, beside_a_crowd);
	tcase_add_test(tc, an_fd_stays_open);
	tcase_add_test(tc, memory_is_kept);
	tcase_add_test(tc, an_operation_stays_in_flight);
	tcase_add_test(tc, somebody_is_passed_over);
	tcase_add_test(tc, somebody_takes_too_much);
	tcase_add_test(tc, the_bystander_is_not_served);
	tcase_add_test(tc, canaries_in_memory);
	tcase_add_test(tc, canaries_in_a_file);
	return test_run("arena", tc);
}
