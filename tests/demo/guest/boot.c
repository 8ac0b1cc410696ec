/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest that `tinyvmm run` boots in tests on /dev/kvm: an ELF file with a PVH entry. Does what
 * the words of its command line say:
 *
 *     virtio_mmio.device=4K@ADDRESS:GSI   tries this device, as the kernel's parameter names it; without
 *                                         such a word, all on the PCI bus, by MSI-X
 *     poll, packed, split                 how (by interrupts, packed if that is offered)
 *     balloon=PAGES, asked                follows a balloon's target until it is this one, and waits until it
 *                                         is asked for statistics
 *     echo                                sends back what comes from the serial port, up to a Q
 *     exit=N, poweroff, reboot, panicked, crash, hang    how it ends; exit=0 if none is there
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <vdb/platform.h>

#include "checks.h"
#include "ioapic.h"
#include "layout.h"
#include "runtime.h"
#include "serial.h"
#include "virtio_mmio.h"
#include "virtio_pci.h"

#define SLP_EN (1u << 13)

struct hvm_start_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, cmdline, rsdp;
};
#define HVM_START_MAGIC 0x336ec578u

/* ---- The command line ---- */

static bool begins(const char *text, const char *with)
{
	while (*with)
		if (*text++ != *with++)
			return false;
	return true;
}

/* What follows `key` in the next word that begins so; NULL: there is none. */
static const char *find(const char *text, const char *key)
{
	while (*text) {
		if (begins(text, key)) {
			while (*key++)
				text++;
			return text;
		}
		while (*text && *text != ' ')
			text++;
		while (*text == ' ')
			text++;
	}
	return NULL;
}

static uint64_t number(const char **text)
{
	unsigned base = begins(*text, "0x") ? 16 : 10;
	uint64_t value = 0;

	for (*text += base == 16 ? 2 : 0;; (*text)++) {
		char c = **text;
		unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
		                 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
		                                        : base;

		if (digit >= base)
			return value;
		value = value * base + digit;
	}
}

/* 0: the word is not there. */
static uint32_t number_of(const char *cmdline, const char *key)
{
	const char *text = find(cmdline, key);

	return text ? (uint32_t)number(&text) : 0;
}

/* ---- How it ends ---- */

static _Noreturn void hang(void)
{
	for (;;)
		guest_pause();
}

static _Noreturn void leave(uint8_t status)
{
	guest_out8(VDB_DEBUG_EXIT_PORT, status);
	hang();
}

_Noreturn void give_up(const char *what)
{
	serial_text(what);
	serial_text("\r\n");
	leave(1);
}

static _Noreturn void end(const char *cmdline)
{
	const char *status = find(cmdline, "exit=");

	if (find(cmdline, "poweroff"))
		guest_out16(VDB_PM_CONTROL_PORT, SLP_EN | VDB_PM_S5 << 10);
	else if (find(cmdline, "reboot"))
		guest_out8(VDB_PM_RESET_PORT, VDB_PM_RESET_VALUE);
	else if (find(cmdline, "panicked"))
		guest_out8(VDB_PVPANIC_PORT, 1);
	else if (find(cmdline, "crash"))
		__asm__ __volatile__("ud2");
	else if (!find(cmdline, "hang"))
		leave(status ? (uint8_t)number(&status) : 0);
	hang();
}

/* ---- What it does ---- */

static void check_device(struct virtio *dev, const struct manner *manner)
{
	if (dev->id == 2)
		check_block(dev, manner);
	else if (dev->id == 4)
		check_rng(dev, manner);
	else if (dev->id == 5)
		check_balloon(dev, manner);
}

static void check_mmio(const char *cmdline, const struct manner *manner)
{
	const char *at = cmdline;

	while ((at = find(at, "virtio_mmio.device=4K@"))) {
		uint64_t base = number(&at), gsi = 0;
		struct virtio dev;

		if (*at++ == ':')
			gsi = number(&at);
		ioapic_route((uint32_t)gsi, GUEST_VECTOR, 0);
		if (!virtio_mmio_find(&dev, base))
			give_up("no virtio-mmio device where the command line says");
		check_device(&dev, manner);
	}
}

static void check_pci(struct manner *manner)
{
	for (uint32_t slot = 0; slot < 32; slot++) {
		struct virtio dev;

		if (!virtio_pci_find(&dev, slot))
			continue;
		virtio_pci_msix_route(&dev, 1, GUEST_VECTOR);
		virtio_pci_msix_control(&dev, PCI_MSIX_FLAGS_ENABLE);
		manner->vector = 1;
		check_device(&dev, manner);
	}
}

static void echo(void)
{
	for (char byte = 0; byte != 'Q';) {
		byte = serial_get();
		serial_put(byte);
	}
}

void guest_main(uint64_t info, uint64_t unused1, uint64_t unused2)
{
	const struct hvm_start_info *start = (const void *)info;
	const char *cmdline = (const void *)start->cmdline;
	struct manner manner = {.vector = VIRTIO_NO_VECTOR};

	(void)unused1;
	(void)unused2;
	if (start->magic != HVM_START_MAGIC)
		give_up("this is not hvm_start_info");
	serial_text("boot guest: ");
	serial_text(cmdline);
	serial_text("\r\n");
	manner.polls = find(cmdline, "poll");
	manner.balloon = number_of(cmdline, "balloon=");
	manner.asked = find(cmdline, "asked");
	manner.features = VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_BIT(VIRTIO_BLK_F_RO) |
	                  VIRTIO_BIT(VIRTIO_BLK_F_FLUSH);
	if (!find(cmdline, "split"))
		manner.features |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	if (find(cmdline, "virtio_mmio.device="))
		check_mmio(cmdline, &manner);
	else
		check_pci(&manner);
	if (find(cmdline, "echo"))
		echo();
	end(cmdline);
}
