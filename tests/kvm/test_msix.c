/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* A guest masks and unmasks its MSI-X vector while a device raises it: real irqfds, real interrupts. */
#include <pthread.h>
#include <time.h>

#include "irq_guest.h"
#include "pci/msix.h"

#define TABLE 0xe0000000u
#define PBA 0xe0001000u
#define VECTOR 0x43u
#define RAISES 1000u

/* What vCPU 1 and the test tell each other by. */
#define MASKED_WORD (GUEST_DATA + 0x8000u)
#define GO_WORD (GUEST_DATA + 0x8004u)
#define PBA_WORD (GUEST_DATA + 0x8008u)

static struct kvm_fixture f;
static struct vdb__msix *msix;

static void table_read(void *ctx, struct vdb_bus_access *access)
{
	vdb__msix_table_read(ctx, access->offset, access->data, access->len);
}

static void table_write(void *ctx, struct vdb_bus_access *access)
{
	vdb__msix_table_write(ctx, access->offset, access->data, access->len);
}

static void pba_read(void *ctx, struct vdb_bus_access *access)
{
	vdb__msix_pba_read(ctx, access->offset, access->data, access->len);
}

static void setup(void)
{
	const struct vdb_bus_ops table = {.size = sizeof(table), .read = table_read, .write = table_write};
	const struct vdb_bus_ops pba = {.size = sizeof(pba), .read = pba_read};

	kvm_fixture_make(&f, NULL, 2);
	must(vdb__msix_create(f.vm, 4, &msix));
	must(vdb_bus_add(vdb_vm_mmio(f.vm), "msix", TABLE, 0x1000, &table, msix));
	must(vdb_bus_add(vdb_vm_mmio(f.vm), "pba", PBA, 0x1000, &pba, msix));
	vdb__msix_control(msix, true, false);
}

static void teardown(void)
{
	uint32_t stopped = 0;

	must(vdb_vm_stop(f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
	vdb__msix_destroy(msix);
	kvm_fixture_end(&f);
}

/* Vector 1 of the table: aims at vCPU 1, opens, masks, tells; waits, reads the pending bits, unmasks. */
GUEST(driver, "movl $0xfee01000, 16(%rdi)\n movl $0, 20(%rdi)\n movl $0x43, 24(%rdi)\n movl $0, 28(%rdi)\n"
              "movl $1, 28(%rdi)\n movl $1, 0x308000\n"
              "1: pause\n cmpl $0, 0x308004\n je 1b\n"
              "mov 0x1000(%rdi), %eax\n mov %eax, 0x308008\n"
              "movl $0, 28(%rdi)\n ud2");

static uint32_t *word(uint32_t gpa)
{
	return (uint32_t *)(void *)(f.ram + gpa);
}

/* vCPU 1 takes interrupts, vCPU 0 is the driver. */
static void start(void)
{
	kvm_fixture_load(&f, 0, guest_driver, (size_t)(guest_driver_end - guest_driver), TABLE);
	irq_guest_start(&f, 1, NULL, 0);
	must(vdb_vcpu_start(f.vcpu[0], -1, NULL));
	wait_for32(word(MASKED_WORD), 1);
}

static const uint32_t *arrived(void)
{
	return irq_guest_count(&f, 1, VECTOR);
}

START_TEST(a_thousand_raises_while_masked_are_one_interrupt)
{
	const struct timespec soon = {.tv_nsec = 20000000};

	start();
	for (uint32_t i = 0; i < RAISES; i++)
		vdb__msix_raise(msix, 1);
	nanosleep(&soon, NULL);
	ck_assert_uint_eq(*arrived(), 0);
	__atomic_store_n(word(GO_WORD), 1, __ATOMIC_RELEASE);
	wait_for32(arrived(), 1);
	wait_for32(&f.events, 1); /* the driver has ended */
	nanosleep(&soon, NULL);
	ck_assert_uint_eq(*arrived(), 1);
	ck_assert_uint_eq(kvm_fixture_word(&f, PBA_WORD), 1u << 1);
	/* And open it is. */
	for (uint32_t i = 2; i < 10; i++) {
		vdb__msix_raise(msix, 1);
		wait_for32(arrived(), i);
	}
}
END_TEST

START_TEST(an_unmask_without_a_raise_is_silent)
{
	const struct timespec soon = {.tv_nsec = 20000000};

	start();
	__atomic_store_n(word(GO_WORD), 1, __ATOMIC_RELEASE);
	wait_for32(&f.events, 1);
	nanosleep(&soon, NULL);
	ck_assert_uint_eq(*arrived(), 0);
	ck_assert_uint_eq(kvm_fixture_word(&f, PBA_WORD), 0);
}
END_TEST

static void *raise_many(void *arg)
{
	for (uint32_t i = 0; i < RAISES; i++)
		vdb__msix_raise(arg, 1);
	return NULL;
}

/* However the two meet, what was raised last arrives. */
START_TEST(raises_across_the_unmask_arrive)
{
	uint32_t before;
	pthread_t thread;

	start();
	ck_assert_int_eq(pthread_create(&thread, NULL, raise_many, msix), 0);
	__atomic_store_n(word(GO_WORD), 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	wait_for32(&f.events, 1);
	wait_for32(arrived(), 1);
	before = __atomic_load_n(arrived(), __ATOMIC_ACQUIRE);
	ck_assert_uint_le(before, RAISES);
	vdb__msix_raise(msix, 1);
	wait_for32(arrived(), before + 1);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        a_thousand_raises_while_masked_are_one_interrupt,
	        an_unmask_without_a_raise_is_silent,
	        raises_across_the_unmask_arrive,
	        NULL,
	};

	return kvm_tests_run("msix", setup, teardown, tests);
}
