/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: slow */
/* WRAP: ioctl calloc malloc realloc mmap eventfd pthread_create */
/* TIMEOUT: 300 */
/* Every call of the system's fails once, at every place: an error in words, and nothing left behind. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fail.h"
#include "kvm_fixture.h"
#include "leak.h"

static unsigned char *ram;

/* Everything that a VM may have. */
struct world {
	struct vdb_kvm *kvm;
	struct vdb_mem *mem;
	struct vdb_vm *vm;
	struct vdb_vcpu *vcpu[2];
	struct vdb_doorbell *bells[6];
	struct vdb_irq *irqs[4];
	uint32_t gone;
};

GUEST(end, "ud2");

static int make_vm(struct world *w)
{
	struct vdb_region_config region = {
	        .size = sizeof(region), .len = GUEST_MEM, .backing = VDB_MEM_HOST, .host = ram};
	struct vdb_vm_config config = {.size = sizeof(config), .doorbell_pages = 16, .flags = VDB_VM_PIT};
	const struct vdb_cpuid_override override = {.leaf = 0x40000100, .or_mask = {1}};
	int err = vdb_kvm_open(NULL, &w->kvm);

	if (!err)
		err = vdb_mem_create(&w->mem);
	if (!err)
		err = vdb_mem_add(w->mem, &region);
	if (!err)
		err = vdb_vm_create(w->kvm, w->mem, &config, &w->vm);
	if (!err)
		err = vdb_cpuid_set(w->vm, &override, 1);
	for (uint32_t i = 0; i < 2 && !err; i++)
		err = vdb_vcpu_create(w->vm, i, &w->vcpu[i]);
	return err;
}

static int make_doorbells(struct world *w)
{
	static const struct vdb_doorbell_ring rings[2] = {
	        {.ring_gpa = 0x10000, .sq_entries = 8, .cq_entries = 8, .match = 1},
	        {.ring_gpa = 0x20000, .sq_entries = 8, .cq_entries = 8, .match = 2},
	};
	int err = 0;

	for (uint32_t i = 0; i < 6 && !err; i++) {
		struct vdb_doorbell_config config = {
		        .size = sizeof(config),
		        .kind = i % 3,
		        .addr = i == 3 ? 0xe0000000 : VDB_GPA_ANY,
		        .rings = rings,
		        .ring_count = 1 + i % 2,
		        .describe = i == 4,
		        .page = i == 4 ? 0xe0001000 : 0,
		};

		err = vdb_doorbell_create(w->vm, &config, &w->bells[i]);
	}
	return err;
}

static int make_irqs(struct world *w)
{
	int err = 0;

	for (uint32_t i = 0; i < 4 && !err; i++) {
		struct vdb_irq_config config = {
		        .size = sizeof(config),
		        .kind = i < 3 ? i : VDB_IRQ_MSI,
		        .gsi = i ? 10 : 4,
		        .msi_address = 0xfee00000,
		        .msi_data = 0x40,
		};

		err = vdb_irq_create(w->vm, &config, &w->irqs[i]);
	}
	return err ? err : vdb_irq_retarget(w->irqs[3], 0xfee01000, 0x41);
}

static int use_vcpu(struct world *w)
{
	struct vdb_x86_start start = {.size = sizeof(start), .entry = GUEST_CODE};
	uint32_t regs[4];
	size_t len = 0;
	void *blob;
	int err = vdb_x86_start64(w->vcpu[0], &start);

	if (!err)
		err = vdb_cpuid_get(w->vm, 1, 0, regs);
	if (!err)
		err = vdb_vcpu_save(w->vcpu[0], NULL, &len);
	if (err)
		return err;
	blob = __builtin_alloca(len);
	err = vdb_vcpu_save(w->vcpu[0], blob, &len);
	if (!err)
		err = vdb_vcpu_restore(w->vcpu[1], blob, len);
	return err;
}

static int run_vcpus(struct world *w)
{
	uint64_t bitmap[GUEST_MEM / VDB_PAGE_SIZE / 64];
	uint32_t stopped = 0;
	int64_t n;
	int err = vdb_vm_dirty_log_start(w->vm);

	if (!err)
		err = vdb_vcpu_run(w->vcpu[0]);
	if (!err)
		err = vdb_vcpu_start(w->vcpu[1], 0, NULL);
	if (!err)
		err = vdb_vm_pause(w->vm, NULL, NULL);
	if (!err) {
		n = vdb_vm_dirty_log_harvest(w->vm, 0, GUEST_MEM, bitmap);
		err = n < 0 ? (int)n : vdb_vm_dirty_log_stop(w->vm);
	}
	if (!err)
		err = vdb_vm_stop(w->vm, count_done, &stopped);
	/* The waiting is Check's business only when it fails. */
	if (!err)
		wait_for32(&stopped, 1);
	return err;
}

