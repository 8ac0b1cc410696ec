/* SPDX-License-Identifier: Apache-2.0 */
/* GUEST: virtio_mmio virtio_pci */
/*
 * G16..G18: a real guest accesses registers at every alignment, width and place, across the ends of windows,
 * too; what is no register's own width and place reads as zeroes or ones and changes nothing: the device
 * works afterwards.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <string.h>

#include "../kvm/guest/pci_abi.h"
#include "arena.h"
#include "mmio_machine.h"
#include "pci_machine.h"

GUEST_IMAGE(virtio_mmio);
GUEST_IMAGE(virtio_pci);

/* ---- A guest that makes a list of accesses ---- */

struct probe {
	uint64_t addr;
	uint32_t len; /* 0: the end */
	uint32_t write;
	uint64_t value;
};

GUEST(prober, "1: mov 8(%rdi), %ecx\n test %ecx, %ecx\n jz 9f\n mov (%rdi), %rsi\n mov 16(%rdi), %rax\n"
              "cmpl $0, 12(%rdi)\n jne 5f\n"
              "cmp $2, %ecx\n jb 2f\n je 3f\n cmp $4, %ecx\n je 4f\n mov (%rsi), %rax\n jmp 7f\n"
              "2: movzbl (%rsi), %eax\n jmp 7f\n 3: movzwl (%rsi), %eax\n jmp 7f\n"
              "4: mov (%rsi), %eax\n 7: mov %rax, 16(%rdi)\n jmp 8f\n"
              "5: cmp $2, %ecx\n jb 2f\n je 3f\n cmp $4, %ecx\n je 4f\n mov %rax, (%rsi)\n jmp 8f\n"
              "2: mov %al, (%rsi)\n jmp 8f\n 3: mov %ax, (%rsi)\n jmp 8f\n 4: mov %eax, (%rsi)\n"
              "8: add $24, %rdi\n jmp 1b\n 9: ud2");

#define PROBES ((GUEST_MEM - GUEST_DATA) / sizeof(struct probe) - 1)

static struct kvm_fixture *f;
static uint32_t probes;

static struct probe *probe_at(uint32_t i)
{
	return (struct probe *)(void *)(f->ram + GUEST_DATA) + i;
}

static void add(uint64_t addr, uint32_t len, bool write, uint64_t value)
{
	ck_assert_uint_lt(probes, PROBES);
	*probe_at(probes++) = (struct probe){addr, len, write, value};
}

static void run_probes(void)
{
	*probe_at(probes) = (struct probe){.len = 0};
	LOAD(f, 0, prober, GUEST_DATA);
	kvm_fixture_run(f, 0);
}

/* Every width at every byte of [addr, +bytes) but what is a register's own: read, all-ones and zeroes
 * written, read. */
static void add_sweep(uint64_t addr, uint32_t bytes, bool (*own)(uint64_t addr, uint32_t len))
{
	for (uint64_t at = addr; at < addr + bytes; at++) {
		for (uint32_t len = 1; len <= 8; len *= 2) {
			if (own(at, len))
				continue;
			add(at, len, false, 0x5a5a5a5a5a5a5a5a);
			add(at, len, true, UINT64_MAX);
			add(at, len, true, 0);
			add(at, len, false, 0x5a5a5a5a5a5a5a5a);
		}
	}
}

/* Each byte that was read is 0 or 0xff. */
static void check_probes(void)
{
	for (uint32_t i = 0; i < probes; i++) {
		const struct probe *p = probe_at(i);

		for (uint32_t b = 0; b < p->len && !p->write; b++) {
			uint8_t byte = (uint8_t)(p->value >> (b * 8));

			ck_assert_msg(byte == 0 || byte == 0xff, "%u bytes at %#llx: %#llx", p->len,
			              (unsigned long long)p->addr, (unsigned long long)p->value);
		}
	}
}

static uint64_t reads(uint64_t addr, uint32_t len)
{
	uint64_t value = 0;

	(void)vdb_bus_read(vdb_vm_mmio(f->vm), NULL, addr, &value, len);
	return value;
}

static void writes(uint64_t addr, uint32_t len, uint64_t value)
{
	(void)vdb_bus_write(vdb_vm_mmio(f->vm), NULL, addr, &value, len);
}

/* The echo guests' task. */
static void ask_echo(struct echo_params *params)
{
	*params = (struct echo_params){.mode = ECHO_POLL, .size = 16, .rounds = 5, .batch = 8};
	f->reports = 0;
}

/* ---- virtio-mmio ---- */

static struct mmio_machine mm;

static void open_mmio(void)
{
	mmio_machine_open(&mm, 2);
	f = &mm.f;
	probes = 0;
	arena_begin(mm.loop);
}

/* What a driver would do finds it well. */
static void close_mmio(void)
{
	ask_echo(mmio_machine_params(&mm));
	LOAD_IMAGE(f, virtio_mmio, false, MACHINE_MMIO);
	mmio_machine_run(&mm);
	ck_assert_uint_eq(mmio_machine_params(&mm)->done, 40);
	arena_end();
	mmio_machine_close(&mm);
}

