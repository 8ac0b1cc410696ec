/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The abacus' driver: has three texts added up and tells the sums through a port, then how many
 * sums the configuration says there were.
 */
#include "abacus.h"
#include "layout.h"
#include "runtime.h"
#include "virtio_mmio.h"
#include "virtq.h"

#define TELL_PORT 0x510u
#define ENTRIES 8u

static struct virtio device;
static struct virtq queue;
static uint8_t rings[4096] __attribute__((aligned(4096)));

_Noreturn static void end(uint32_t status)
{
	guest_out32(GUEST_EXIT_PORT, status);
	for (;;)
		guest_pause();
}

static int open_device(uintptr_t base)
{
	if (!virtio_mmio_find(&device, base) || device.id != ABACUS_ID)
		return 1;
	if (!virtio_negotiate(&device,
	                      VIRTIO_BIT(VIRTIO_F_RING_PACKED) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX)))
		return 2;
	virtq_init(&queue, &device, 0, ENTRIES, rings);
	if (!virtq_enable(&queue, VIRTIO_NO_VECTOR))
		return 3;
	virtq_disarm(&queue); /* it polls */
	return virtio_drive(&device) ? 0 : 4;
}

static uint64_t add_up(const char *text, uint32_t len)
{
	uint64_t sum = 0;
	const struct virtq_buffer chain[] = {{.addr = (uintptr_t)text, .len = len},
	                                     {.addr = (uintptr_t)&sum, .len = sizeof(sum), .write = 1}};
	uint32_t used;

	if (virtq_add(&queue, chain, 2) < 0)
		end(5);
	virtq_publish(&queue);
	while (virtq_take(&queue, &used) < 0)
		guest_pause();
	if (used != sizeof(sum))
		end(6);
	return *(volatile uint64_t *)&sum;
}

_Noreturn void guest_main(uint64_t base, uint64_t unused1, uint64_t unused2)
{
	int status = open_device(base);

	(void)unused1;
	(void)unused2;
	if (status)
		end((uint32_t)status);
	guest_out32(TELL_PORT, (uint32_t)add_up("doorbell", 8));
	guest_out32(TELL_PORT, (uint32_t)add_up("ring", 4));
	guest_out32(TELL_PORT, (uint32_t)add_up("", 1));
	guest_out32(TELL_PORT, (uint32_t)virtio_config64(&device, 0));
	end(0);
}
