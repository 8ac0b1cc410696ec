/* SPDX-License-Identifier: Apache-2.0 */
/* Guests started as kernels are: they tell what they find in registers and memory. */
#include <errno.h>
#include <string.h>

#include "image.h"
#include "kernels.h"
#include "kvm_fixture.h"

#define TABLES 0xe0000u /* of ACPI, the RSDP first */
#define CMDLINE "vdb0 is the word"
#define INITRD "rd00, and more"

static struct kvm_fixture f;
static struct kernel kernel;
static char kernel_path[64], initrd_path[64];
static struct vdb_boot_info info = {.size = sizeof(info)};

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 2);
	image_store(initrd_path, INITRD, sizeof(INITRD));
}

static void teardown(void)
{
	kvm_fixture_end(&f);
	kernel_remove(initrd_path);
	kernel_remove(kernel_path);
}

/* What the guest is made of, where it is told that no RAM is. */
static void tell(void)
{
	const struct vdb_machine machine = {
	        .size = sizeof(machine), .cpus = f.vcpus, .serial_gsi = 4, .serial_port = 0x3f8};
	unsigned char tables[0x4000];
	int64_t len = must(vdb_acpi_build(&machine, TABLES, tables, sizeof(tables)));

	must(vdb_mem_write(f.mem, TABLES, tables, (uint64_t)len));
}

static void boot(uint32_t protocol)
{
	const struct vdb_boot_config config = {
	        .size = sizeof(config),
	        .protocol = protocol,
	        .kernel = kernel_path,
	        .initrd = initrd_path,
	        .cmdline = CMDLINE,
	        .rsdp = TABLES,
	};

	must(vdb_boot_load(f.mem, &config, &info));
	for (uint32_t i = 0; i < f.vcpus; i++)
		must(vdb_boot_start(f.vcpu[i], &info));
}

static void run(uint32_t protocol)
{
	kernel_write(&kernel, kernel_path);
	tell();
	boot(protocol);
	kvm_fixture_run(&f, 0);
}

static uint32_t word(const char *text)
{
	uint32_t value;

	memcpy(&value, text, sizeof(value));
	return value;
}

/* What 32-bit kernels find at ebx: start_info, module list, command line, initrd, memory map. */
GUEST(pvh, "	.code32\n"
           "	mov %ebx, %eax; out %eax, $0x10\n"
           "	mov (%ebx), %eax; out %eax, $0x10\n"
           "	mov 4(%ebx), %eax; out %eax, $0x10\n"
           "	mov 24(%ebx), %ecx; mov (%ecx), %eax; out %eax, $0x10\n"
           "	mov 16(%ebx), %ecx; mov (%ecx), %edx; mov (%edx), %eax; out %eax, $0x10\n"
           "	mov 8(%ecx), %eax; out %eax, $0x10\n"
           "	mov 32(%ebx), %ecx; mov (%ecx), %eax; out %eax, $0x10\n"
           "	mov 48(%ebx), %eax; out %eax, $0x10\n"
           "	mov %cr0, %eax; out %eax, $0x10\n"
           "	ud2\n"
           "	.code64\n");

static void check_pvh(void)
{
	ck_assert_uint_eq(info.protocol, VDB_BOOT_PVH);
	ck_assert_uint_eq(f.reports, 9);
	ck_assert_uint_eq(f.report[0], info.info);
	ck_assert_uint_eq(f.report[1], 0x336ec578);
	ck_assert_uint_eq(f.report[2], 1);
	ck_assert_uint_eq(f.report[3], word(CMDLINE));
	ck_assert_uint_eq(f.report[4], word(INITRD));
	ck_assert_uint_eq(f.report[5], sizeof(INITRD));
	ck_assert_uint_eq(f.report[6], word("RSD "));
	ck_assert_uint_eq(f.report[7], 3);
	ck_assert_uint_eq(f.report[8] & 0x80000001u, 1); /* protected, not paged */
}

START_TEST(an_elf_file_starts_by_pvh)
{
	kernel_elf(&kernel, guest_pvh, (size_t)(guest_pvh_end - guest_pvh));
	run(VDB_BOOT_AUTO);
	check_pvh();
}
END_TEST

START_TEST(so_does_one_of_32_bits)
{
	kernel_elf32(&kernel, guest_pvh, (size_t)(guest_pvh_end - guest_pvh));
	run(VDB_BOOT_PVH);
	check_pvh();
}
END_TEST

