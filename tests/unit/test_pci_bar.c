/* SPDX-License-Identifier: Apache-2.0 */
/* BARs: placed, sized, moved, and decoding only where nothing else is (HOSTILE G24). */
/* LABELS: tsan */
#include <check.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "base/thread.h"
#include "pci_rig.h"
#include "suite.h"

#define DECODE (PCI_COMMAND_MEMORY | PCI_COMMAND_IO)

static uint32_t bar_of(struct pci_rig *rig, uint32_t slot, uint32_t bar)
{
	return pci_get(rig, slot, PCI_BASE_ADDRESS_0 + bar * 4, 4);
}

static void set_bar(struct pci_rig *rig, uint32_t slot, uint32_t bar, uint32_t value)
{
	pci_put(rig, slot, PCI_BASE_ADDRESS_0 + bar * 4, 4, value);
}

/* Does BAR 0 of the function in `slot` decode at addr? */
static bool answers(struct pci_rig *rig, uint64_t addr, uint32_t slot)
{
	uint32_t value;

	return pci_rig_reads(rig->mmio, addr, &value) && (value & 0xff) == slot;
}

START_TEST(they_are_placed_and_quiet)
{
	struct pci_test_function f[2];
	struct pci_rig rig;
	uint32_t value;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f[0], 1, 0);
	pci_test_function_add(&rig, &f[1], 2, 0);
	for (uint32_t s = 1; s <= 2; s++) {
		ck_assert_uint_eq(bar_of(&rig, s, 0) % 0x2000, 0);
		ck_assert_uint_eq(bar_of(&rig, s, 2) % 0x10000, 0xc);
		ck_assert_uint_eq(bar_of(&rig, s, 3), 0);
		ck_assert_uint_eq(bar_of(&rig, s, 4) % 16, 1);
		ck_assert_uint_ge(bar_of(&rig, s, 0), 0xc0000000);
		ck_assert(!pci_rig_reads(rig.mmio, bar_of(&rig, s, 0), &value));
	}
	ck_assert_uint_ne(bar_of(&rig, 1, 0), bar_of(&rig, 2, 0));
	ck_assert_uint_ne(bar_of(&rig, 1, 2), bar_of(&rig, 2, 2));
	ck_assert_uint_ne(bar_of(&rig, 1, 4), bar_of(&rig, 2, 4));
	pci_put(&rig, 2, PCI_COMMAND, 2, DECODE);
	ck_assert(answers(&rig, bar_of(&rig, 2, 0), 2));
	ck_assert(answers(&rig, bar_of(&rig, 2, 2) & ~0xfu, 2));
	ck_assert(pci_rig_reads(rig.pio, bar_of(&rig, 2, 4) & ~3u, &value));
	pci_put(&rig, 2, PCI_COMMAND, 2, PCI_COMMAND_IO);
	ck_assert(!pci_rig_reads(rig.mmio, bar_of(&rig, 2, 0), &value));
	ck_assert(pci_rig_reads(rig.pio, bar_of(&rig, 2, 4) & ~3u, &value));
	vdb__pci_function_drop(&f[0].function);
	vdb__pci_function_drop(&f[1].function);
	ck_assert(!pci_rig_reads(rig.pio, 0xc010, &value));
	pci_rig_end(&rig);
}
END_TEST

START_TEST(g24_sizing_moves_nothing)
{
	struct pci_test_function f;
	struct pci_rig rig;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f, 1, 0);
	for (uint32_t decode = 0; decode < 2; decode++) {
		uint32_t before = bar_of(&rig, 1, 0);

		pci_put(&rig, 1, PCI_COMMAND, 2, decode ? DECODE : 0);
		for (uint32_t i = 0; i < 6; i++)
			set_bar(&rig, 1, i, 0xffffffff);
		ck_assert_uint_eq(bar_of(&rig, 1, 0), 0xffffe000);
		ck_assert_uint_eq(bar_of(&rig, 1, 1), 0);
		ck_assert_uint_eq(bar_of(&rig, 1, 2), 0xffff000c);
		ck_assert_uint_eq(bar_of(&rig, 1, 3), 0xffffffff);
		ck_assert_uint_eq(bar_of(&rig, 1, 4), 0xfff1);
		ck_assert_uint_eq(bar_of(&rig, 1, 5), 0);
		ck_assert_uint_eq(f.mapped[0], VDB_GPA_ANY);
		set_bar(&rig, 1, 0, before);
		ck_assert_uint_eq(f.mapped[0], decode ? before : VDB_GPA_ANY);
	}
	vdb__pci_function_drop(&f.function);
	pci_rig_end(&rig);
}
END_TEST

