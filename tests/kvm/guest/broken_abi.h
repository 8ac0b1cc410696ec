/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest does that breaks its ring (broken.c), beyond echo_abi.h: struct broken_params lies behind
 * struct echo_params. It has two echo devices. Round after round it breaks the first one's queue 0, is told
 * by an interrupt and the status, resets it and works with it again; the second one serves all the time.
 */
#ifndef TESTS_BROKEN_ABI_H
#define TESTS_BROKEN_ABI_H

#include "echo_abi.h"

#define BROKEN_PARAMS (ECHO_PARAMS + 0x1000u)

struct broken_params {
	uint64_t mmio[2]; /* registers of the two; 0: they are on the PCI bus, in these slots: */
	uint32_t slot[2];
	uint32_t msix; /* PCI: configuration interrupts by a message, else by the pin `gsi` */
	/* The guest's: */
	uint32_t told;    /* interrupts that came with DEVICE_NEEDS_RESET */
	uint64_t between; /* requests that the second device served while the first one was broken */
};

/* Statuses, besides echo_abi.h's. */
enum {
	BROKEN_NO_CAUSE = 16,   /* an interrupt, but not for the configuration */
	BROKEN_WRONG_BITS = 17, /* the status, while it was broken */
};

#endif