/* What 64-bit kernels find at rsi: the zero page. */
GUEST(zero_page, "	mov %esi, %eax; out %eax, $0x10\n"
                 "	movzwl 0x1fe(%rsi), %eax; out %eax, $0x10\n"
                 "	movzbl 0x210(%rsi), %eax; out %eax, $0x10\n"
                 "	mov 0x228(%rsi), %ecx; mov (%rcx), %eax; out %eax, $0x10\n"
                 "	mov 0x218(%rsi), %ecx; mov (%rcx), %eax; out %eax, $0x10\n"
                 "	mov 0x21c(%rsi), %eax; out %eax, $0x10\n"
                 "	mov 0x70(%rsi), %rcx; mov (%rcx), %eax; out %eax, $0x10\n"
                 "	movzbl 0x1e8(%rsi), %eax; out %eax, $0x10\n"
                 "	mov %cs, %eax; out %eax, $0x10\n"
                 "	mov %ss, %eax; out %eax, $0x10\n"
                 "	mov %cr0, %rax; out %eax, $0x10\n"
                 "	ud2\n");

static void check_zero_page(void)
{
	ck_assert_uint_eq(info.protocol, VDB_BOOT_LINUX);
	ck_assert_uint_eq(f.reports, 11);
	ck_assert_uint_eq(f.report[0], info.info);
	ck_assert_uint_eq(f.report[1], 0xaa55);
	ck_assert_uint_eq(f.report[2], 0xff);
	ck_assert_uint_eq(f.report[3], word(CMDLINE));
	ck_assert_uint_eq(f.report[4], word(INITRD));
	ck_assert_uint_eq(f.report[5], sizeof(INITRD));
	ck_assert_uint_eq(f.report[6], word("RSD "));
	ck_assert_uint_eq(f.report[7], 3);
	ck_assert_uint_eq(f.report[8], 0x10);
	ck_assert_uint_eq(f.report[9], 0x18);
	ck_assert_uint_eq(f.report[10] & 0x80000001u, 0x80000001u);
}

START_TEST(a_bzimage_starts_in_64_bits)
{
	kernel_bzimage(&kernel, guest_zero_page, (size_t)(guest_zero_page_end - guest_zero_page));
	run(VDB_BOOT_AUTO);
	check_zero_page();
}
END_TEST

START_TEST(so_does_an_elf_file_when_told)
{
	kernel_elf(&kernel, guest_zero_page, (size_t)(guest_zero_page_end - guest_zero_page));
	run(VDB_BOOT_LINUX);
	check_zero_page();
}
END_TEST

/* Its first instruction would be at the reset vector, as before any start. */
START_TEST(other_processors_wait)
{
	struct vdb_x86_regs regs;

	kernel_elf(&kernel, guest_pvh, (size_t)(guest_pvh_end - guest_pvh));
	run(VDB_BOOT_AUTO);
	must(vdb_x86_get_regs(f.vcpu[1], &regs));
	ck_assert_uint_eq(regs.rip, 0xfff0);
}
END_TEST

GUEST(mtrr, "	mov $0x2ff, %ecx; rdmsr; out %eax, $0x10\n"
            "	ud2\n");

START_TEST(memory_is_write_back)
{
	kernel_bzimage(&kernel, guest_mtrr, (size_t)(guest_mtrr_end - guest_mtrr));
	run(VDB_BOOT_AUTO);
	ck_assert_uint_eq(f.reports, 1);
	ck_assert_uint_eq(f.report[0], 0x806);
}
END_TEST

START_TEST(what_cannot_be_started_is_refused)
{
	struct vdb_boot_info wrong = {.size = sizeof(wrong)};

	ck_assert_int_eq(vdb_boot_start(f.vcpu[0], &wrong), -EINVAL);
	ck_assert_int_eq(vdb_x86_start32(f.vcpu[0], 0x100000000, 0), -EINVAL);
	ck_assert_int_eq(vdb_x86_start32(f.vcpu[0], 0, 0x100000000), -EINVAL);
	ck_assert_int_eq(vdb_x86_start_linux(f.vcpu[0], 0, 0, 0x1001), -EINVAL);
	ck_assert_int_eq(vdb_x86_start_linux(f.vcpu[0], 0, 0, GUEST_MEM), -EFAULT);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        an_elf_file_starts_by_pvh,
	        so_does_one_of_32_bits,
	        a_bzimage_starts_in_64_bits,
	        so_does_an_elf_file_when_told,
	        other_processors_wait,
	        memory_is_write_back,
	        what_cannot_be_started_is_refused,
	        NULL,
	};

	return kvm_tests_run("boot", setup, teardown, tests);
}
