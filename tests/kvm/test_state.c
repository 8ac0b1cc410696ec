/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's state goes into a fresh VM and the program goes on; garbage is refused. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvm_fixture.h"

static struct kvm_fixture f, g;

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 2);
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

static void *save(struct vdb_vcpu *vcpu, size_t *len)
{
	void *blob;

	must(vdb_vcpu_save(vcpu, NULL, len));
	blob = malloc(*len);
	ck_assert_ptr_nonnull(blob);
	must(vdb_vcpu_save(vcpu, blob, len));
	return blob;
}

/* Counts in r12 and memory until the word at rdi + 4 is set; tells r12, xmm3 and the base of fs. */
GUEST(program, "mov $0x1badb002, %eax\n movd %eax, %xmm3\n mov $1000, %r12d\n"
               "1: inc %r12d\n mov %r12d, (%rdi)\n cmpl $0, 4(%rdi)\n je 1b\n"
               "mov %r12d, %eax\n out %eax, $0x10\n movd %xmm3, %eax\n out %eax, $0x10\n"
               "mov %esi, %eax\n out %eax, $0x10\n ud2");

START_TEST(the_program_goes_on_in_a_fresh_vm)
{
	const uint32_t one = 1;
	uint32_t paused = 0, counted;
	struct vdb_x86_regs regs;
	size_t len;
	void *blob;

	LOAD(&f, 1, program, GUEST_DATA);
	must(vdb_x86_get_regs(f.vcpu[1], &regs));
	regs.rsi = 0x51515151;
	must(vdb_x86_set_regs(f.vcpu[1], &regs));
	must(vdb_vcpu_start(f.vcpu[1], -1, NULL));
	wait_for32((const uint32_t *)(const void *)(f.ram + GUEST_DATA), 1100);
	must(vdb_vm_pause(f.vm, count_done, &paused));
	wait_for32(&paused, 1);
	blob = save(f.vcpu[1], &len);
	counted = kvm_fixture_word(&f, GUEST_DATA);

	kvm_fixture_make(&g, NULL, 2);
	memcpy(g.ram, f.ram, GUEST_MEM);
	memcpy(g.ram + GUEST_DATA + 4, &one, sizeof(one));
	must(vdb_vcpu_restore(g.vcpu[1], blob, len));
	kvm_fixture_run(&g, 1);
	ck_assert_uint_eq(g.reports, 3);
	/* At most the store of the last count was still to come. */
	ck_assert_uint_ge(g.report[0], counted);
	ck_assert_uint_le(g.report[0], counted + 2);
	ck_assert_uint_eq(g.report[1], 0x1badb002);
	ck_assert_uint_eq(g.report[2], 0x51515151);
	kvm_fixture_end(&g);
	free(blob);
}
END_TEST

START_TEST(a_state_saved_twice_is_the_same)
{
	struct vdb_x86_regs a, b;
	size_t len, again;
	void *blob, *second;

	LOAD(&f, 0, program, GUEST_DATA);
	blob = save(f.vcpu[0], &len);
	must(vdb_x86_get_regs(f.vcpu[0], &a));
	must(vdb_vcpu_restore(f.vcpu[0], blob, len));
	must(vdb_x86_get_regs(f.vcpu[0], &b));
	ck_assert_mem_eq(&a, &b, sizeof(a));
	second = save(f.vcpu[0], &again);
	ck_assert_uint_eq(len, again);
	free(blob);
	free(second);
}
END_TEST

START_TEST(without_an_irqchip_too)
{
	struct vdb_vm_config config = {.size = sizeof(config), .irqchip = VDB_IRQCHIP_NONE};
	size_t len, none_len;
	void *blob = save(f.vcpu[0], &len), *none;

	kvm_fixture_make(&g, &config, 1);
	LOAD(&g, 0, program, GUEST_DATA);
	none = save(g.vcpu[0], &none_len);
	must(vdb_vcpu_restore(g.vcpu[0], none, none_len));
	/* A blob with a local APIC has no place here. */
	ck_assert_int_eq(vdb_vcpu_restore(g.vcpu[0], blob, len), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "local APIC"));
	ck_assert_int_eq(vdb_vcpu_restore(f.vcpu[0], none, none_len), -EINVAL);
	kvm_fixture_end(&g);
	free(blob);
	free(none);
}
END_TEST

