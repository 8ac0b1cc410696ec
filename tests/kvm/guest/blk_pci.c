/* SPDX-License-Identifier: Apache-2.0 */
/* Finds virtio-blk on the PCI bus, and does what blk_abi.h says; its gsi 0 is MSI-X. */
#include "virtio_pci.h"

#include "blk.h"
#include "ioapic.h"
#include "layout.h"

_Noreturn void guest_main(uint64_t unused0, uint64_t unused1, uint64_t unused2)
{
	struct virtio dev;

	(void)unused0;
	(void)unused1;
	(void)unused2;
	if (!virtio_pci_find(&dev, pci_find(VIRTIO_PCI_VENDOR, VIRTIO_PCI_DEVICE + BLK_DEVICE)))
		blk_end(BLK_NOT_FOUND);
	if (blk->irq && blk->gsi) {
		ioapic_route(blk->gsi, GUEST_VECTOR, IOAPIC_LEVEL);
	} else if (blk->irq) {
		virtio_pci_msix_route(&dev, 1, GUEST_VECTOR);
		virtio_pci_msix_control(&dev, PCI_MSIX_FLAGS_ENABLE);
	}
	blk_run(&dev);
	for (;;)
		guest_pause();
}
