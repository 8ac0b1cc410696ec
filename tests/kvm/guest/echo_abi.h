/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test asks of the guest that drives the echo device (echo.h), and what that tells. The
 * struct lies at ECHO_PARAMS; the guest ends by reporting a status.
 */
#ifndef TESTS_ECHO_ABI_H
#define TESTS_ECHO_ABI_H

#include <stdint.h>

#define ECHO_PARAMS 0x200000u
#define ECHO_RINGS 0x210000u   /* 64 KiB each life */
#define ECHO_BUFFERS 0x280000u /* likewise */
#define ECHO_AREAS 4u          /* lives that have memory of their own, in turn */
#define ECHO_AREA 0x10000u
#define ECHO_DEVICE 42u
#define ECHO_PORT 0x10u /* reports, as kvm_fixture.h has it */

enum {
	ECHO_POLL = 0,
	ECHO_IRQ = 1,          /* by interrupt, `gsi` through the IOAPIC; start in kernel mode */
	ECHO_RESETS = 2,       /* `rounds` lives that end with requests in flight */
	ECHO_QUEUE_RESETS = 3, /* the same with RING_RESET of queue 0, while queue 1 goes on */
};

struct echo_params {
	uint32_t mode;
	uint32_t size;   /* of a queue */
	uint32_t rounds; /* batches, or lives */
	uint32_t batch;  /* requests at once */
	uint64_t features;
	uint32_t gsi;
	uint32_t quiet; /* RESETS: no request of these lives is waited for; 1: nor do they end, until it is 2
	                 */
	uint32_t spin;  /* RESETS: turns to watch the old buffers after each reset */
	/* The guest's: */
	uint64_t negotiated;
	uint64_t done;    /* requests that came back right */
	uint64_t irqs;    /* taken */
	uint64_t touched; /* old buffers and rings that changed after a reset */
	uint32_t life;    /* atomic: lives begun */
};

/* Statuses. */
enum {
	ECHO_OK = 0x600d,
	ECHO_NOT_FOUND = 1,
	ECHO_REFUSED = 2, /* features, queue or DRIVER_OK */
	ECHO_WRONG = 3,   /* what came back */
	ECHO_TOUCHED = 4, /* see `touched` */
	ECHO_NO_ROOM = 5, /* a chain did not fit */
};

#endif
