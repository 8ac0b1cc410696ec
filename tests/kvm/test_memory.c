/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* Memory of a VM: added and removed while it runs, read-only, and what the guest dirtied. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kvm_fixture.h"

#define HOTPLUG 0x10000000u
#define MAGIC 0x600df00du

static struct kvm_fixture f;

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 1);
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

static void add(vdb_gpa_t gpa, uint64_t len, uint32_t flags)
{
	const struct vdb_region_config region = {
	        .size = sizeof(region), .flags = flags, .gpa = gpa, .len = len};

	must(vdb_mem_add(f.mem, &region));
}

/* Tells when the word at rdi is the magic, and when it is not any more. */
GUEST(watch, "1: cmpl $0x600df00d, (%rdi)\n jne 1b\n mov $1, %eax\n out %eax, $0x10\n"
             "2: cmpl $0x600df00d, (%rdi)\n je 2b\n mov (%rdi), %eax\n out %eax, $0x10\n jmp 1b");

START_TEST(a_running_guest_sees_memory_come_and_go)
{
	uint32_t removed = 0;

	LOAD(&f, 0, watch, HOTPLUG);
	must(vdb_vcpu_start(f.vcpu[0], -1, NULL));
	for (uint32_t i = 0; i < 4; i++) {
		add(HOTPLUG, 0x200000, 0);
		must(vdb_mem_store32(f.mem, HOTPLUG, MAGIC));
		wait_for32(&f.reports, 2 * i + 1);
		must(vdb_mem_remove(f.mem, HOTPLUG, count_done, &removed));
		ck_assert_uint_eq(removed, i + 1);
		wait_for32(&f.reports, 2 * i + 2);
		ck_assert_uint_eq(f.report[2 * i + 1], 0xffffffff);
		ck_assert_int_eq(vdb_mem_reap(f.mem), 0);
	}
	ck_assert_uint_gt(kvm_fixture_stats(&f, 0).unclaimed, 0);
}
END_TEST

static uint32_t written;

static void on_write(void *ctx, struct vdb_bus_access *access)
{
	(void)ctx;
	memcpy(&written, access->data, sizeof(written));
}

GUEST(store, "mov (%rdi), %eax\n out %eax, $0x10\n movl $0x5555, (%rdi)\n mov (%rdi), %eax\n"
             "out %eax, $0x10\n ud2");

START_TEST(a_write_to_read_only_memory_is_an_mmio_exit)
{
	const struct vdb_bus_ops ops = {.size = sizeof(ops), .write = on_write};
	static const unsigned char rom[4096] __attribute__((aligned(4096))) = {0x78, 0x56, 0x34, 0x12};
	const struct vdb_region_config region = {
	        .size = sizeof(region),
	        .flags = VDB_REGION_READONLY,
	        .gpa = HOTPLUG,
	        .len = sizeof(rom),
	        .backing = VDB_MEM_HOST,
	        .host = (void *)(uintptr_t)rom,
	};

	must(vdb_mem_add(f.mem, &region));
	must(vdb_bus_add(vdb_vm_mmio(f.vm), "flash", HOTPLUG, 4096, &ops, NULL));
	LOAD(&f, 0, store, HOTPLUG);
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(f.report[0], 0x12345678);
	ck_assert_uint_eq(f.report[1], 0x12345678);
	ck_assert_uint_eq(written, 0x5555);
	ck_assert_uint_eq(kvm_fixture_stats(&f, 0).exits_mmio, 1);
}
END_TEST

/* ---- Memory and devices ---- */

START_TEST(memory_and_devices_keep_apart)
{
	static const struct vdb_bus_ops ops = {.size = sizeof(ops)};
	struct vdb_region_config region = {.size = sizeof(region), .gpa = HOTPLUG, .len = 0x10000};
	struct vdb_bus *mmio = vdb_vm_mmio(f.vm);
	struct vdb_vm *other;

	/* A device where memory is: at its last byte, or all around it. */
	ck_assert_int_eq(vdb_bus_add(mmio, "nic", GUEST_MEM - 1, 16, &ops, NULL), -EEXIST);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "nic"));
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "memory [0, +0x400000)"));
	ck_assert_int_eq(vdb_bus_add(mmio, "nic", GUEST_DATA, 16, &ops, NULL), -EEXIST);
	must(vdb_bus_add(mmio, "nic", HOTPLUG + 0xfff8, 16, &ops, NULL));
	/* Memory where a device is. */
	ck_assert_int_eq(vdb_mem_add(f.mem, &region), -EEXIST);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "memory"));
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "nic"));
	/* Nothing was left: neither in another VM nor in this one's table. */
	must(vdb_vm_create(f.kvm, f.mem, NULL, &other));
	must(vdb_bus_add(mmio, "disk", HOTPLUG, 16, &ops, NULL));
	must(vdb_bus_remove(mmio, HOTPLUG));
	must(vdb_bus_remove(mmio, HOTPLUG + 0xfff8));
	must(vdb_mem_add(f.mem, &region));
	ck_assert_int_eq(vdb_bus_add(mmio, "disk", HOTPLUG - 16, 17, &ops, NULL), -EEXIST);
	ck_assert_int_eq(vdb_bus_add(vdb_vm_mmio(other), "disk", 0, UINT64_MAX, &ops, NULL), -EEXIST);
	must(vdb_mem_remove(f.mem, HOTPLUG, NULL, NULL));
	must(vdb_bus_add(mmio, "disk", HOTPLUG - 16, 17, &ops, NULL));
	must(vdb_vm_destroy(other, NULL, NULL));
}
END_TEST

