/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: madvise */
/* LABELS: tsan slow */
/*
 * G74: pages go while host I/O reads into them, and what is read is in the old page or in the new one, and
 * nowhere else. And the work that a guest can make of it: so much in a turn, and no more when nobody wants
 * it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "balloon_rig.h"
#include "run.h"

#define V1 VRIG_V1
#define PAGE ((size_t)VDB_PAGE_SIZE)
#define READS 8u
#define ROUNDS 100u
#define DATA 0x77

int __real_madvise(void *at, size_t len, int advice);
int __wrap_madvise(void *at, size_t len, int advice);

static struct balloon_rig b;

/* ---- Calls of the kernel's, by the turn of the loop ---- */

static uint64_t calls, turn, in_turn, most;

int __wrap_madvise(void *at, size_t len, int advice)
{
	struct vdb_loop_stats stats = {.size = sizeof(stats)};

	if (advice == MADV_DONTNEED && b.rig.loop && vdb_loop_here(b.rig.loop) &&
	    !vdb_loop_stats(b.rig.loop, &stats)) {
		in_turn = stats.turns == turn ? in_turn + 1 : 1;
		turn = stats.turns;
		calls++;
		most = in_turn > most ? in_turn : most;
	}
	return __real_madvise(at, len, advice);
}

static void setup(void)
{
	balloon_rig_open(&b, NULL, NULL);
	virtio_rig_up(&b.rig, V1, 2);
}

static void teardown(void)
{
	balloon_rig_close(&b);
}

/* Every other page: none of them lies beside the next. */
START_TEST(a_turn_has_so_many_calls_and_no_more)
{
	uint32_t pages[512];

	for (uint32_t i = 0; i < 512; i++)
		pages[i] = (uint32_t)BALLOON_PAGE + 2 * i;
	balloon_rig_list(&b, BALLOON_INFLATE, pages, 512);
	ck_assert_uint_eq(balloon_rig_info(&b).discarded, 512 * PAGE);
	ck_assert_uint_eq(calls, 512);
	/* A quantum of 256 KiB at 16 KiB each, and what one slice may have begun. */
	ck_assert_uint_le(most, 256 / 16 + 8 + 16);
	calls = 0;
	for (uint32_t i = 0; i < 512; i++)
		pages[i] = (uint32_t)BALLOON_PAGE + i;
	balloon_rig_list(&b, BALLOON_INFLATE, pages, 512);
	ck_assert_uint_le(calls, 2);
}
END_TEST

/* 64 MiB of page numbers that are all the same: hardly any work, but without end. */
START_TEST(g73_a_reset_cuts_an_endless_list_short)
{
	struct virtq_buf bufs[16];

	for (unsigned i = 0; i < 16; i++)
		bufs[i] = (struct virtq_buf){BALLOON_GPA, (uint32_t)b.len, false};
	ck_assert(virtq_add(&b.rig.driver[BALLOON_INFLATE], bufs, 16, 1));
	(void)virtq_publish(&b.rig.driver[BALLOON_INFLATE]);
	virtio_rig_reset(&b.rig);
	ck_assert_uint_le(balloon_rig_info(&b).wrong, 1);
	virtio_rig_up(&b.rig, V1, 2);
	balloon_rig_list(&b, BALLOON_INFLATE, (const uint32_t[]){(uint32_t)BALLOON_PAGE}, 1);
	ck_assert_uint_eq(balloon_rig_info(&b).discarded, PAGE);
}
END_TEST

/* ---- Host I/O ---- */

struct read {
	struct vdb_io io; /* first */
	struct iovec iov;
	uint32_t *ended;
	int64_t result;
};

static struct read reads[READS];
static uint32_t ended; /* atomic */

static void done(struct vdb_io *io, int64_t result)
{
	struct read *read = (struct read *)io;

	read->result = result;
	__atomic_fetch_add(read->ended, 1, __ATOMIC_ACQ_REL);
}

static int submit(void *arg)
{
	struct read *read = arg;

	vdb_io_submit(b.rig.loop, &read->io);
	return 0;
}