/* Of what crosses a page KVM makes two accesses, and the second may be a register's own. */
static bool mmio_own(uint64_t addr, uint32_t len)
{
	return (addr < MACHINE_MMIO + VIRTIO_MMIO_CONFIG && len == 4 && addr % 4 == 0) ||
	       (addr == MACHINE_MMIO - 4 && len == 8);
}

static uint32_t mmio_status(void)
{
	return (uint32_t)reads(MACHINE_MMIO + VIRTIO_MMIO_STATUS, 4);
}

static void mmio_driver(void)
{
	writes(MACHINE_MMIO + VIRTIO_MMIO_STATUS, 4, 0);
	writes(MACHINE_MMIO + VIRTIO_MMIO_STATUS, 4, 1);
	writes(MACHINE_MMIO + VIRTIO_MMIO_STATUS, 4, 3);
	ck_assert_uint_eq(mmio_status(), 3);
}

START_TEST(g16_every_width_and_alignment_over_mmio)
{
	open_mmio();
	mmio_driver();
	add_sweep(MACHINE_MMIO, VIRTIO_MMIO_CONFIG + 16, mmio_own);
	/* Over the end of the window, and the one byte before its start. */
	add_sweep(MACHINE_MMIO + VDB_VIRTIO_MMIO_BYTES - 16, 24, mmio_own);
	add_sweep(MACHINE_MMIO - 9, 9, mmio_own);
	run_probes();
	check_probes();
	ck_assert_uint_eq(mmio_status(), 3);
	close_mmio();
}
END_TEST

/* Registers of virtio 1.2, 4.2.2, by who may use them. */
static const uint16_t read_only[] = {
        VIRTIO_MMIO_MAGIC_VALUE,   VIRTIO_MMIO_VERSION,           VIRTIO_MMIO_DEVICE_ID,
        VIRTIO_MMIO_VENDOR_ID,     VIRTIO_MMIO_DEVICE_FEATURES,   VIRTIO_MMIO_QUEUE_NUM_MAX,
        VIRTIO_MMIO_SHM_LEN_LOW,   VIRTIO_MMIO_SHM_LEN_HIGH,      VIRTIO_MMIO_SHM_BASE_LOW,
        VIRTIO_MMIO_SHM_BASE_HIGH, VIRTIO_MMIO_CONFIG_GENERATION, VIRTIO_MMIO_INTERRUPT_STATUS,
};
static const uint16_t write_only[] = {
        VIRTIO_MMIO_DEVICE_FEATURES_SEL, VIRTIO_MMIO_DRIVER_FEATURES,  VIRTIO_MMIO_DRIVER_FEATURES_SEL,
        VIRTIO_MMIO_QUEUE_SEL,           VIRTIO_MMIO_QUEUE_NUM,        VIRTIO_MMIO_QUEUE_NOTIFY,
        VIRTIO_MMIO_INTERRUPT_ACK,       VIRTIO_MMIO_QUEUE_DESC_LOW,   VIRTIO_MMIO_QUEUE_DESC_HIGH,
        VIRTIO_MMIO_QUEUE_AVAIL_LOW,     VIRTIO_MMIO_QUEUE_AVAIL_HIGH, VIRTIO_MMIO_QUEUE_USED_LOW,
        VIRTIO_MMIO_QUEUE_USED_HIGH,     VIRTIO_MMIO_SHM_SEL,
};
static const uint16_t both_ways[] = {VIRTIO_MMIO_STATUS, VIRTIO_MMIO_QUEUE_READY, 0x0c0 /* QueueReset */};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

START_TEST(g17_registers_of_one_direction)
{
	uint64_t before[COUNT(read_only)];

	open_mmio();
	mmio_driver();
	for (size_t i = 0; i < COUNT(read_only); i++) {
		before[i] = reads(MACHINE_MMIO + read_only[i], 4);
		add(MACHINE_MMIO + read_only[i], 4, true, ~before[i]);
	}
	for (size_t i = 0; i < COUNT(write_only); i++) {
		add(MACHINE_MMIO + write_only[i], 4, true, 0xffffffff);
		add(MACHINE_MMIO + write_only[i], 4, false, 1);
	}
	/* Selectors back to something. */
	add(MACHINE_MMIO + VIRTIO_MMIO_QUEUE_SEL, 4, true, 0);
	add(MACHINE_MMIO + VIRTIO_MMIO_DEVICE_FEATURES_SEL, 4, true, 0);
	run_probes();
	for (uint32_t i = 0; i < probes; i++)
		ck_assert(probe_at(i)->write || probe_at(i)->value == 0);
	for (size_t i = 0; i < COUNT(read_only); i++)
		ck_assert_uint_eq(reads(MACHINE_MMIO + read_only[i], 4), before[i]);
	ck_assert_uint_eq(mmio_status(), 3);
	close_mmio();
}
END_TEST

