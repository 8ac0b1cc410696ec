/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: vdb_vm_mmio vdb_vm_pio vdb_bell_create vdb_bell_destroy vdb_bell_move vdb_bell_fd */
/* WRAP: vdb_irq_create vdb_irq_destroy vdb_irq_retarget vdb_irq_fd */
/* WRAP: vdb_line_create vdb_line_destroy vdb_line_set vdb_gate_wait */
/*
 * virtio-pci: config space by both ways, BARs that are sized and moved anywhere, decoding and bus mastering
 * on and off, MSI-X, the window, and the registers behind them, with requests meanwhile.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "device.h"
#include "echo.h"
#include "vm.h"

#define ECAM 0xe0000000u
#define SLOT 1u
#define STEPS 160
#define SIZE 8u
#define COMMAND_ALL (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

static struct echo echo;
static struct fuzz_vm *vm;
static uint16_t shown[ECHO_QUEUES];

static uint32_t config(uint32_t offset, uint32_t len)
{
	return (uint32_t)fuzz_vm_read(vm, false, ECAM + (SLOT << 15) + offset, len);
}

static void set_config(uint32_t offset, uint32_t value, uint32_t len)
{
	fuzz_vm_write(vm, false, ECAM + (SLOT << 15) + offset, value, len);
}

/* Where a BAR is, as its registers say. */
static uint64_t bar(uint32_t i)
{
	uint64_t low = config(PCI_BASE_ADDRESS_0 + 4 * i, 4);

	if (low & PCI_BASE_ADDRESS_SPACE_IO)
		return low & ~3ull;
	if ((low & 6) == PCI_BASE_ADDRESS_MEM_TYPE_64 && i < 5)
		low |= (uint64_t)config(PCI_BASE_ADDRESS_0 + 4 * i + 4, 4) << 32;
	return low & ~0xfull;
}

static void set(uint32_t offset, uint32_t value, uint32_t len)
{
	fuzz_vm_write(vm, false, bar(0) + offset, value, len);
}

