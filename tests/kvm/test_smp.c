/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* Application processors wait for their SIPI, as a kernel starts them; and can be paused and stopped
 * meanwhile. */
#include <string.h>

#include "kvm_fixture.h"

#define CPUS FIXTURE_VCPUS
#define TRAMPOLINE 0x20000u /* SIPI vector 0x20 */
#define AWAKE 0x21000u      /* a byte that each of them increments */

static struct kvm_fixture f;

/* Real mode, cs = 0x2000: counts itself and sleeps for good. */
GUEST(trampoline, ".code16\n mov $0x2100, %ax\n mov %ax, %ds\n lock incl 0\n cli\n1: hlt\n jmp 1b\n .code64");

/* CPL 0: INIT and SIPI to all others, by the xAPIC registers. */
GUEST(waker, "mov $0xfee000f0, %eax\n movl $0x1ff, (%rax)\n"
             "mov $0xfee00300, %eax\n movl $0xc4500, (%rax)\n movl $0xc4620, (%rax)\n"
             "mov $0x21000, %ebx\n 1: pause\n cmpl %edi, (%rbx)\n jne 1b\n"
             "mov (%rbx), %eax\n out %eax, $0x10\n ud2");

static void setup(void)
{
	kvm_fixture_make(&f, NULL, CPUS);
	memcpy(f.ram + TRAMPOLINE, guest_trampoline, (size_t)(guest_trampoline_end - guest_trampoline));
	for (uint32_t i = 1; i < CPUS; i++)
		must(vdb_vcpu_start(f.vcpu[i], -1, NULL));
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

static void wake_all(void)
{
	const struct vdb_x86_start start = {
	        .size = sizeof(start),
	        .flags = VDB_X86_KERNEL,
	        .entry = GUEST_CODE,
	        .stack = GUEST_STACK,
	        .arg = {CPUS - 1},
	        .tables = GUEST_TABLES,
	};

	LOAD(&f, 0, waker, 0);
	must(vdb_x86_start64(f.vcpu[0], &start));
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(f.report[0], CPUS - 1);
	ck_assert_uint_eq(kvm_fixture_word(&f, AWAKE), CPUS - 1);
}

START_TEST(all_of_them_start)
{
	wake_all();
}
END_TEST

START_TEST(a_pause_while_they_wait_loses_no_sipi)
{
	for (unsigned i = 0; i < 5; i++) {
		uint32_t parked = 0;

		must(vdb_vm_pause(f.vm, count_done, &parked));
		wait_for32(&parked, 1);
		must(vdb_vm_resume(f.vm));
	}
	ck_assert_uint_eq(kvm_fixture_word(&f, AWAKE), 0);
	wake_all();
}
END_TEST

START_TEST(they_stop_while_they_wait)
{
	uint32_t stopped = 0;

	must(vdb_vm_stop(f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        all_of_them_start,
	        a_pause_while_they_wait_loses_no_sipi,
	        they_stop_while_they_wait,
	        NULL,
	};

	return kvm_tests_run("smp", setup, teardown, tests);
}
