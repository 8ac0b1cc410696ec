/* SPDX-License-Identifier: Apache-2.0 */
/* What the boot guest tries on a virtio device that it has found. */
#ifndef TESTS_DEMO_GUEST_CHECKS_H
#define TESTS_DEMO_GUEST_CHECKS_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio.h"

/* Ends the guest, after a line on the serial port. */
_Noreturn void give_up(const char *what);

/* How the guest waits for completions, and what it accepts if it is offered. */
struct manner {
	bool polls;
	uint64_t features;
	uint16_t vector;  /* of each queue, for MSI-X */
	uint32_t balloon; /* pages that are to be given at the end */
	bool asked;       /* for statistics, before it */
};

/* Writes the disk's first sectors, flushes, reads them back and compares; on a read-only one it reads,
 * and sees a write fail. Says what it did on the serial port. */
void check_block(struct virtio *dev, const struct manner *manner);

/* Takes random bytes twice: they differ. */
void check_rng(struct virtio *dev, const struct manner *manner);

/* Gives and takes back pages as the target says, until it has given as many as it is to in the end:
 * check_balloon.c. */
void check_balloon(struct virtio *dev, const struct manner *manner);

#endif
