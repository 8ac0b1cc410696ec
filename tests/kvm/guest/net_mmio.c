/* SPDX-License-Identifier: Apache-2.0 */
/* Finds virtio-net behind mmio registers at arg0, and does what net_abi.h says. */
#include "ioapic.h"
#include "layout.h"
#include "net.h"
#include "virtio_mmio.h"

_Noreturn void guest_main(uint64_t base, uint64_t unused1, uint64_t unused2)
{
	struct virtio dev;

	(void)unused1;
	(void)unused2;
	if (!virtio_mmio_find(&dev, base))
		net_end(NET_NOT_FOUND);
	if (net->irq)
		ioapic_route(net->gsi, GUEST_VECTOR, 0);
	net_run(&dev);
	for (;;)
		guest_pause();
}