START_TEST(they_move)
{
	const uint64_t high = 0x8000110000;
	struct pci_test_function f;
	struct pci_rig rig;
	uint32_t old, value = 5;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f, 1, 0);
	pci_put(&rig, 1, PCI_COMMAND, 2, DECODE);
	old = bar_of(&rig, 1, 0);
	set_bar(&rig, 1, 0, 0xc8000000);
	ck_assert(!pci_rig_reads(rig.mmio, old, &value));
	ck_assert(answers(&rig, 0xc8000000, 1));
	ck_assert_uint_eq(f.mapped[0], 0xc8000000);
	/* One byte of the register is enough. */
	pci_put(&rig, 1, PCI_BASE_ADDRESS_0 + 3, 1, 0xc9);
	ck_assert(answers(&rig, 0xc9000000, 1));
	ck_assert(!answers(&rig, 0xc8000000, 1));
	/* Above 4 GiB, half by half. */
	set_bar(&rig, 1, 3, (uint32_t)(high >> 32));
	set_bar(&rig, 1, 2, (uint32_t)high);
	ck_assert_uint_eq(f.mapped[2], high);
	value = 0xdead;
	ck_assert_int_eq(vdb_bus_write(rig.mmio, NULL, high + 0xfff8, &value, 4), 1);
	ck_assert_uint_eq(f.offset, 0xfff8);
	ck_assert_uint_eq(f.value, 0xdead);
	vdb__pci_function_drop(&f.function);
	pci_rig_end(&rig);
}
END_TEST

START_TEST(g24_where_something_else_is_they_do_not_decode)
{
	const struct vdb_bus_ops none = {.size = sizeof(none)};
	/* Outside the windows: memory's place, a chip's, the top, config space's own. */
	static const uint32_t outside[] = {0,          0x100000,   0xbffff000, 0xd0000000, 0xe0000000,
	                                   0xfec00000, 0xfee00000, 0xffffe000, 0xfffff000};
	struct pci_test_function f[2];
	struct pci_rig rig;
	uint32_t home, moves;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f[0], 1, 0);
	pci_test_function_add(&rig, &f[1], 2, 0);
	pci_put(&rig, 1, PCI_COMMAND, 2, DECODE);
	pci_put(&rig, 2, PCI_COMMAND, 2, DECODE);
	home = bar_of(&rig, 1, 0);
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		set_bar(&rig, 1, 0, outside[i]);
		ck_assert_uint_eq(f[0].mapped[0], VDB_GPA_ANY);
		ck_assert(!answers(&rig, home, 1));
	}
	/* In the window, but taken: by the other function, which stays; by a device. */
	moves = f[1].moves;
	set_bar(&rig, 1, 0, bar_of(&rig, 2, 0));
	ck_assert_uint_eq(f[0].mapped[0], VDB_GPA_ANY);
	ck_assert(answers(&rig, bar_of(&rig, 2, 0), 2));
	ck_assert_uint_eq(f[1].moves, moves);
	ck_assert_int_eq(vdb_bus_add(rig.mmio, "device", 0xc7001000, 0x1000, &none, NULL), 0);
	set_bar(&rig, 1, 0, 0xc7000000);
	ck_assert_uint_eq(f[0].mapped[0], VDB_GPA_ANY);
	/* What was in the way goes: with the next change it decodes. */
	ck_assert_int_eq(vdb_bus_remove(rig.mmio, 0xc7001000), 0);
	pci_put(&rig, 2, PCI_COMMAND, 2, DECODE);
	ck_assert(answers(&rig, 0xc7000000, 1));
	set_bar(&rig, 1, 0, home);
	ck_assert(answers(&rig, home, 1));
	vdb__pci_function_drop(&f[0].function);
	vdb__pci_function_drop(&f[1].function);
	pci_rig_end(&rig);
}
END_TEST

START_TEST(two_change_places)
{
	struct pci_test_function f[2];
	struct pci_rig rig;
	uint32_t a, b;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f[0], 1, 0);
	pci_test_function_add(&rig, &f[1], 2, 0);
	a = bar_of(&rig, 1, 0);
	b = bar_of(&rig, 2, 0);
	pci_put(&rig, 1, PCI_COMMAND, 2, DECODE);
	pci_put(&rig, 2, PCI_COMMAND, 2, DECODE);
	set_bar(&rig, 1, 0, b);
	ck_assert(answers(&rig, b, 2));
	set_bar(&rig, 2, 0, a);
	ck_assert(answers(&rig, b, 1));
	ck_assert(answers(&rig, a, 2));
	vdb__pci_function_drop(&f[0].function);
	vdb__pci_function_drop(&f[1].function);
	pci_rig_end(&rig);
}
END_TEST

START_TEST(a_full_window_is_said)
{
	struct vdb_pci_config config = {.size = sizeof(config), .mem32_len = 0x20000};
	struct pci_test_function f[4];
	struct pci_rig rig;
	uint32_t more = 0;

	pci_rig_make(&rig);
	ck_assert_int_eq(vdb_pci_destroy(rig.pci), 0);
	ck_assert_int_eq(vdb__pci_create_on(NULL, rig.mmio, rig.pio, &config, &rig.pci), 0);
	/* 64 KiB for the first, then the 64-bit BAR goes above 4 GiB. */
	for (; more < 3; more++)
		pci_test_function_add(&rig, &f[more], 0, 0);
	ck_assert_uint_eq(bar_of(&rig, 1, 3), 0);
	ck_assert_uint_eq(bar_of(&rig, 3, 3), 0x80);
	pci_put(&rig, 3, PCI_COMMAND, 2, DECODE);
	ck_assert(answers(&rig, 0x8000000000, 3) || answers(&rig, 0x8000010000, 3));
	for (uint32_t i = 0; i < 3; i++)
		vdb__pci_function_drop(&f[i].function);
	pci_rig_end(&rig);
}
END_TEST