static void unmake(struct world *w)
{
	for (unsigned i = 0; i < 6; i++)
		vdb_doorbell_destroy(w->bells[i]);
	for (unsigned i = 0; i < 4; i++)
		vdb_irq_destroy(w->irqs[i]);
	fail_check(!vdb_vm_destroy(w->vm, count_done, &w->gone));
	wait_for32(&w->gone, 1);
	fail_check(!vdb_mem_destroy(w->mem));
	vdb_kvm_close(w->kvm);
}

static int everything(void *arg)
{
	struct world w = {0};
	int err = make_vm(&w);

	(void)arg;
	if (!err)
		err = make_doorbells(&w);
	if (!err)
		err = make_irqs(&w);
	if (!err)
		err = use_vcpu(&w);
	if (!err)
		err = run_vcpus(&w);
	unmake(&w);
	return err;
}

static void make_ram(void)
{
	/* A thread that finds the heap busy would map a second one: no leak. */
	mallopt(M_ARENA_MAX, 1);
	ram = mmap(NULL, GUEST_MEM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(ram, MAP_FAILED);
	memcpy(ram + GUEST_CODE, guest_end, (size_t)(guest_end_end - guest_end));
}

static void drop_ram(void)
{
	munmap(ram, GUEST_MEM);
}

START_TEST(f14_every_failing_call_is_an_error_and_leaves_nothing)
{
	ck_assert_uint_gt(fail_sweep(everything, NULL), 80);
}
END_TEST

static void must_work(void *arg)
{
	ck_assert_int_eq(everything(arg), 0);
}

START_TEST(a_whole_life_leaves_no_fd_and_no_mapping)
{
	leak_check(must_work, NULL, 64 * 1024);
}
END_TEST

GUEST(spin, "jmp .");

/* Nobody is left to join the thread that closes the VM. */
static void end_by_the_last_vcpu(void *arg)
{
	struct vdb_x86_start start = {.size = sizeof(start), .entry = GUEST_CODE};
	struct world w = {0};

	(void)arg;
	must(make_vm(&w));
	memcpy(ram + GUEST_CODE, guest_spin, (size_t)(guest_spin_end - guest_spin));
	for (unsigned i = 0; i < 2; i++) {
		must(vdb_x86_start64(w.vcpu[i], &start));
		must(vdb_vcpu_start(w.vcpu[i], -1, NULL));
	}
	unmake(&w);
}

START_TEST(a_life_that_its_last_vcpu_ends_leaves_nothing)
{
	leak_check(end_by_the_last_vcpu, NULL, 1024 * 1024);
}
END_TEST

/* What a failed attempt left does not stand in the way of the next. */
START_TEST(f14_a_vcpu_that_failed_can_be_made_again)
{
	struct world w = {0};
	int err = -1;

	must(make_vm(&w));
	for (unsigned n = 1; err; n++) {
		struct vdb_vcpu *vcpu;

		ck_assert_uint_lt(n, 20);
		fail_at(n);
		err = vdb_vcpu_create(w.vm, 2, &vcpu);
		fail_at(0);
	}
	ck_assert_int_eq(vdb_vcpu_create(w.vm, 2, &w.vcpu[1]), -EEXIST);
	unmake(&w);
}
END_TEST

/* The n-th call fails until it is the ioctl that deletes the memslot. */
static void remove_unheard(struct vdb_mem *mem, vdb_gpa_t gpa)
{
	const char *failed = NULL;

	for (unsigned n = 1; !failed || strncmp(failed, "ioctl", 5); n++) {
		ck_assert_uint_lt(n, 20);
		fail_at(n);
		failed = vdb_mem_remove(mem, gpa, NULL, NULL) ? NULL : fail_what();
		fail_at(0);
	}
}

/* Its number is not given to another, and it is gone before the next is made. */
START_TEST(f14_a_memslot_that_kvm_keeps_is_deleted_later)
{
	struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = 0x10000000, .len = 4096, .backing = VDB_MEM_HOST, .host = ram};
	struct world w = {0};
	uint64_t bitmap;

	must(make_vm(&w));
	must(vdb_mem_add(w.mem, &region));
	remove_unheard(w.mem, region.gpa);
	ck_assert_int_eq(vdb_vm_dirty_log_start(w.vm), 0);
	ck_assert_int_eq(vdb_vm_dirty_log_harvest(w.vm, region.gpa, 4096, &bitmap), -ENOENT);
	/* KVM takes neither another mapping under a number in use nor two slots in one place. */
	region.host = ram + 4096;
	must(vdb_mem_add(w.mem, &region));
	must(vdb_mem_remove(w.mem, region.gpa, NULL, NULL));
	unmake(&w);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        f14_every_failing_call_is_an_error_and_leaves_nothing,
	        a_whole_life_leaves_no_fd_and_no_mapping,
	        a_life_that_its_last_vcpu_ends_leaves_nothing,
	        f14_a_vcpu_that_failed_can_be_made_again,
	        f14_a_memslot_that_kvm_keeps_is_deleted_later,
	        NULL,
	};

	return kvm_tests_run("failures", make_ram, drop_ram, tests);
}
