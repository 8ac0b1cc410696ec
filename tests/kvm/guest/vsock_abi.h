/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test asks of the guest that drives virtio-vsock (vsock.c), and what that tells. It listens on all
 * ports and sends back what it gets, within the credit that it has, until so many connections have ended;
 * then it reports a status. On one of them, of type SEQPACKET, messages come back as they came.
 */
#ifndef TESTS_VSOCK_ABI_H
#define TESTS_VSOCK_ABI_H

#include <stdint.h>

#define VSOCK_PARAMS 0x200000u
#define VSOCK_RINGS 0x210000u
#define VSOCK_RING 0x4000u
#define VSOCK_MEMORY 0x1000000u /* its own: buffers, and what connections keep */
#define VSOCK_MEMORY_BYTES 0x2000000u
#define VSOCK_PORT 0x10u /* reports, as kvm_fixture.h has it */

#define VSOCK_CONNECTIONS 2048u /* at once, by the host's port modulo this */

struct vsock_params {
	uint64_t features;
	uint32_t window;  /* bytes that it lets be sent to it on one connection; 2^n */
	uint32_t ends;    /* connections after which it is done */
	uint32_t connect; /* port of the host that it connects to by itself; 0: none */
	/* The guest's: */
	uint32_t opened, closed, resets; /* closed: those that were reset before their end, too */
	uint64_t cid, bytes;
	uint32_t wrong;
};

enum {
	VSOCK_OK = 0x600d,
	VSOCK_NOT_FOUND = 1,
	VSOCK_REFUSED = 2,
	VSOCK_NO_ROOM = 3,
	VSOCK_BEYOND_CREDIT = 4, /* the host sent more than it might */
	VSOCK_BAD_PACKET = 5,    /* wrong: its operation */
};

#endif
