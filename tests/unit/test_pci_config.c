/* SPDX-License-Identifier: Apache-2.0 */
/* Config space: who is there, what may be written, capabilities, both ways in, odd accesses. */
/* LABELS: tsan */
/* WRAP: calloc malloc realloc */
#include <check.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "base/thread.h"
#include "fail.h"
#include "pci_rig.h"
#include "suite.h"

START_TEST(the_bridge_and_nothing_else)
{
	struct pci_rig rig;

	pci_rig_make(&rig);
	ck_assert_uint_eq(pci_get(&rig, 0, PCI_CLASS_REVISION, 4), 0x06000000);
	ck_assert_uint_ne(pci_get(&rig, 0, PCI_VENDOR_ID, 2), 0xffff);
	ck_assert_uint_eq(pci_get(&rig, 0, PCI_HEADER_TYPE, 1), 0);
	ck_assert_uint_eq(pci_port_get(&rig, 0, PCI_CLASS_REVISION, 4), 0x06000000);
	for (uint32_t slot = 1; slot < 32; slot++) {
		ck_assert_uint_eq(pci_get(&rig, slot, PCI_VENDOR_ID, 4), 0xffffffff);
		ck_assert_uint_eq(pci_port_get(&rig, slot << 3, PCI_VENDOR_ID, 4), 0xffffffff);
	}
	/* Other functions of the bridge, another bus. */
	ck_assert_uint_eq(pci_get(&rig, 0, 0x1000, 4), 0xffffffff);
	ck_assert_uint_eq(pci_port_get(&rig, 1, PCI_VENDOR_ID, 4), 0xffffffff);
	ck_assert_uint_eq(pci_port_get(&rig, 1u << 8, PCI_VENDOR_ID, 4), 0xffffffff);
	pci_put(&rig, 5, PCI_COMMAND, 2, 7);
	pci_rig_end(&rig);
}
END_TEST

START_TEST(a_function_says_what_it_is)
{
	struct pci_test_function f;
	struct pci_rig rig;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f, 0, 0);
	ck_assert_uint_eq(f.function.slot, 1);
	ck_assert_uint_eq(pci_get(&rig, 1, PCI_VENDOR_ID, 4), 0x56781234);
	ck_assert_uint_eq(pci_get(&rig, 1, PCI_CLASS_REVISION, 4), 0x01020403);
	ck_assert_uint_eq(pci_get(&rig, 1, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x87654321);
	ck_assert_uint_eq(pci_get(&rig, 1, PCI_INTERRUPT_PIN, 1), 0);
	vdb__pci_function_drop(&f.function);
	ck_assert_uint_eq(pci_get(&rig, 1, PCI_VENDOR_ID, 4), 0xffffffff);
	pci_rig_end(&rig);
}
END_TEST

START_TEST(g17_only_what_may_be_written_is)
{
	struct pci_test_function f;
	struct pci_rig rig;
	uint8_t before[256];

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f, 7, 0);
	memcpy(before, f.function.config, sizeof(before));
	for (uint32_t offset = 0; offset < 256; offset += 4) {
		if (offset == PCI_COMMAND || (offset >= PCI_BASE_ADDRESS_0 && offset < 0x28) ||
		    offset == PCI_CACHE_LINE_SIZE)
			continue;
		pci_put(&rig, 7, offset, 4, 0xffffffff);
		pci_put(&rig, 7, offset + 2, 2, 0);
		pci_put(&rig, 7, offset + 1, 1, 0x55);
	}
	ck_assert_mem_eq(before, f.function.config, sizeof(before));
	pci_put(&rig, 7, PCI_COMMAND, 4, 0xffffffff);
	ck_assert_uint_eq(pci_get(&rig, 7, PCI_COMMAND, 4), 0x407);
	/* Extended config space is empty. */
	ck_assert_uint_eq(pci_get(&rig, 7, 0x100, 4), 0);
	pci_put(&rig, 7, 0xffc, 4, 1);
	ck_assert_uint_eq(pci_get(&rig, 7, 0xffc, 4), 0);
	vdb__pci_function_drop(&f.function);
	pci_rig_end(&rig);
}
END_TEST

