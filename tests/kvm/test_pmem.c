/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: pmem */
/* A bare-metal guest has a file as memory: what it writes is in the file, or its own, or nobody's. */
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kvm/guest/pmem_abi.h"
#include "engine.h"
#include "guest_image.h"
#include "run.h"

#define BASE 0xe0000000u
#define GSI 5u
#define GPA 0x40000000u
#define BYTES (2u * VDB_PMEM_ALIGN)
#define PAGES (BYTES / VDB_PAGE_SIZE)
#define BIT(feature) (1ull << (feature))

GUEST_IMAGE(pmem);

/* A VM and what serves it; each has its own loop. */
struct machine {
	struct kvm_fixture f;
	struct vdb_loop *loop;
	struct vdb_virtio *device;
	struct vdb_virtio_mmio *mmio;
};

static int file;

static uint64_t word_of(uint64_t page)
{
	uint64_t word = 0;

	ck_assert_int_eq(pread(file, &word, sizeof(word), (off_t)(page * VDB_PAGE_SIZE)), sizeof(word));
	return word;
}

static void expect_file(uint32_t salt)
{
	for (uint64_t i = 0; i < PAGES; i++)
		ck_assert_uint_eq(word_of(i), pmem_word(i, salt));
}

static void setup(void)
{
	char path[] = "pmem-image-XXXXXX";

	file = mkstemp(path);
	ck_assert_int_ge(file, 0);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(ftruncate(file, BYTES), 0);
	for (uint64_t i = 0; i < PAGES; i++) {
		uint64_t word = pmem_word(i, 1);

		ck_assert_int_eq(pwrite(file, &word, sizeof(word), (off_t)(i * VDB_PAGE_SIZE)), sizeof(word));
	}
}

static void teardown(void)
{
	close(file);
}

static void open_machine(struct machine *m, uint32_t flags)
{
	const struct vdb_virtio_mmio_config mmio = {.size = sizeof(mmio), .gsi = GSI, .base = BASE};
	const struct vdb_region_config region = {.size = sizeof(region),
	                                         .flags = flags,
	                                         .gpa = GPA,
	                                         .len = BYTES,
	                                         .backing = VDB_MEM_FD,
	                                         .fd = file};
	struct vdb_loop_config loop = test_loop_config();
	struct vdb_virtio_config at = {.size = sizeof(at)};
	const struct vdb_pmem_config config = {.size = sizeof(config), .at = &at, .gpa = GPA};

	*m = (struct machine){0};
	kvm_fixture_make(&m->f, NULL, 1);
	must(vdb_mem_add(m->f.mem, &region));
	must(vdb_loop_create(&loop, &m->loop));
	must(vdb_loop_start(m->loop, -1, NULL));
	at.mem = m->f.mem;
	at.loop = m->loop;
	must(vdb_pmem_create(&config, &m->device));
	must(vdb_virtio_mmio_create(m->f.vm, m->device, &mmio, &m->mmio));
}

static void close_machine(struct machine *m)
{
	uint32_t gone = 0;

	vdb_virtio_mmio_destroy(m->mmio);
	vdb_virtio_destroy(m->device, count_done, &gone);
	wait_for32(&gone, 1);
	must(vdb_loop_join(m->loop));
	must(vdb_loop_destroy(m->loop));
	kvm_fixture_end(&m->f);
}

static void drive(struct machine *m, struct pmem_params params)
{
	const struct pmem_params *told = (const void *)(m->f.ram + PMEM_PARAMS);

	*(struct pmem_params *)(void *)(m->f.ram + PMEM_PARAMS) = params;
	LOAD_IMAGE(&m->f, pmem, false, BASE);
	kvm_fixture_run(&m->f, 0);
	ck_assert_uint_eq(m->f.reports, 1);
	ck_assert_msg(m->f.report[0] == PMEM_OK, "the guest reports %#x, at page %u, answer %#x",
	              m->f.report[0], told->wrong, told->answer);
	ck_assert_uint_eq(told->start, GPA);
	ck_assert_uint_eq(told->size, BYTES);
}

static uint64_t flushes(struct machine *m)
{
	struct vdb_lane_stats stats = {.size = sizeof(stats)};

	must(vdb_virtio_queue_stats(m->device, 0, &stats));
	ck_assert_uint_eq(stats.errors, 0);
	return stats.flushes;
}

START_TEST(what_the_guest_writes_is_in_the_file)
{
	static const uint64_t rings[] = {0, BIT(VIRTIO_F_RING_PACKED)};
	struct machine m;

	open_machine(&m, 0);
	drive(&m, (struct pmem_params){.features = rings[_i], .from = 1, .to = 2, .keeps = 1});
	ck_assert_uint_eq(flushes(&m), 1);
	close_machine(&m);
	expect_file(2);
}
END_TEST

/* Two VMs on one image: each has its own, and the file stays as it is. */
START_TEST(private_writes_are_the_guests_own)
{
	struct machine m[2];

	open_machine(&m[0], VDB_REGION_PRIVATE);
	open_machine(&m[1], VDB_REGION_PRIVATE);
	drive(&m[0], (struct pmem_params){.from = 1, .to = 3, .keeps = 1});
	drive(&m[1], (struct pmem_params){.from = 1, .to = 4, .keeps = 1});
	close_machine(&m[0]);
	close_machine(&m[1]);
	expect_file(1);
}
END_TEST

START_TEST(a_readonly_image_cannot_be_written)
{
	struct machine m;

	open_machine(&m, VDB_REGION_READONLY);
	drive(&m, (struct pmem_params){.from = 1, .to = 6, .keeps = 0});
	ck_assert_uint_eq(flushes(&m), 1);
	close_machine(&m);
	expect_file(1);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("pmem");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, what_the_guest_writes_is_in_the_file, 0, 2);
	tcase_add_test(tc, private_writes_are_the_guests_own);
	tcase_add_test(tc, a_readonly_image_cannot_be_written);
	return test_run_within("pmem", tc, 100);
}
