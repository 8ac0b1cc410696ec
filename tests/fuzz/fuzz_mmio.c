/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: vdb_vm_mmio vdb_vm_pio vdb_bell_create vdb_bell_destroy vdb_bell_move vdb_bell_fd */
/* WRAP: vdb_irq_create vdb_irq_destroy vdb_irq_retarget vdb_irq_fd */
/* WRAP: vdb_line_create vdb_line_destroy vdb_line_set vdb_gate_wait */
/* virtio-mmio: registers in any order and of any width, and requests meanwhile. */
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#include "device.h"
#include "echo.h"
#include "vm.h"

#define BASE 0xd0000000u
#define STEPS 160
#define SIZE 8u /* of queues that are as they should be */

static struct echo echo;
static struct fuzz_vm *vm;
static uint16_t shown[ECHO_QUEUES];

static void set(uint32_t offset, uint32_t value)
{
	fuzz_vm_write(vm, false, BASE + offset, value, 4);
}

static uint32_t get(uint32_t offset)
{
	return (uint32_t)fuzz_vm_read(vm, false, BASE + offset, 4);
}

static void bring_queue(uint32_t queue)
{
	set(VIRTIO_MMIO_QUEUE_SEL, queue);
	set(VIRTIO_MMIO_QUEUE_NUM, SIZE);
	set(VIRTIO_MMIO_QUEUE_DESC_LOW, queue * 0x1000);
	set(VIRTIO_MMIO_QUEUE_AVAIL_LOW, queue * 0x1000 + 0x400);
	set(VIRTIO_MMIO_QUEUE_USED_LOW, queue * 0x1000 + 0x800);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	memset(fuzz_ram_at(queue * 0x1000, 0x1000), 0, 0x1000);
	shown[queue] = 0;
}

/* As a driver does it, but for what the program wants otherwise. */
static void bring_up(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);

	set(VIRTIO_MMIO_STATUS, 0);
	fuzz_check(!get(VIRTIO_MMIO_STATUS));
	set(VIRTIO_MMIO_STATUS, 1);
	set(VIRTIO_MMIO_STATUS, 3);
	set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	set(VIRTIO_MMIO_DRIVER_FEATURES,
	    1u | (how & 1u) << 8 | (how & 2 ? fuzz_u32(in) : 0)); /* 40: RING_RESET */
	set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	set(VIRTIO_MMIO_DRIVER_FEATURES, how & 4 ? fuzz_u32(in) : 0x20);
	set(VIRTIO_MMIO_STATUS, 0xb);
	for (uint32_t i = 0; i < ECHO_QUEUES; i++)
		bring_queue(i);
	set(VIRTIO_MMIO_STATUS, 0xf);
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
	set(VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

static uint32_t offset_of(struct fuzz_input *in)
{
	static const uint16_t registers[] = {
	        VIRTIO_MMIO_STATUS,          VIRTIO_MMIO_QUEUE_SEL,           VIRTIO_MMIO_QUEUE_NUM,
	        VIRTIO_MMIO_QUEUE_READY,     VIRTIO_MMIO_QUEUE_NOTIFY,        VIRTIO_MMIO_INTERRUPT_ACK,
	        VIRTIO_MMIO_DRIVER_FEATURES, VIRTIO_MMIO_DRIVER_FEATURES_SEL, VIRTIO_MMIO_QUEUE_DESC_LOW,
	        VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_USED_LOW,      VIRTIO_MMIO_QUEUE_DESC_HIGH,
	        VIRTIO_MMIO_CONFIG,          VIRTIO_MMIO_CONFIG + 4,          VIRTIO_MMIO_DEVICE_FEATURES_SEL,
	        VIRTIO_MMIO_DEVICE_FEATURES, VIRTIO_MMIO_CONFIG_GENERATION,   0x0c0,
	};
	uint8_t which = fuzz_u8(in);

	return which < 0xc0 ? registers[which % (sizeof(registers) / 2)] : fuzz_u16(in) & 0x1fff;
}

/* A small number mostly, since most registers take no other. */
static uint64_t value_of(struct fuzz_input *in)
{
	uint8_t value = fuzz_u8(in);

	return value < 0xe0 ? value & 0x1f : (value & 1 ? fuzz_u64(in) : (uint64_t)fuzz_u16(in) << 4);
}

static void step(uint8_t kind, struct fuzz_input *in)
{
	uint32_t offset;

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
		fuzz_turn();
		break;
	case 8:
		offset = offset_of(in);
		(void)fuzz_vm_read(vm, false, BASE + offset, 1u << (fuzz_u8(in) & 3));
		break;
	case 9:
		offset = offset_of(in);
		fuzz_vm_write(vm, false, BASE + offset, value_of(in), 1u << (fuzz_u8(in) & 3));
		break;
	default:
		offset = offset_of(in);
		set(offset, (uint32_t)value_of(in));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct vdb_virtio_mmio_config config = {.size = sizeof(config), .base = BASE, .gsi = 5};
	struct fuzz_input in = fuzz_input(data, size);
	struct vdb_virtio_mmio *mmio;
	int rc;

	vm = fuzz_vm_open();
	fuzz_echo_open(&echo, fuzz_ram(), fuzz_loop(), fuzz_u8(&in) & 1 ? 16 : 0);
	fuzz_vm_fail(vm, fuzz_u8(&in) % 32);
	rc = vdb_virtio_mmio_create(fuzz_vm(vm), echo.device, &config, &mmio);
	if (!rc) {
		bring_up(&in);
		for (int i = 0; i < STEPS && fuzz_more(&in); i++)
			step(fuzz_u8(&in) % 16, &in);
		vdb_virtio_mmio_destroy(mmio);
	}
	fuzz_echo_close(&echo);
	fuzz_vm_close(vm);
	return 0;
}
