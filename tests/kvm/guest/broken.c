/* SPDX-License-Identifier: Apache-2.0 */
/* Breaks the ring of one device while another one serves: see broken_abi.h. */
#include "broken_abi.h"
#include "echo.h"
#include "ioapic.h"
#include "layout.h"
#include "virtio_mmio.h"
#include "virtio_pci.h"

#define DRIVEN 0xfu /* status of a device at work */
#define CONFIG_CAUSE 2u

static struct broken_params *const params = (struct broken_params *)BROKEN_PARAMS;
static struct virtio devices[2];
static struct virtq queues[2];

static void find(uint32_t i)
{
	if (params->mmio[i] ? virtio_mmio_find(&devices[i], params->mmio[i])
	                    : virtio_pci_find(&devices[i], params->slot[i]))
		return;
	echo_end(ECHO_NOT_FOUND);
}

static void route(void)
{
	if (!params->msix) {
		ioapic_route(echo->gsi, GUEST_VECTOR, params->mmio[0] ? 0 : IOAPIC_LEVEL);
		return;
	}
	virtio_pci_msix_route(&devices[0], 0, GUEST_VECTOR);
	virtio_pci_msix_control(&devices[0], PCI_MSIX_FLAGS_ENABLE);
}

/* From reset to DRIVER_OK; only the first device's configuration interrupts. */
static void open(uint32_t i)
{
	struct virtio *dev = &devices[i];

	if (!virtio_negotiate(dev, echo->features))
		echo_end(ECHO_REFUSED);
	if (!params->mmio[i])
		virtio_write16(dev->regs + VIRTIO_PCI_COMMON_MSIX, i ? VIRTIO_NO_VECTOR : 0);
	virtq_init(&queues[i], dev, 0, (uint16_t)echo->size, echo_ring(i, 0));
	virtq_disarm(&queues[i]);
	if (!virtq_enable(&queues[i], VIRTIO_NO_VECTOR) || !virtio_drive(dev))
		echo_end(ECHO_REFUSED);
}

/* An index further ahead than the ring is long; a chain without an end. */
static void break_ring(struct virtq *q)
{
	if (!q->packed)
		__atomic_store_n(&virtq_avail(q)->idx, (uint16_t)(q->avail + 1000), __ATOMIC_RELEASE);
	for (uint16_t i = 0; q->packed && i < q->size; i++)
		virtq_packed_open(q, i, i < q->avail ? !q->avail_wrap : q->avail_wrap, VRING_DESC_F_NEXT);
	q->dev->ops->notify(q->dev, q->index);
}

static void hear(uint64_t irqs)
{
	const struct virtio *dev = &devices[0];
	uint32_t causes;

	while (guest_irqs == irqs || !(dev->ops->status(dev) & VIRTIO_CONFIG_S_NEEDS_RESET)) {
		echo_batch(&queues[1], 1, irqs);
		params->between += echo->batch;
	}
	causes = dev->ops->interrupt(dev);
	if (!params->msix && !(causes & CONFIG_CAUSE))
		echo_end(BROKEN_NO_CAUSE);
	if (dev->ops->status(dev) != (DRIVEN | VIRTIO_CONFIG_S_NEEDS_RESET))
		echo_end(BROKEN_WRONG_BITS);
	params->told++;
}

_Noreturn void guest_main(uint64_t unused0, uint64_t unused1, uint64_t unused2)
{
	(void)unused0;
	(void)unused1;
	(void)unused2;
	find(0);
	find(1);
	route();
	open(1);
	for (uint32_t i = 0; i < echo->rounds; i++) {
		uint64_t irqs;

		open(0);
		echo_batch(&queues[0], 0, i);
		echo_batch(&queues[1], 1, i);
		irqs = guest_irqs;
		break_ring(&queues[0]);
		hear(irqs);
	}
	open(0);
	echo_batch(&queues[0], 0, 77);
	echo_batch(&queues[1], 1, 78);
	if (devices[1].ops->status(&devices[1]) != DRIVEN)
		echo_end(BROKEN_WRONG_BITS);
	echo_end(ECHO_OK);
}
