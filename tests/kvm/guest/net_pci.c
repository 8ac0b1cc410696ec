/* SPDX-License-Identifier: Apache-2.0 */
/* Finds virtio-net on the PCI bus, and does what net_abi.h says; its gsi 0 is MSI-X. */
#include "virtio_pci.h"

#include "ioapic.h"
#include "layout.h"
#include "net.h"

_Noreturn void guest_main(uint64_t unused0, uint64_t unused1, uint64_t unused2)
{
	struct virtio dev;

	(void)unused0;
	(void)unused1;
	(void)unused2;
	if (!virtio_pci_find(&dev, pci_find(VIRTIO_PCI_VENDOR, VIRTIO_PCI_DEVICE + NET_DEVICE)))
		net_end(NET_NOT_FOUND);
	if (net->irq && net->gsi) {
		ioapic_route(net->gsi, GUEST_VECTOR, IOAPIC_LEVEL);
	} else if (net->irq) {
		virtio_pci_msix_route(&dev, 1, GUEST_VECTOR);
		virtio_pci_msix_control(&dev, PCI_MSIX_FLAGS_ENABLE);
	}
	net_run(&dev);
	for (;;)
		guest_pause();
}