/* A window of config space reaches a BAR wherever it decodes, and never beyond it (HOSTILE G23). */
START_TEST(g23_windows_reach_inside_only)
{
	static const struct {
		uint32_t bar;
		uint64_t offset;
		uint32_t len;
	} wrong[] = {
	        {0, 0x2000, 4}, {0, 0x1ffe, 4}, {0, 2, 4},  {0, 1, 2},         {0, 0, 0},       {0, 0, 3},
	        {0, 0, 8},      {1, 0, 4},      {3, 0, 4},  {0, ~0ull, 1},     {5, 0, 1},       {6, 0, 4},
	        {7, 0, 4},      {0x80, 0, 4},   {4, 16, 1}, {0, ~0ull - 3, 4}, {2, 0x10000, 4},
	};
	struct pci_test_function f;
	struct pci_rig rig;
	uint32_t value = 0x55555555;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f, 1, 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		vdb__pci_bar_read(&f.function, wrong[i].bar, wrong[i].offset, &value, wrong[i].len);
		vdb__pci_bar_write(&f.function, wrong[i].bar, wrong[i].offset, &value, wrong[i].len);
		ck_assert_uint_eq(value, 0x55555555);
		ck_assert_uint_eq(f.writes, 0);
	}
	vdb__pci_bar_write(&f.function, 2, 0xfffc, &value, 4);
	ck_assert_uint_eq(f.writes, 1);
	ck_assert_uint_eq(f.offset, 0xfffc);
	vdb__pci_bar_read(&f.function, 0, 0x10, &value, 2);
	ck_assert_uint_eq(value, 0x55551001);
	vdb__pci_function_drop(&f.function);
	pci_rig_end(&rig);
}
END_TEST

/* Two vCPUs that move each other's BARs and use them meanwhile: nobody waits for ever, and at the end each is
 * where it was put last. */
struct mover {
	struct pci_rig *rig;
	uint32_t mine, other;
};

static void *move_and_use(void *arg)
{
	const struct mover *m = arg;
	uint32_t value;

	for (uint32_t i = 0; i < 2000; i++) {
		set_bar(m->rig, m->other, 0, 0xc4000000 + m->other * 0x100000 + i % 7 * 0x2000);
		for (uint32_t k = 0; k < 7; k++)
			(void)pci_rig_reads(m->rig->mmio, 0xc4000000 + m->mine * 0x100000 + k * 0x2000,
			                    &value);
	}
	return NULL;
}

START_TEST(g24_two_that_move_each_other_do_not_wait)
{
	struct pci_test_function f[2];
	struct pci_rig rig;
	struct mover a = {&rig, 1, 2}, b = {&rig, 2, 1};
	pthread_t thread;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f[0], 1, 0);
	pci_test_function_add(&rig, &f[1], 2, 0);
	pci_put(&rig, 1, PCI_COMMAND, 2, DECODE);
	pci_put(&rig, 2, PCI_COMMAND, 2, DECODE);
	ck_assert_int_eq(pthread_create(&thread, NULL, move_and_use, &a), 0);
	move_and_use(&b);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert(answers(&rig, bar_of(&rig, 1, 0), 1));
	ck_assert(answers(&rig, bar_of(&rig, 2, 0), 2));
	vdb__pci_function_drop(&f[0].function);
	vdb__pci_function_drop(&f[1].function);
	pci_rig_end(&rig);
}
END_TEST

START_TEST(a_loops_thread_moves_nothing)
{
	struct pci_test_function f;
	struct pci_rig rig;
	uint32_t home;

	pci_rig_make(&rig);
	pci_test_function_add(&rig, &f, 1, 0);
	pci_put(&rig, 1, PCI_COMMAND, 2, DECODE);
	home = bar_of(&rig, 1, 0);
	vdb__thread_loop = &rig;
	set_bar(&rig, 1, 0, 0xc5000000);
	ck_assert(answers(&rig, home, 1));
	vdb__thread_loop = NULL;
	pci_put(&rig, 1, PCI_COMMAND, 2, DECODE);
	ck_assert(answers(&rig, 0xc5000000, 1));
	vdb__pci_function_drop(&f.function);
	pci_rig_end(&rig);
}
END_TEST

SUITE("pci_bar", they_are_placed_and_quiet, g24_sizing_moves_nothing, they_move,
      g24_where_something_else_is_they_do_not_decode, two_change_places, a_full_window_is_said,
      g23_windows_reach_inside_only, g24_two_that_move_each_other_do_not_wait, a_loops_thread_moves_nothing)
