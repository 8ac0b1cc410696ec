/* SPDX-License-Identifier: Apache-2.0 */
/* The tables that describe a machine, read back as a guest does. What they mean is checked by iasl
 * (tests/acpi). */
#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <vdb/error.h>

#include "machines.h"
#include "suite.h"

#define GPA 0xe0000u

static unsigned char buf[1 << 18];

static uint32_t get32(const unsigned char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t get64(const unsigned char *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static void check_sum(const unsigned char *at, size_t len)
{
	unsigned char sum = 0;

	ck_assert_uint_le(len, sizeof(buf));
	for (size_t i = 0; i < len; i++)
		sum = (unsigned char)(sum + at[i]);
	ck_assert_uint_eq(sum, 0);
}

static const unsigned char *at_gpa(uint64_t gpa)
{
	ck_assert_uint_ge(gpa, GPA);
	ck_assert_uint_lt(gpa, GPA + sizeof(buf));
	return buf + (gpa - GPA);
}

static size_t build(const struct vdb_machine *machine)
{
	int64_t len = vdb_acpi_build(machine, GPA, buf, sizeof(buf));

	ck_assert_msg(len > 0, "%s", vdb_errmsg());
	ck_assert_uint_le((size_t)len, vdb_acpi_bytes(machine));
	return (size_t)len;
}

/* By way of RSDP and XSDT; NULL if it is not there. */
static const unsigned char *table(const char *signature)
{
	const unsigned char *xsdt, *found;

	ck_assert_mem_eq(buf, "RSD PTR ", 8);
	check_sum(buf, 20);
	check_sum(buf, 36);
	xsdt = at_gpa(get64(buf + 24));
	ck_assert_mem_eq(xsdt, "XSDT", 4);
	check_sum(xsdt, get32(xsdt + 4));
	for (uint32_t i = 36; i < get32(xsdt + 4); i += 8) {
		found = at_gpa(get64(xsdt + i));
		check_sum(found, get32(found + 4));
		if (!memcmp(found, signature, 4))
			return found;
	}
	return NULL;
}

START_TEST(all_tables_are_found)
{
	struct vdb_machine machine = machines_full();
	const unsigned char *fadt;

	build(&machine);
	fadt = table("FACP");
	ck_assert_ptr_nonnull(fadt);
	ck_assert_uint_eq(get32(fadt + 4), 276);
	ck_assert_uint_eq(get64(fadt + 140), get32(fadt + 40));
	ck_assert_mem_eq(at_gpa(get64(fadt + 140)), "DSDT", 4);
	check_sum(at_gpa(get64(fadt + 140)), get32(at_gpa(get64(fadt + 140)) + 4));
	ck_assert_mem_eq(at_gpa(get32(fadt + 36)), "FACS", 4);
	ck_assert_uint_eq(get32(fadt + 36) % 64, 0);
	ck_assert_ptr_nonnull(table("APIC"));
	ck_assert_ptr_nonnull(table("SPCR"));
	ck_assert_uint_eq(get64(table("MCFG") + 44), machines_pci.ecam);
}
END_TEST

START_TEST(what_is_not_there_is_not_told)
{
	struct vdb_machine machine = machines_small();
	const unsigned char *fadt;

	build(&machine);
	ck_assert_ptr_null(table("MCFG"));
	ck_assert_ptr_null(table("SPCR"));
	fadt = table("FACP");
	ck_assert_uint_eq(get32(fadt + 112) >> 20 & 1, 1); /* hardware-reduced */
	ck_assert_uint_eq(get32(fadt + 36), 0);
	ck_assert_uint_eq(get32(fadt + 56), 0);
	ck_assert_uint_eq(fadt[109] & 2, 0); /* no 8042 */
}
END_TEST

/* Entries of one type in the MADT. */
static unsigned controllers(unsigned type)
{
	const unsigned char *madt = table("APIC");
	unsigned n = 0;

	for (uint32_t i = 44; i < get32(madt + 4); i += madt[i + 1]) {
		ck_assert_uint_ge(madt[i + 1], 2);
		n += madt[i] == type;
	}
	return n;
}

START_TEST(every_processor_has_its_apic)
{
	struct vdb_machine machine = machines_full();

	build(&machine);
	ck_assert_uint_eq(controllers(0), 4);
	ck_assert_uint_eq(controllers(1), 1);
	ck_assert_uint_eq(controllers(2), 1);
	machine = machines_large();
	build(&machine);
	ck_assert_uint_eq(controllers(0), 255);
	ck_assert_uint_eq(controllers(9), 45);
}
END_TEST

START_TEST(a_buffer_too_small_is_told_and_not_overrun)
{
	struct vdb_machine machine = machines_large();
	size_t len = build(&machine);

	for (size_t room = 0; room < len; room += 1 + room / 7) {
		unsigned char *small = malloc(room + 1); /* its end is watched */

		ck_assert_int_eq(vdb_acpi_build(&machine, GPA, small, room), -ENOSPC);
		free(small);
	}
	ck_assert_int_eq(vdb_acpi_build(&machine, GPA, buf, len), (int64_t)len);
}
END_TEST

static void refused(const struct vdb_machine *machine, vdb_gpa_t gpa)
{
	ck_assert_int_eq(vdb_acpi_build(machine, gpa, buf, sizeof(buf)), -EINVAL);
}

START_TEST(nonsense_is_refused)
{
	struct vdb_acpi_mmio mmio = {.base = 0xd8000000, .len = 0x1000, .gsi = 9};
	struct vdb_pci_config pci = machines_pci;
	struct vdb_machine good = machines_full(), bad;

	refused(&good, GPA + 8);
	refused(&good, 0xffffff00);
	bad = good, bad.cpus = 0;
	refused(&bad, GPA);
	bad = good, bad.cpus = 5000;
	refused(&bad, GPA);
	bad = good, bad.serial_port = 0;
	refused(&bad, GPA);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "serial_port"));
	bad = good, bad.mmio = NULL;
	refused(&bad, GPA);
	bad = good, bad.mmio = &mmio, bad.mmio_count = 1; /* the SCI's pin */
	refused(&bad, GPA);
	mmio.gsi = 24; /* no pin of the IOAPIC */
	refused(&bad, GPA);
	mmio.gsi = 5, mmio.base = UINT64_MAX - 5;
	refused(&bad, GPA);
	bad = good, bad.serial_gsi = 9; /* edge and level on one pin */
	refused(&bad, GPA);
	bad = good, bad.serial_gsi = 24;
	refused(&bad, GPA);
	bad = good, bad.pci = &pci, pci.intx_gsi = 21; /* the fourth has no pin */
	refused(&bad, GPA);
	pci.intx_gsi = 16, pci.mem64 = UINT64_MAX - 5;
	refused(&bad, GPA);
}
END_TEST

