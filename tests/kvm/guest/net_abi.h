/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test asks of the guest that drives virtio-net (net.h), and what that tells. The struct lies at
 * NET_PARAMS; the guest ends by reporting a status.
 *
 * It sends frames of all lengths, each byte of which follows from its number, and expects them back in order,
 * turned over (net_frames.h).
 */
#ifndef TESTS_NET_ABI_H
#define TESTS_NET_ABI_H

#include <stdint.h>

#define NET_PARAMS 0x200000u
#define NET_RINGS 0x210000u   /* 32 KiB */
#define NET_WHOLE 0x220000u   /* a frame that came, put together */
#define NET_BUFFERS 0x240000u /* to send from, and behind them to receive into */
#define NET_VSOCK 0x340000u   /* queues and buffers of vsock */
#define NET_QUEUE 64u
#define NET_TX_STEP 0x1000u
#define NET_PORT 0x10u /* reports, as kvm_fixture.h has it */

struct net_params {
	uint64_t features;
	uint32_t irq; /* by interrupt, `gsi` through the IOAPIC or, over pci, 0 = MSI-X; start in kernel mode.
	                 Else polling */
	uint32_t gsi;
	uint32_t frames; /* in all */
	uint32_t depth;  /* at a time */
	uint32_t longest;
	uint32_t rx_step; /* bytes of a receive buffer */
	uint32_t idle;    /* none of this: reports NET_IDLE, and sleeps for ever; start in kernel mode */
	uint32_t vsock;   /* then: the registers of such a device (mmio), which is driven, too; 0 = none */
	/* The guest's: */
	uint64_t negotiated;
	uint64_t done;  /* frames that came back right */
	uint64_t bytes; /* of them */
	uint64_t irqs;
	uint64_t number, expected; /* of what came back wrong */
	uint32_t len;
};

enum {
	NET_OK = 0x600d,
	NET_IDLE = 0x1d1e,
	NET_NOT_FOUND = 1,
	NET_REFUSED = 2,
	NET_DATA_WRONG = 3, /* see number, expected, len */
	NET_USED_WRONG = 4, /* the device used buffers as no device does */
};

#endif
