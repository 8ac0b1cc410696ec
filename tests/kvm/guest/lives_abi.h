/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests/stress/lives asks of its guest (lives.c), and what that tells. The struct lies at LIVES_PARAMS.
 *
 * The guest drives what there is, polling, with requests in flight all the time, and resets each device now
 * and then without waiting for them. It goes on until it is told to stop, or something is not as it should
 * be.
 */
#ifndef TESTS_LIVES_ABI_H
#define TESTS_LIVES_ABI_H

#include <stdint.h>

#define LIVES_PARAMS 0x200000u
#define LIVES_RING 0x208000u /* the native ring */
#define LIVES_ENTRIES 32u    /* of it */
#define LIVES_DISK (1u << 20)
#define LIVES_PIECE 4096u /* bytes of a request */

/* What a VM may have; bits of the host's choice, too. */
enum {
	LIVES_NATIVE, /* a native ring with a doorbell page */
	LIVES_MMIO,   /* virtio-blk over mmio */
	LIVES_PCI,    /* over pci */
	LIVES_NET,    /* virtio-net over mmio */
	LIVES_VSOCK,  /* over mmio; its driver waits */
	LIVES_KINDS,
};

struct lives_params {
	/* Addresses: the doorbell page, the registers (1 for pci); 0 = it is not there. */
	uint32_t at[LIVES_KINDS];
	uint32_t reset_every; /* completions of a device; 0 = never */
	uint64_t features;    /* of the rings of virtio devices */
	uint32_t stop;        /* set: ends */
	/* The guest's: */
	uint32_t state;
	uint32_t wrong;              /* what goes with it */
	uint32_t resets;             /* of devices */
	uint32_t done[LIVES_KINDS];  /* completions */
	uint32_t under[LIVES_KINDS]; /* in flight when it stopped */
};

enum {
	LIVES_RUNS = 1,
	LIVES_STOPPED = 0x600d,
	LIVES_NOT_FOUND = 2, /* these and the following: `wrong` is the kind */
	LIVES_REFUSED = 3,
	LIVES_BROKEN = 4, /* the native ring: its reason */
	LIVES_RESULT = 5, /* a request failed */
};

#endif