/* The pointer and the table's header; where its entries end. */
static const unsigned char *check_mp_header(const unsigned char *head)
{
	ck_assert_mem_eq(buf, "_MP_", 4);
	check_sum(buf, 16);
	ck_assert_uint_eq(get32(buf + 4), 0xf0010);
	ck_assert_mem_eq(head, "PCMP", 4);
	check_sum(head, get32(head + 4) & 0xffff);
	return head + (get32(head + 4) & 0xffff);
}

/* What a kernel without ACPI does: find the pointer, check the sums, walk all entries. */
static void check_mptable(const struct vdb_machine *machine, unsigned processors, unsigned interrupts)
{
	static const unsigned char sizes[] = {20, 8, 8, 8, 8};
	const unsigned char *entry, *end, *head = buf + 16;
	unsigned count[5] = {0};
	int64_t len = vdb_mptable_build(machine, 0xf0000, buf, sizeof(buf));

	ck_assert_msg(len > 0, "%s", vdb_errmsg());
	ck_assert_uint_le((size_t)len, vdb_mptable_bytes(machine));
	end = check_mp_header(head);
	ck_assert_ptr_eq(end, buf + len);
	for (entry = head + 44; entry < end; entry += sizes[entry[0]]) {
		ck_assert_uint_lt(entry[0], 5);
		count[entry[0]]++;
	}
	ck_assert_ptr_eq(entry, end);
	ck_assert_uint_eq(count[0] + count[1] + count[2] + count[3] + count[4], get32(head + 34) & 0xffff);
	ck_assert_uint_eq(count[0], processors);
	ck_assert_uint_eq(count[3], interrupts);
}

START_TEST(an_mp_table_tells_the_same)
{
	struct vdb_machine machine = machines_full();

	check_mptable(&machine, 4, 16 + 128);
	machine.cpus = 254;
	machine.mmio_count = MACHINES_MMIO;
	check_mptable(&machine, 254, 16 + 128 + 2);
	machine = machines_small();
	check_mptable(&machine, 1, 16);
}
END_TEST

START_TEST(an_mp_table_that_cannot_be_is_refused)
{
	struct vdb_acpi_mmio mmio = {.base = 0xd8000000, .len = 0x1000, .gsi = 24};
	struct vdb_machine machine = machines_full();
	unsigned char small[64];

	ck_assert_int_eq(vdb_mptable_build(&machine, 0xf0000, small, sizeof(small)), -ENOSPC);
	ck_assert_int_eq(vdb_mptable_build(&machine, 0xf0008, buf, sizeof(buf)), -EINVAL);
	ck_assert_int_eq(vdb_mptable_build(&machine, 0x100000, buf, sizeof(buf)), -EINVAL);
	machine.cpus = 255;
	ck_assert_int_eq(vdb_mptable_build(&machine, 0xf0000, buf, sizeof(buf)), -EINVAL);
	machine = machines_small();
	machine.mmio = &mmio;
	ck_assert_int_eq(vdb_mptable_build(&machine, 0xf0000, buf, sizeof(buf)), -EINVAL);
}
END_TEST

SUITE("acpi", all_tables_are_found, what_is_not_there_is_not_told, every_processor_has_its_apic,
      a_buffer_too_small_is_told_and_not_overrun, nonsense_is_refused, an_mp_table_tells_the_same,
      an_mp_table_that_cannot_be_is_refused)
