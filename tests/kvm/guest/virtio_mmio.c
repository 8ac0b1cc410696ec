/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the echo device behind mmio registers at arg0, and does what echo_abi.h says. */
#include "virtio_mmio.h"

#include "echo.h"
#include "ioapic.h"
#include "layout.h"

_Noreturn void guest_main(uint64_t base, uint64_t unused1, uint64_t unused2)
{
	struct virtio dev;

	(void)unused1;
	(void)unused2;
	if (!virtio_mmio_find(&dev, base))
		echo_end(ECHO_NOT_FOUND);
	if (echo->mode == ECHO_IRQ)
		ioapic_route(echo->gsi, GUEST_VECTOR, 0);
	echo_run(&dev);
	for (;;)
		guest_pause();
}