START_TEST(both_ways_in_show_the_same_at_every_width)
{
	struct pci_test_function f;
	struct pci_rig rig;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f, 31, 0);
	for (uint32_t len = 1; len <= 4; len *= 2) {
		for (uint32_t offset = 0; offset < 256; offset += len)
			ck_assert_uint_eq(pci_get(&rig, 31, offset, len),
			                  pci_port_get(&rig, 31 << 3, offset, len));
	}
	pci_port_put(&rig, 31 << 3, PCI_COMMAND + 1, 1, 4);
	ck_assert_uint_eq(pci_get(&rig, 31, PCI_COMMAND, 2), 0x400);
	vdb__pci_function_drop(&f.function);
	pci_rig_end(&rig);
}
END_TEST

/* HOSTILE G16. */
START_TEST(g16_odd_accesses_read_ones_and_write_nowhere)
{
	struct pci_test_function f;
	struct pci_rig rig;
	uint64_t value, base = PCI_TEST_ECAM + (1u << 15);

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f, 1, 0);
	for (uint64_t at = 0; at < 0x1010; at++) {
		for (uint32_t len = 1; len <= 8; len *= 2) {
			if (at < 0x1000 && at % len == 0 && len < 8)
				continue;
			value = 0;
			(void)vdb_bus_write(rig.mmio, NULL, base + at, &value, len);
			ck_assert_int_eq(vdb_bus_read(rig.mmio, NULL, base + at, &value, len), 1);
			ck_assert_uint_eq(value, len == 8 ? ~0ull : (1ull << len * 8) - 1);
		}
	}
	ck_assert_uint_eq(pci_get(&rig, 1, PCI_VENDOR_ID, 4), 0x56781234);
	/* Ports: bytes of the address are nobody's, data does not reach beyond its dword. */
	value = 0x80000000 | 1u << 11;
	ck_assert_int_eq(vdb_bus_write(rig.pio, NULL, 0xcf8, &value, 4), 1);
	for (uint64_t port = 0xcf0; port < 0xd08; port++) {
		for (uint32_t len = 1; len <= 8; len *= 2) {
			bool whole = port >= 0xcfc && port % len == 0 && len < 8 && port < 0xd00;

			if (whole || (port == 0xcf8 && len == 4))
				continue;
			value = 0;
			(void)vdb_bus_write(rig.pio, NULL, port, &value, len);
			(void)vdb_bus_read(rig.pio, NULL, port, &value, len);
			ck_assert_uint_eq(value, len == 8 ? ~0ull : (1ull << len * 8) - 1);
		}
	}
	ck_assert_int_eq(vdb_bus_read(rig.pio, NULL, 0xcf8, &value, 4), 1);
	ck_assert_uint_eq((uint32_t)value, 0x80000000 | 1u << 11);
	/* Not enabled: no config access. */
	value = 1u << 11;
	ck_assert_int_eq(vdb_bus_write(rig.pio, NULL, 0xcf8, &value, 4), 1);
	ck_assert_int_eq(vdb_bus_read(rig.pio, NULL, 0xcfc, &value, 4), 1);
	ck_assert_uint_eq((uint32_t)value, 0xffffffff);
	vdb__pci_function_drop(&f.function);
	pci_rig_end(&rig);
}
END_TEST

