/* SPDX-License-Identifier: Apache-2.0 */
/* The i8254 in the kernel, for guests that calibrate by it. */
#include <errno.h>

#include "irq_guest.h"
#include "leak.h"

#define VECTOR 0x44u

static struct kvm_fixture f;

static void setup(void)
{
	const struct vdb_vm_config config = {.size = sizeof(config), .flags = VDB_VM_PIT};

	kvm_fixture_make(&f, &config, 2);
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

/* Channel 0: rate generator, 1 ms. */
GUEST(periodic, "mov $0x34, %al\n out %al, $0x43\n mov $0xa9, %al\n out %al, $0x40\n"
                "mov $0x04, %al\n out %al, $0x40\n in $0x61, %al\n ud2");

START_TEST(it_ticks)
{
	static const struct irq_guest_pin pin = {0, VECTOR, false};

	irq_guest_start(&f, 1, &pin, 1);
	LOAD(&f, 0, periodic, 0);
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(kvm_fixture_stats(&f, 0).unclaimed, 0);
	wait_for32(irq_guest_count(&f, 1, VECTOR), 20);
}
END_TEST

static int refusal(uint32_t flags, uint32_t irqchip)
{
	const struct vdb_vm_config config = {.size = sizeof(config), .flags = flags, .irqchip = irqchip};
	struct vdb_vm *vm;
	int rc, fds = leak_fds();

	rc = vdb_vm_create(f.kvm, f.mem, &config, &vm);
	ck_assert_int_eq(leak_fds(), fds);
	return rc;
}

START_TEST(what_cannot_be_is_refused)
{
	ck_assert_int_eq(refusal(VDB_VM_PIT, VDB_IRQCHIP_SPLIT), -EINVAL);
	ck_assert_int_eq(refusal(VDB_VM_PIT, VDB_IRQCHIP_NONE), -EINVAL);
	ck_assert_int_eq(refusal(1u << 31, VDB_IRQCHIP_KERNEL), -EINVAL);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {it_ticks, what_cannot_be_is_refused, NULL};

	return kvm_tests_run("pit", setup, teardown, tests);
}