START_TEST(ports_end)
{
	static const struct vdb_bus_ops ops = {.size = sizeof(ops)};
	struct vdb_bus *pio = vdb_vm_pio(f.vm);

	ck_assert_int_eq(vdb_bus_add(pio, "uart", 0xfffc, 8, &ops, NULL), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "the last port is 0xffff"));
	ck_assert_int_eq(vdb_bus_add(pio, "uart", 0x10000, 1, &ops, NULL), -EINVAL);
	ck_assert_int_eq(vdb_bus_add(pio, "uart", 0xfff8, 0x1000, &ops, NULL), -EINVAL);
	must(vdb_bus_add(pio, "uart", 0xfff8, 8, &ops, NULL));
}
END_TEST

static uint32_t claimed, raced;

static void *claim_and_give_up(void *arg)
{
	static const struct vdb_bus_ops ops = {.size = sizeof(ops)};

	while (!__atomic_load_n(&raced, __ATOMIC_ACQUIRE)) {
		if (vdb_bus_add(arg, "racer", HOTPLUG + 0x800, 8, &ops, NULL))
			continue;
		for (uint32_t i = 1; i <= 1000; i++)
			__atomic_store_n(&claimed, i, __ATOMIC_SEQ_CST);
		__atomic_store_n(&claimed, 0, __ATOMIC_SEQ_CST);
		if (vdb_bus_remove(arg, HOTPLUG + 0x800))
			abort();
	}
	return NULL;
}

/* Each round one of the two wins, or neither; never both. */
START_TEST(memory_and_devices_race)
{
	const struct vdb_region_config region = {.size = sizeof(region), .gpa = HOTPLUG, .len = 4096};
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, claim_and_give_up, vdb_vm_mmio(f.vm)), 0);
	for (int i = 0; i < 200; i++) {
		if (vdb_mem_add(f.mem, &region))
			continue;
		for (int j = 0; j < 100; j++)
			ck_assert_uint_eq(__atomic_load_n(&claimed, __ATOMIC_SEQ_CST), 0);
		must(vdb_mem_remove(f.mem, HOTPLUG, NULL, NULL));
	}
	__atomic_store_n(&raced, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
}
END_TEST

/* ---- What the guest dirtied ---- */

/* Writes a word to each page from rdi on, rsi bytes apart, ecx times. */
GUEST(dirty, "1: movl $1, (%rdi)\n add %rsi, %rdi\n dec %ecx\n jnz 1b\n ud2");

static void dirty_pages(uint64_t gpa, uint64_t stride, uint32_t count)
{
	struct vdb_x86_regs regs;

	LOAD(&f, 0, dirty, gpa);
	must(vdb_x86_get_regs(f.vcpu[0], &regs));
	regs.rsi = stride;
	regs.rcx = count;
	must(vdb_x86_set_regs(f.vcpu[0], &regs));
	kvm_fixture_run(&f, 0);
}

static bool is_dirty(const uint64_t *bitmap, uint64_t offset)
{
	uint64_t page = offset / VDB_PAGE_SIZE;

	return bitmap[page / 64] >> (page % 64) & 1;
}