static void bring_queue(uint32_t queue)
{
	set(VIRTIO_PCI_COMMON_Q_SELECT, queue, 2);
	set(VIRTIO_PCI_COMMON_Q_SIZE, SIZE, 2);
	set(VIRTIO_PCI_COMMON_Q_MSIX, queue, 2);
	set(VIRTIO_PCI_COMMON_Q_DESCLO, queue * 0x1000, 4);
	set(VIRTIO_PCI_COMMON_Q_AVAILLO, queue * 0x1000 + 0x400, 4);
	set(VIRTIO_PCI_COMMON_Q_USEDLO, queue * 0x1000 + 0x800, 4);
	set(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	memset(fuzz_ram_at(queue * 0x1000, 0x1000), 0, 0x1000);
	shown[queue] = 0;
}

static void bring_up(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);

	set_config(PCI_COMMAND, COMMAND_ALL, 2);
	set(VIRTIO_PCI_COMMON_STATUS, 0, 1);
	fuzz_settle();
	set(VIRTIO_PCI_COMMON_STATUS, 1, 1);
	set(VIRTIO_PCI_COMMON_STATUS, 3, 1);
	set(VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	set(VIRTIO_PCI_COMMON_GF, 1u | (how & 1u) << 8, 4);
	set(VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	set(VIRTIO_PCI_COMMON_GF, how & 2 ? fuzz_u32(in) : 0x20, 4);
	set(VIRTIO_PCI_COMMON_MSIX, how >> 4, 2);
	set(VIRTIO_PCI_COMMON_STATUS, 0xb, 1);
	for (uint32_t i = 0; i < ECHO_QUEUES; i++)
		bring_queue(i);
	set(VIRTIO_PCI_COMMON_STATUS, 0xf, 1);
}

static void request(struct fuzz_input *in)
{
	uint32_t queue = fuzz_u8(in) % ECHO_QUEUES;
	struct vring_avail *avail = fuzz_ram_at(queue * 0x1000 + 0x400, 64);
	struct vring_desc desc = {.addr = fuzz_gpa(in), .len = fuzz_len(in), .flags = fuzz_u8(in) & 2};
	uint16_t head = shown[queue] % SIZE;

	fuzz_ram_put(queue * 0x1000 + 16u * head, &desc, sizeof(desc));
	avail->ring[head] = head;
	avail->idx = ++shown[queue];
	fuzz_vm_write(vm, false, bar(4) + queue * 4096, queue, 2);
}

/* A message that reaches somebody, or not, and its mask. */
static void vector(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint64_t entry = bar(1) + 16u * (how & 7);

	if (how & 0x10)
		fuzz_vm_write(vm, false, entry, how & 0x80 ? fuzz_u64(in) : 0xfee00000u, how & 0x20 ? 8 : 4);
	if (how & 0x40)
		fuzz_vm_write(vm, false, entry + 8, fuzz_u32(in), 4);
	fuzz_vm_write(vm, false, entry + 12, how >> 3 & 1, 4);
}

static uint32_t msix_cap(void)
{
	uint32_t cap = config(PCI_CAPABILITY_LIST, 1);

	for (int i = 0; i < 16 && cap && config(cap, 1) != PCI_CAP_ID_MSIX; i++)
		cap = config(cap + PCI_CAP_LIST_NEXT, 1);
	return cap;
}

static void move_bar(struct fuzz_input *in)
{
	static const uint64_t places[] = {0xc0000000, 0xc0004000, 0xc0010000, 0x8000000000, 0x8000010000,
	                                  0xc000,     0,          0xfee00000, ECAM,         0xffffffff};
	uint8_t how = fuzz_u8(in), at = fuzz_u8(in);
	uint32_t reg = PCI_BASE_ADDRESS_0 + 4 * (how % 6u);
	uint64_t to = at < 0xe0 ? places[at % 10] : fuzz_u64(in);

	if (how & 0x40)
		set_config(PCI_COMMAND, how & 0x80 ? PCI_COMMAND_MEMORY : 0, 2);
	set_config(reg, (uint32_t)to, 4);
	if (reg < PCI_BASE_ADDRESS_5)
		set_config(reg + 4, (uint32_t)(to >> 32), 4);
	if (how & 0x40)
		set_config(PCI_COMMAND, COMMAND_ALL, 2);
}

/* Config space by port or by memory, anywhere in it. */
static void any_config(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t offset = fuzz_u8(in) | (how & 0x80 ? (fuzz_u8(in) & 15u) << 8 : 0);
	uint32_t len = 1u << (how & 3), value = fuzz_u32(in);
	bool port = how & 4;
	uint64_t at = ECAM + (SLOT << 15) + offset;

	if (port) {
		fuzz_vm_write(vm, true, 0xcf8, 0x80000000u | SLOT << 11 | (offset & 0xfcu), 4);
		at = 0xcfc + (offset & 3u);
	}
	if (how & 8)
		fuzz_vm_write(vm, port, at, value, len);
	else
		(void)fuzz_vm_read(vm, port, at, len);
}

static void any_register(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t len = 1u << (how & 3);
	uint64_t at = bar(how >> 3 & 7) + (how & 0x40 ? fuzz_u16(in) : fuzz_u8(in) % 64u);

	if (how & 4)
		(void)fuzz_vm_read(vm, false, at, len);
	else
		fuzz_vm_write(vm, false, at, fuzz_u8(in) & 0x80 ? fuzz_u64(in) : fuzz_u8(in), len);
}

static uint32_t window_cap(void)
{
	uint32_t cap = config(PCI_CAPABILITY_LIST, 1);

	for (int i = 0; i < 16 && cap; i++, cap = config(cap + PCI_CAP_LIST_NEXT, 1)) {
		if (config(cap, 1) == PCI_CAP_ID_VNDR &&
		    config(cap + VIRTIO_PCI_CAP_CFG_TYPE, 1) == VIRTIO_PCI_CAP_PCI_CFG)
			return cap;
	}
	return 0;
}

static void window(struct fuzz_input *in)
{
	uint32_t cap = window_cap();
	uint8_t how = fuzz_u8(in);

	set_config(cap + VIRTIO_PCI_CAP_BAR, how & 7, 1);
	set_config(cap + VIRTIO_PCI_CAP_OFFSET, how & 8 ? fuzz_u32(in) : fuzz_u8(in), 4);
	set_config(cap + VIRTIO_PCI_CAP_LENGTH, how & 0x10 ? fuzz_u32(in) : 1u << (how >> 6), 4);
	if (how & 0x20)
		set_config(cap + 16, fuzz_u32(in), 1u << (how >> 6) % 4);
	else
		(void)config(cap + 16, 4);
}

static void step(uint8_t kind, struct fuzz_input *in)
{
	switch (kind) {
	case 0:
		bring_up(in);
		break;
	case 1:
	case 2:
		request(in);
		break;
	case 3:
		echo.hold = fuzz_u8(in) & 1;
		break;
	case 4:
		fuzz_echo_release(&echo);
		break;
	case 5:
		fuzz_ram_write(in, fuzz_u16(in) % (ECHO_QUEUES * 0x1000), 4);
		break;
	case 6:
		fuzz_settle();
		break;
	case 7:
		move_bar(in);
		break;
	case 8:
		any_config(in);
		break;
	case 9:
		vector(in);
		break;
	case 10:
		set_config(msix_cap() + PCI_MSIX_FLAGS, (uint32_t)fuzz_u8(in) << 8, 2);
		break;
	case 11:
		window(in);
		break;
	case 12:
		set_config(PCI_COMMAND, fuzz_u16(in), 2);
		break;
	case 13:
		(void)fuzz_vm_read(vm, false, bar(0) + 0x1000, 1); /* ISR */
		fuzz_vm_fail(vm, fuzz_u8(in) % 8);
		break;
	default:
		any_register(in);
	}
}

static void play(struct vdb_pci *pci, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	const struct vdb_virtio_pci_config to = {.size = sizeof(to),
	                                         .notify = how & 3 ? VDB_NOTIFY_PIO : VDB_NOTIFY_MMIO,
	                                         .flags = how & 0x40 ? VDB_VIRTIO_PCI_NO_MSIX : 0};
	struct vdb_virtio_pci *vpci;

	if (vdb_virtio_pci_create(pci, echo.device, &to, &vpci))
		return;
	bring_up(in);
	for (int i = 0; i < STEPS && fuzz_more(in); i++)
		step(fuzz_u8(in) % 16, in);
	vdb_virtio_pci_destroy(vpci);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct vdb_pci_config at = {.size = sizeof(at), .loop = fuzz_loop()};
	struct fuzz_input in = fuzz_input(data, size);
	struct vdb_pci *pci;

	vm = fuzz_vm_open();
	fuzz_echo_open(&echo, fuzz_ram(), fuzz_loop(), 0);
	fuzz_vm_fail(vm, fuzz_u8(&in) % 32);
	fuzz_check(vdb_pci_create(fuzz_vm(vm), &at, &pci) == 0);
	play(pci, &in);
	fuzz_check(vdb_pci_destroy(pci) == 0);
	fuzz_echo_close(&echo);
	fuzz_vm_close(vm);
	return 0;
}
