/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the echo device on the PCI bus, and does what echo_abi.h and pci_abi.h say. */
#include "virtio_pci.h"

#include "echo.h"
#include "ioapic.h"
#include "layout.h"
#include "pci_abi.h"

static struct pci_params *const params = (struct pci_params *)PCI_PARAMS;

/* ---- Scan ---- */

static void compare(uint32_t slot)
{
	uint32_t by_ports[64];

	pci_ecam = 0;
	for (uint32_t i = 0; i < 64; i++)
		by_ports[i] = pci_read32(slot, i * 4);
	pci_ecam = params->ecam;
	for (uint32_t i = 0; i < 64; i++)
		params->differ += pci_read32(slot, i * 4) != by_ports[i];
	params->functions += by_ports[0] != 0xffffffff;
}

static void scan(const struct virtio *dev)
{
	for (uint32_t slot = 0; slot < PCI_SLOTS; slot++)
		compare(slot);
	for (uint32_t bar = 0; bar < PCI_BARS; bar++) {
		params->sizes[bar] = pci_bar_size(dev->slot, bar);
		bar += pci_bar_is_64(dev->slot, bar);
	}
}

/* ---- Moves ---- */

/* Every memory BAR, in turn, to another place of the window, with requests in flight. */
static void move(struct virtio *dev)
{
	static const uint32_t bars[] = {4, 0, 1};
	uint32_t len;

	echo_open(dev, 0, 1);
	for (uint32_t i = 0; i < echo->rounds; i++) {
		uint64_t place = params->places[0] + i % 5 * 0x100000;
		uint64_t features = dev->features;
		uintptr_t old = dev->notify;

		for (uint32_t k = 0; k < echo->batch; k++)
			echo_send(&echo_queue[0], 0, k, i + k);
		virtq_publish(&echo_queue[0]);
		pci_set_bar(dev->slot, bars[i % 3], place);
		if (pci_bar(dev->slot, bars[i % 3]) != place || !virtio_pci_find(dev, dev->slot))
			echo_end(ECHO_NOT_FOUND);
		dev->features = features;
		if (dev->notify != old) {
			virtio_write16(old, 0); /* nobody's now */
			params->rings++;
		}
		for (uint32_t k = 0; k < echo->batch; k++)
			(void)echo_wait(&echo_queue[0], &len);
		echo_batch(&echo_queue[0], 0, i);
	}
}

/* Rings at both places until it is answered: one of them is the right one. */
static void moved(struct virtio *dev)
{
	uint32_t len;

	echo_open(dev, 0, 1);
	for (uint32_t i = 0; i < echo->rounds; i++) {
		echo_send(&echo_queue[0], 0, 0, i);
		virtq_publish(&echo_queue[0]);
		while (virtq_take(&echo_queue[0], &len) < 0) {
			virtio_write16((uintptr_t)params->places[params->rings++ % 2], 0);
			guest_pause();
		}
		echo->done++;
	}
}

/* ---- Masks ---- */

static uint64_t pending(const struct virtio *dev)
{
	uint32_t at = pci_read32(dev->slot, pci_cap(dev->slot, PCI_CAP_ID_MSIX, 0) + PCI_MSIX_PBA);

	return *(volatile uint64_t *)(uintptr_t)(pci_bar(dev->slot, at & 7) + (at & ~7u));
}

static void mask(struct virtio *dev, bool all)
{
	virtio_pci_msix_route(dev, 1, GUEST_VECTOR);
	virtio_pci_msix_control(dev, (uint16_t)(PCI_MSIX_FLAGS_ENABLE | (all ? PCI_MSIX_FLAGS_MASKALL : 0)));
	virtio_pci_msix_mask(dev, 1, !all);
	echo_open(dev, 0, 1);
	for (uint32_t i = 0; i < echo->rounds; i++) {
		/* Each of them would interrupt. */
		(void)virtq_arm(&echo_queue[0]);
		echo_batch(&echo_queue[0], 0, i);
	}
	while (!(params->pending = pending(dev)))
		guest_pause();
	params->irqs_before = guest_irqs;
	if (all)
		virtio_pci_msix_control(dev, PCI_MSIX_FLAGS_ENABLE);
	else
		virtio_pci_msix_mask(dev, 1, 0);
	while (!guest_irqs)
		guest_pause();
	for (uint32_t i = 0; i < 200000; i++)
		guest_pause();
	params->irqs_after = guest_irqs;
	params->pending_after = pending(dev);
}

/* ---- All ---- */

static void prepare(const struct virtio *dev)
{
	if (echo->mode != ECHO_IRQ)
		return;
	if (echo->gsi) {
		ioapic_route(echo->gsi, GUEST_VECTOR, IOAPIC_LEVEL);
	} else {
		virtio_pci_msix_route(dev, 1, GUEST_VECTOR);
		virtio_pci_msix_control(dev, PCI_MSIX_FLAGS_ENABLE);
	}
}

_Noreturn void guest_main(uint64_t unused0, uint64_t unused1, uint64_t unused2)
{
	struct virtio dev;

	(void)unused0;
	(void)unused1;
	(void)unused2;
	pci_ecam = params->ecam;
	if (!virtio_pci_find(&dev, pci_find(VIRTIO_PCI_VENDOR, VIRTIO_PCI_DEVICE + ECHO_DEVICE)))
		echo_end(ECHO_NOT_FOUND);
	params->slot = dev.slot;
	params->msix = dev.msix;
	prepare(&dev);
	switch (echo->mode) {
	case PCI_SCAN:
		scan(&dev);
		break;
	case PCI_MOVE:
		move(&dev);
		break;
	case PCI_MOVED:
		moved(&dev);
		break;
	case PCI_MASK:
		mask(&dev, false);
		break;
	case PCI_MASK_ALL:
		mask(&dev, true);
		break;
	default:
		echo_run(&dev);
	}
	echo_end(ECHO_OK);
}