START_TEST(a_buffer_too_small_is_refused)
{
	size_t len, small;
	char *blob = save(f.vcpu[0], &len);

	small = len - 1;
	ck_assert_int_eq(vdb_vcpu_save(f.vcpu[0], blob, &small), -ENOSPC);
	ck_assert_uint_eq(small, len - 1);
	free(blob);
}
END_TEST

/* Only as many bytes as it says may be touched: the copy is on the heap for the sanitizer's sake. */
static int restore_copy(const unsigned char *blob, size_t len)
{
	unsigned char *copy = malloc(len ? len : 1);
	int rc;

	memcpy(copy, blob, len);
	rc = vdb_vcpu_restore(f.vcpu[0], copy, len);
	free(copy);
	return rc;
}

START_TEST(f26_a_state_that_is_cut_off_is_refused)
{
	size_t len;
	unsigned char *blob = save(f.vcpu[0], &len);

	for (size_t cut = 0; cut < len; cut += cut < 600 ? 1 : 97)
		ck_assert_int_eq(restore_copy(blob, cut), -EINVAL);
	must(restore_copy(blob, len));
	/* Even if the header admits it. */
	for (size_t cut = 24; cut < len; cut += 101) {
		uint32_t bytes = (uint32_t)cut;

		memcpy(blob + 12, &bytes, sizeof(bytes));
		ck_assert_int_eq(restore_copy(blob, cut), -EINVAL);
	}
	ck_assert_int_eq(vdb_vcpu_restore(f.vcpu[0], NULL, 100), -EINVAL);
	free(blob);
}
END_TEST

START_TEST(f26_headers_that_lie_are_refused)
{
	size_t len;
	unsigned char *blob = save(f.vcpu[0], &len);

	for (size_t i = 0; i < 32; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			blob[i] ^= (unsigned char)(1u << bit);
			ck_assert_msg(restore_copy(blob, len) == -EINVAL, "byte %zu, bit %u", i, bit);
			blob[i] ^= (unsigned char)(1u << bit);
		}
	}
	must(restore_copy(blob, len));
	free(blob);
}
END_TEST

START_TEST(f26_garbage_does_no_harm)
{
	size_t len;
	unsigned char *blob, *bad;
	unsigned refused = 0;

	LOAD(&f, 0, program, GUEST_DATA);
	blob = save(f.vcpu[0], &len);
	bad = malloc(len);
	srandom(1);
	for (unsigned i = 0; i < 1000; i++) {
		int rc;

		memcpy(bad, blob, len);
		for (unsigned n = 1 + (unsigned)random() % 8; n; n--)
			bad[(size_t)random() % len] = (unsigned char)random();
		rc = restore_copy(bad, len);
		ck_assert_msg(rc == 0 || rc == -EINVAL, "%d: %s", rc, vdb_errmsg());
		refused += rc < 0;
	}
	ck_assert_uint_gt(refused, 0);
	/* And it still works. */
	must(restore_copy(blob, len));
	f.ram[GUEST_DATA + 4] = 1;
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(f.report[1], 0x1badb002);
	free(bad);
	free(blob);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        the_program_goes_on_in_a_fresh_vm,
	        a_state_saved_twice_is_the_same,
	        without_an_irqchip_too,
	        a_buffer_too_small_is_refused,
	        f26_a_state_that_is_cut_off_is_refused,
	        f26_headers_that_lie_are_refused,
	        f26_garbage_does_no_harm,
	        NULL,
	};

	return kvm_tests_run("state", setup, teardown, tests);
}