/* Into that page of the region. */
static void start_read(struct read *read, int fd, uint32_t page, uint64_t offset, uint32_t flags)
{
	*read = (struct read){.iov = {b.host + page * PAGE, PAGE}, .ended = &ended};
	read->io = (struct vdb_io){.op = VDB_IO_READV,
	                           .fd = fd,
	                           .iov = &read->iov,
	                           .niov = 1,
	                           .offset = offset,
	                           .flags = flags,
	                           .done = done};
	ck_assert_int_eq(vdb_loop_call(b.rig.loop, submit, read), 0);
}

/* A read that waits for its data, as from a network disk: it comes when the page has gone, and is in the new
 * one. */
START_TEST(g74_a_read_that_waits_finds_the_new_page)
{
	const uint32_t page = (uint32_t)BALLOON_PAGE + 5;
	uint8_t data[VDB_PAGE_SIZE];
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	start_read(&reads[0], fds[0], 5, UINT64_MAX, 0);
	balloon_rig_list(&b, BALLOON_INFLATE, &page, 1);
	ck_assert_uint_eq(balloon_rig_info(&b).discarded, PAGE);
	memset(data, DATA, sizeof(data));
	ck_assert_int_eq(write(fds[1], data, sizeof(data)), sizeof(data));
	virtio_rig_wait(&ended, 1);
	ck_assert_int_eq(reads[0].result, sizeof(data));
	ck_assert(balloon_rig_all(&b, 5, 1, DATA));
	ck_assert(balloon_rig_all(&b, 4, 1, BALLOON_FILL));
	ck_assert(balloon_rig_all(&b, 6, 1, BALLOON_FILL));
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* Memory of somebody else's, which would be the next to get pages that went too early. */
static uint8_t *others(void)
{
	uint8_t *at = mmap(NULL, READS * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(at, MAP_FAILED);
	memset(at, 0x33, READS * PAGE);
	return at;
}

static int disk(void)
{
	char path[] = "balloon-disk-XXXXXX";
	uint8_t data[VDB_PAGE_SIZE];
	int fd = mkstemp(path), direct;

	ck_assert_int_ge(fd, 0);
	memset(data, DATA, sizeof(data));
	for (unsigned i = 0; i < READS; i++)
		ck_assert_int_eq(write(fd, data, sizeof(data)), sizeof(data));
	ck_assert_int_eq(fsync(fd), 0);
	direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	ck_assert_int_eq(unlink(path), 0);
	close(fd);
	return direct;
}

static void race(int fd)
{
	uint32_t pages[READS], before = __atomic_load_n(&ended, __ATOMIC_ACQUIRE);
	uint8_t *other;

	for (uint32_t i = 0; i < READS; i++)
		pages[i] = (uint32_t)BALLOON_PAGE + 2 * i;
	for (uint32_t i = 0; i < READS; i++)
		start_read(&reads[i], fd, 2 * i, i * PAGE, VDB_IO_DIRECT);
	balloon_rig_list(&b, BALLOON_INFLATE, pages, READS);
	other = others();
	virtio_rig_wait(&ended, before + READS);
	for (uint32_t i = 0; i < READS; i++) {
		ck_assert_int_eq(reads[i].result, PAGE);
		ck_assert(balloon_rig_all(&b, 2 * i, 1, DATA) || balloon_rig_all(&b, 2 * i, 1, 0));
		ck_assert(balloon_rig_all(&b, 2 * i + 1, 1, BALLOON_FILL));
	}
	ck_assert(other[0] == 0x33 && !memcmp(other, other + 1, READS * PAGE - 1));
	munmap(other, READS * PAGE);
}

/* The kernel holds the page that a disk writes to: the data is there, or in the one that has taken its place.
 */
START_TEST(g74_reads_of_a_disk_into_pages_that_go)
{
	int fd = disk();

	if (fd < 0) {
		test_skipped_part("O_DIRECT", "the file system here has none");
		return;
	}
	for (unsigned i = 0; i < ROUNDS; i++)
		race(fd);
	close(fd);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("balloon_io");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_turn_has_so_many_calls_and_no_more);
	tcase_add_test(tc, g73_a_reset_cuts_an_endless_list_short);
	tcase_add_test(tc, g74_a_read_that_waits_finds_the_new_page);
	tcase_add_test(tc, g74_reads_of_a_disk_into_pages_that_go);
	return test_run("balloon_io", tc);
}