/* Chains of the list, with a vendor capability whose accesses go to its device. */
START_TEST(capabilities_are_a_list)
{
	const uint8_t vendor[20] = {[2] = 20, [8] = 1};
	struct pci_test_function f;
	struct pci_rig rig;
	uint32_t at;
	int cap;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f, 1, 3);
	vdb__pci_function_drop(&f.function);
	pci_test_function_add(&rig, &f, 1, 3);
	cap = vdb__pci_add_cap(&f.function, PCI_CAP_ID_VNDR, vendor, sizeof(vendor));
	ck_assert_int_gt(cap, 0);
	vdb__pci_writable(&f.function, (uint32_t)cap + 4, 4);
	ck_assert_uint_eq(pci_get(&rig, 1, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	at = pci_get(&rig, 1, PCI_CAPABILITY_LIST, 1);
	ck_assert_uint_eq(pci_get(&rig, 1, at, 1), PCI_CAP_ID_MSIX);
	ck_assert_uint_eq(pci_get(&rig, 1, at + 1, 1), (uint32_t)cap);
	ck_assert_uint_eq(pci_get(&rig, 1, (uint32_t)cap, 2), PCI_CAP_ID_VNDR);
	ck_assert_uint_eq(pci_get(&rig, 1, (uint32_t)cap + 8, 4), 0x77);
	pci_put(&rig, 1, (uint32_t)cap + 6, 2, 0xabcd);
	ck_assert_uint_eq(f.cap_writes, 1);
	ck_assert_uint_eq(f.cap, (uint32_t)cap);
	ck_assert_uint_eq(f.cap_offset, 6);
	ck_assert_uint_eq(f.value, 0xabcd);
	ck_assert_uint_eq(pci_get(&rig, 1, (uint32_t)cap + 4, 4), 0xabcd0000);
	/* Beside it: nothing. */
	pci_put(&rig, 1, (uint32_t)cap + 20, 4, 1);
	pci_put(&rig, 1, (uint32_t)cap - 4, 4, 1);
	ck_assert_uint_eq(f.cap_writes, 1);
	while (cap >= 0)
		cap = vdb__pci_add_cap(&f.function, PCI_CAP_ID_VNDR, vendor, sizeof(vendor));
	ck_assert_int_eq(cap, -ENOSPC);
	vdb__pci_function_drop(&f.function);
	pci_rig_end(&rig);
}
END_TEST

START_TEST(msix_shows_table_and_pending_bits)
{
	struct pci_test_function f;
	struct pci_rig rig;
	uint32_t at, table, pba, base, value;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f, 1, 2048);
	at = pci_get(&rig, 1, PCI_CAPABILITY_LIST, 1);
	ck_assert_uint_eq(pci_get(&rig, 1, at + PCI_MSIX_FLAGS, 2), 2047);
	table = pci_get(&rig, 1, at + PCI_MSIX_TABLE, 4);
	pba = pci_get(&rig, 1, at + PCI_MSIX_PBA, 4);
	ck_assert_uint_eq(table, 1);
	ck_assert_uint_eq(pba & 7, 1);
	ck_assert_uint_ge(pba & ~7u, 2048 * 16);
	ck_assert(!vdb__pci_msix_on(&f.function));
	pci_put(&rig, 1, at + PCI_MSIX_FLAGS, 2, 0xffff);
	ck_assert_uint_eq(pci_get(&rig, 1, at + PCI_MSIX_FLAGS, 2), 0xc000 | 2047);
	ck_assert(vdb__pci_msix_on(&f.function));
	pci_put(&rig, 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	base = pci_get(&rig, 1, PCI_BASE_ADDRESS_1, 4);
	value = 0xfee00000;
	ck_assert_int_eq(vdb_bus_write(rig.mmio, NULL, base + 16 * 2047, &value, 4), 1);
	value = 0;
	ck_assert(pci_rig_reads(rig.mmio, base + 16 * 2047, &value));
	ck_assert_uint_eq(value, 0xfee00000);
	/* The last vector is masked, and nothing is pending; beyond both is nothing. */
	ck_assert(pci_rig_reads(rig.mmio, base + 16 * 2047 + 12, &value));
	ck_assert_uint_eq(value, 1);
	ck_assert(pci_rig_reads(rig.mmio, base + (pba & ~7u), &value));
	ck_assert_uint_eq(value, 0);
	ck_assert(pci_rig_reads(rig.mmio, base + (pba & ~7u) + 2048 / 8, &value));
	ck_assert_uint_eq(value, 0);
	vdb__pci_function_drop(&f.function);
	pci_rig_end(&rig);
}
END_TEST

START_TEST(bus_mastering_is_told_when_it_changes)
{
	struct pci_test_function f;
	struct pci_rig rig;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f, 1, 0);
	pci_put(&rig, 1, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	pci_put(&rig, 1, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(f.masters, 1);
	ck_assert(f.master);
	pci_put(&rig, 1, PCI_COMMAND, 1, 0);
	ck_assert_uint_eq(f.masters, 2);
	ck_assert(!f.master);
	vdb__pci_function_drop(&f.function);
	pci_rig_end(&rig);
}
END_TEST

START_TEST(the_status_register_says_that_an_interrupt_is_wanted)
{
	struct pci_test_function f;
	struct pci_rig rig;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f, 1, 0);
	vdb__pci_intx(&f.function, true);
	ck_assert_uint_eq(pci_get(&rig, 1, PCI_COMMAND, 4), PCI_STATUS_INTERRUPT << 16);
	ck_assert_uint_eq(pci_get(&rig, 1, PCI_STATUS, 1), PCI_STATUS_INTERRUPT);
	ck_assert_uint_eq(pci_get(&rig, 1, PCI_STATUS + 1, 1), 0);
	/* Disabled or not: it is wanted. */
	pci_put(&rig, 1, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	ck_assert_uint_eq(pci_get(&rig, 1, PCI_STATUS, 2), PCI_STATUS_INTERRUPT);
	vdb__pci_intx(&f.function, false);
	ck_assert_uint_eq(pci_get(&rig, 1, PCI_STATUS, 2), 0);
	vdb__pci_function_drop(&f.function);
	pci_rig_end(&rig);
}
END_TEST

START_TEST(slots_are_given_out)
{
	static struct pci_test_function f[32];
	struct pci_test_function more = {.moves = 0};
	struct pci_rig rig;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f[2], 2, 0);
	pci_test_function_add(&rig, &f[1], 0, 0);
	pci_test_function_add(&rig, &f[3], 0, 0);
	ck_assert_uint_eq(f[1].function.slot, 1);
	ck_assert_uint_eq(f[3].function.slot, 3);
	more.function.ops = f[1].function.ops;
	ck_assert_int_eq(vdb__pci_function_add(&more.function, rig.pci, 2), -EBUSY);
	ck_assert_int_eq(vdb__pci_function_add(&more.function, rig.pci, 32), -EINVAL);
	ck_assert_int_eq(vdb_pci_destroy(rig.pci), -EBUSY);
	for (uint32_t i = 4; i < 32; i++)
		pci_test_function_add(&rig, &f[i], i, 0);
	ck_assert_int_eq(vdb__pci_function_add(&more.function, rig.pci, 0), -ENOSPC);
	vdb__pci_function_drop(&more.function);
	for (uint32_t i = 1; i < 32; i++)
		vdb__pci_function_drop(&f[i].function);
	pci_rig_end(&rig);
}
END_TEST

static int refusal(const struct vdb_pci_config *config)
{
	struct pci_rig rig;
	struct vdb_pci *pci;
	int rc;

	ck_assert_int_eq(vdb_bus_create(&rig.mmio), 0);
	ck_assert_int_eq(vdb_bus_create(&rig.pio), 0);
	ck_assert_int_eq(vdb_bus_add(rig.mmio, "here", 0x90000000, 0x1000, &vdb__msix_bar_ops, NULL), 0);
	ck_assert_int_eq(vdb_bus_add(rig.pio, "here", 0x9000, 1, &vdb__msix_bar_ops, NULL), 0);
	rc = vdb__pci_create_on(NULL, rig.mmio, rig.pio, config, &pci);
	/* Nothing stays claimed. */
	ck_assert_int_eq(vdb_bus_add(rig.pio, "all", 0, 0x9000, &vdb__msix_bar_ops, NULL), 0);
	ck_assert_int_eq(vdb_bus_add(rig.mmio, "all", 0x90001000, 1ull << 50, &vdb__msix_bar_ops, NULL), 0);
	vdb_bus_destroy(rig.mmio);
	vdb_bus_destroy(rig.pio);
	return rc;
}

#define REFUSAL(...) \
	refusal(&(const struct vdb_pci_config){.size = sizeof(struct vdb_pci_config), __VA_ARGS__})

START_TEST(windows_that_cannot_be_are_refused)
{
	static max_align_t nobody;

	ck_assert_int_eq(REFUSAL(.ecam = 0xe0080000), -EINVAL);
	ck_assert_int_eq(REFUSAL(.ecam = 0xfee00000), -EINVAL);
	ck_assert_int_eq(REFUSAL(.ecam = 0x90000000), -EEXIST);
	ck_assert_int_eq(REFUSAL(.ecam = 0xc0000000), -EEXIST);
	ck_assert_int_eq(REFUSAL(.mem32 = 0xf0000000), -EINVAL);
	ck_assert_int_eq(REFUSAL(.mem32 = 0x90000000), -EEXIST);
	ck_assert_int_eq(REFUSAL(.mem32 = 0x100000000), -EINVAL);
	ck_assert_int_eq(REFUSAL(.mem32_len = 0x3000), -EINVAL);
	ck_assert_int_eq(REFUSAL(.mem64 = 0xfffffffffffff000), -EINVAL);
	ck_assert_int_eq(REFUSAL(.mem64 = 0xc0000000, .mem64_len = 0x1000), -EINVAL);
	ck_assert_int_eq(REFUSAL(.io = 0xf001), -EINVAL);
	/* The fourth line would have no pin. */
	ck_assert_int_eq(REFUSAL(.intx_gsi = 21, .loop = (struct vdb_loop *)&nobody), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "intx_gsi 21"));
	ck_assert_int_eq(REFUSAL(.io = 0x8800), -EEXIST);
	ck_assert_int_eq(REFUSAL(.io = 0xc00), -EEXIST);
	ck_assert_int_eq(refusal(&(const struct vdb_pci_config){.size = 3}), -EINVAL);
}
END_TEST

