/* SPDX-License-Identifier: Apache-2.0 */
/* --vsock: sockets between programs in the guest and programs on the host. */
#ifndef TINYVMM_VSOCK_H
#define TINYVMM_VSOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "limits.h"

struct device;
struct run;
struct run_options;
struct vdb_limit;

struct vsock {
	bool given;
	bool vhost; /* by the kernel: no path */
	bool seqpacket;
	uint64_t cid;
	char path[256];       /* longer than a socket's may be, which the library says */
	uint32_t connections; /* 0: the library's default */
	struct rates rates;
	struct vdb_limit *limit; /* NULL: none */
};

/* Takes the text behind --vsock. 0, or -1 after a complaint. */
int vsock_parse(struct vsock *vsock, const char *text);

/* As devices.c makes devices. */
uint32_t vsock_count(const struct run_options *options);
int vsock_create(struct run *run, struct device *device, uint32_t index);

#endif
