/* SPDX-License-Identifier: Apache-2.0 */
/* Finds virtio-blk behind mmio registers at arg0, and does what blk_abi.h says. */
#include "blk.h"
#include "ioapic.h"
#include "layout.h"
#include "virtio_mmio.h"

_Noreturn void guest_main(uint64_t base, uint64_t unused1, uint64_t unused2)
{
	struct virtio dev;

	(void)unused1;
	(void)unused2;
	if (!virtio_mmio_find(&dev, base))
		blk_end(BLK_NOT_FOUND);
	if (blk->irq)
		ioapic_route(blk->gsi, GUEST_VECTOR, 0);
	blk_run(&dev);
	for (;;)
		guest_pause();
}