START_TEST(the_config_in_use_is_told)
{
	struct vdb_pci_config config = {.size = sizeof(config)};
	struct pci_rig rig;

	pci_rig_make(&rig);
	ck_assert_int_eq(vdb_pci_query(rig.pci, &config), 0);
	ck_assert_uint_eq(config.ecam, 0xe0000000);
	ck_assert_uint_eq(config.mem32, 0xc0000000);
	ck_assert_uint_eq(config.io, 0xc000);
	ck_assert_uint_eq(config.intx_gsi, 16);
	/* A loop's thread waits for nobody. */
	vdb__thread_loop = &rig;
	ck_assert_int_eq(vdb_pci_destroy(rig.pci), -EDEADLK);
	vdb__thread_loop = NULL;
	ck_assert_int_eq(vdb_pci_destroy(NULL), 0);
	pci_rig_end(&rig);
}
END_TEST

static int come_and_go(void *arg)
{
	struct pci_rig *rig = arg;
	struct vdb_pci *pci;
	int err = vdb__pci_create_on(NULL, rig->mmio, rig->pio, NULL, &pci);

	return err ? err : vdb_pci_destroy(pci);
}

START_TEST(a_host_without_memory_gets_nothing_half)
{
	struct pci_rig rig;

	ck_assert_int_eq(vdb_bus_create(&rig.mmio), 0);
	ck_assert_int_eq(vdb_bus_create(&rig.pio), 0);
	ck_assert_uint_ge(fail_sweep(come_and_go, &rig), 3);
	vdb_bus_destroy(rig.mmio);
	vdb_bus_destroy(rig.pio);
}
END_TEST

SUITE("pci_config", the_bridge_and_nothing_else, a_function_says_what_it_is, g17_only_what_may_be_written_is,
      both_ways_in_show_the_same_at_every_width, g16_odd_accesses_read_ones_and_write_nowhere,
      capabilities_are_a_list, msix_shows_table_and_pending_bits, bus_mastering_is_told_when_it_changes,
      the_status_register_says_that_an_interrupt_is_wanted, slots_are_given_out,
      windows_that_cannot_be_are_refused, the_config_in_use_is_told, a_host_without_memory_gets_nothing_half)