START_TEST(the_dirty_log_contains_what_the_guest_wrote)
{
	uint64_t bitmap[GUEST_MEM / VDB_PAGE_SIZE / 64], dirty = 0;
	int64_t n;

	dirty_pages(GUEST_DATA + 0x80000, 0x1000, 4);
	must(vdb_vm_dirty_log_start(f.vm));
	ck_assert_int_eq(vdb_vm_dirty_log_start(f.vm), -EALREADY);
	dirty_pages(GUEST_DATA, 0x5000, 10);
	n = must(vdb_vm_dirty_log_harvest(f.vm, 0, GUEST_MEM, bitmap));
	for (unsigned i = 0; i < 10; i++)
		ck_assert_msg(is_dirty(bitmap, GUEST_DATA + i * 0x5000), "page %u", i);
	for (unsigned i = 0; i < sizeof(bitmap) / sizeof(bitmap[0]); i++)
		dirty += (uint64_t)__builtin_popcountll(bitmap[i]);
	ck_assert_uint_eq((uint64_t)n, dirty);
	/* What was written before the start, or is harvested, is not there. */
	ck_assert(!is_dirty(bitmap, GUEST_DATA + 0x80000));
	must(vdb_vm_dirty_log_harvest(f.vm, 0, GUEST_MEM, bitmap));
	ck_assert(!is_dirty(bitmap, GUEST_DATA + 0x5000));
	dirty_pages(GUEST_DATA + 0x5000, 0, 1);
	must(vdb_vm_dirty_log_harvest(f.vm, 0, GUEST_MEM, bitmap));
	ck_assert(is_dirty(bitmap, GUEST_DATA + 0x5000));
	must(vdb_vm_dirty_log_stop(f.vm));
	ck_assert_int_eq(vdb_vm_dirty_log_harvest(f.vm, 0, GUEST_MEM, bitmap), -EINVAL);
	ck_assert_int_eq(vdb_vm_dirty_log_stop(f.vm), -EINVAL);
}
END_TEST

START_TEST(memory_added_while_logging_is_logged)
{
	uint64_t bitmap[8];

	must(vdb_vm_dirty_log_start(f.vm));
	add(HOTPLUG, 0x200000, 0);
	add(HOTPLUG + 0x200000, 0x1000, VDB_REGION_READONLY);
	dirty_pages(HOTPLUG + 0x7000, 0x1000, 2);
	must(vdb_vm_dirty_log_harvest(f.vm, HOTPLUG, 0x200000, bitmap));
	ck_assert(is_dirty(bitmap, 0x7000));
	ck_assert(is_dirty(bitmap, 0x8000));
	ck_assert_int_eq(vdb_vm_dirty_log_harvest(f.vm, HOTPLUG + 0x200000, 0x1000, bitmap), 0);
	/* Only whole regions. */
	ck_assert_int_eq(vdb_vm_dirty_log_harvest(f.vm, HOTPLUG + 0x1000, 0x1000, bitmap), -ENOENT);
	ck_assert_int_eq(vdb_vm_dirty_log_harvest(f.vm, HOTPLUG, 0x1000, bitmap), -ENOENT);
	must(vdb_vm_dirty_log_stop(f.vm));
}
END_TEST

/* ---- Whose memory it is ---- */

START_TEST(memory_in_use_by_a_vm_is_not_destroyed)
{
	ck_assert_ptr_eq(vdb_vm_mem(f.vm), f.mem);
	ck_assert_int_eq(vdb_mem_destroy(f.mem), -EBUSY);
	dirty_pages(GUEST_DATA, 0, 1);
}
END_TEST

START_TEST(two_vms_share_one_memory)
{
	struct vdb_x86_start start = {.size = sizeof(start), .entry = GUEST_CODE, .arg = {HOTPLUG}};
	struct vdb_vcpu *vcpu;
	struct vdb_vm *vm;
	uint32_t word;

	must(vdb_vm_create(f.kvm, f.mem, NULL, &vm));
	must(vdb_vcpu_create(vm, 0, &vcpu));
	add(HOTPLUG, 0x1000, 0);
	LOAD(&f, 0, store, HOTPLUG);
	kvm_fixture_run(&f, 0);
	/* The other one runs the same code at the same place; its ports have nobody. */
	must(vdb_mem_store32(f.mem, HOTPLUG, 0));
	must(vdb_x86_start64(vcpu, &start));
	must(vdb_vcpu_run(vcpu));
	must(vdb_mem_load32(f.mem, HOTPLUG, &word));
	ck_assert_uint_eq(word, 0x5555);
	must(vdb_vm_destroy(vm, NULL, NULL));
	must(vdb_mem_remove(f.mem, HOTPLUG, NULL, NULL));
}
END_TEST

START_TEST(a_hundred_regions_come_and_go)
{
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 100; i++)
			add(HOTPLUG + i * 0x2000, 0x1000, 0);
		dirty_pages(HOTPLUG, 0x2000, 100);
		for (unsigned i = 0; i < 100; i++)
			must(vdb_mem_remove(f.mem, HOTPLUG + i * 0x2000, NULL, NULL));
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        a_running_guest_sees_memory_come_and_go,
	        a_write_to_read_only_memory_is_an_mmio_exit,
	        memory_and_devices_keep_apart,
	        ports_end,
	        memory_and_devices_race,
	        the_dirty_log_contains_what_the_guest_wrote,
	        memory_added_while_logging_is_logged,
	        memory_in_use_by_a_vm_is_not_destroyed,
	        two_vms_share_one_memory,
	        a_hundred_regions_come_and_go,
	        NULL,
	};

	return kvm_tests_run("memory", setup, teardown, tests);
}