static bool defined(uint32_t offset)
{
	for (size_t i = 0; i < COUNT(read_only); i++) {
		if (read_only[i] == offset)
			return true;
	}
	for (size_t i = 0; i < COUNT(write_only); i++) {
		if (write_only[i] == offset)
			return true;
	}
	for (size_t i = 0; i < COUNT(both_ways); i++) {
		if (both_ways[i] == offset)
			return true;
	}
	return false;
}

START_TEST(g18_undefined_offsets_over_mmio)
{
	open_mmio();
	mmio_driver();
	for (uint32_t offset = 0; offset < VDB_VIRTIO_MMIO_BYTES; offset += 4) {
		if (defined(offset))
			continue;
		add(MACHINE_MMIO + offset, 4, true, 0xffffffff);
		add(MACHINE_MMIO + offset, 4, true, 0);
		add(MACHINE_MMIO + offset, 4, false, 1);
	}
	run_probes();
	ck_assert_uint_ge(probes, 3 * 900);
	for (uint32_t i = 0; i < probes; i++)
		ck_assert(probe_at(i)->write || probe_at(i)->value == 0);
	ck_assert_uint_eq(mmio_status(), 3);
	close_mmio();
}
END_TEST

/* ---- PCI ---- */

static struct pci_machine pm;
static uint64_t function, bars[6];

static void open_pci(void)
{
	pci_machine_open(&pm, 2);
	pci_machine_plug(&pm, VDB_NOTIFY_MMIO, 0);
	f = &pm.f;
	probes = 0;
	function = PCI_MACHINE_ECAM + (PCI_MACHINE_SLOT << 15);
	writes(function + PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	for (uint32_t i = 0; i < 6; i++)
		bars[i] = reads(function + PCI_BASE_ADDRESS_0 + i * 4, 4) & ~0xfull;
	writes(bars[0] + VIRTIO_PCI_COMMON_STATUS, 1, 1);
	writes(bars[0] + VIRTIO_PCI_COMMON_STATUS, 1, 3);
	arena_begin(pm.loop);
}

static void close_pci(void)
{
	ck_assert_uint_eq(reads(bars[0] + VIRTIO_PCI_COMMON_STATUS, 1), 3);
	for (uint32_t i = 0; i < 6; i++)
		ck_assert_uint_eq(reads(function + PCI_BASE_ADDRESS_0 + i * 4, 4) & ~0xfull, bars[i]);
	ask_echo(pci_machine_echo(&pm));
	memset(pci_machine_params(&pm), 0, sizeof(struct pci_params));
	LOAD_IMAGE(f, virtio_pci, false, 0);
	pci_machine_run(&pm);
	ck_assert_uint_eq(pci_machine_echo(&pm)->done, 40);
	arena_end();
	pci_machine_close(&pm);
}

static bool config_own(uint64_t addr, uint32_t len)
{
	return len <= 4 && addr % len == 0;
}

/* Fields by their width, and by their halves none. */
static bool common_own(uint64_t addr, uint32_t len)
{
	return addr % len == 0 && len <= 4;
}

static bool table_own(uint64_t addr, uint32_t len)
{
	return addr % len == 0 && len >= 4;
}

static bool nobodys(uint64_t addr, uint32_t len)
{
	(void)addr, (void)len;
	return false;
}

START_TEST(g16_every_width_and_alignment_over_pci)
{
	open_pci();
	add_sweep(function, 64, config_own);
	add_sweep(function + 4096 - 12, 24, config_own);
	add_sweep(bars[0], 72, common_own);
	add_sweep(bars[0] + 0x4000 - 12, 12, nobodys); /* into the next BAR */
	add_sweep(bars[1], 64, table_own);
	add_sweep(bars[1] + 0x1000 - 12, 12, nobodys);
	add_sweep(bars[4], 16, nobodys); /* rings */
	add_sweep(bars[4] + 0x2000 - 12, 24, nobodys);
	run_probes();
	check_probes();
	close_pci();
}
END_TEST

START_TEST(g18_undefined_offsets_over_pci)
{
	open_pci();
	for (uint32_t offset = 64; offset < 0x4000; offset += 4) {
		if (offset == 0x1000) /* the ISR */
			continue;
		add(bars[0] + offset, 4, true, 0xffffffff);
		add(bars[0] + offset, 4, true, 0);
		add(bars[0] + offset, 4, false, 1);
	}
	/* Extended config space, and the table's BAR beyond the table. */
	for (uint32_t offset = 0x100; offset < 0x1000; offset += 4) {
		add(function + offset, 4, true, 0xffffffff);
		add(function + offset, 4, false, 1);
		add(bars[1] + offset, 4, true, 0xffffffff);
		add(bars[1] + offset, 4, false, 1);
	}
	run_probes();
	for (uint32_t i = 0; i < probes; i++)
		ck_assert(probe_at(i)->write || probe_at(i)->value == 0);
	close_pci();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        g16_every_width_and_alignment_over_mmio, g16_every_width_and_alignment_over_pci,
	        g17_registers_of_one_direction,          g18_undefined_offsets_over_mmio,
	        g18_undefined_offsets_over_pci,          NULL,
	};

	return kvm_tests_run("registers", NULL, NULL, tests);
}
