/* SPDX-License-Identifier: Apache-2.0 */
/* A device that may keep its requests: for transports, which care for resets while something is in flight. */
#ifndef FUZZ_ECHO_H
#define FUZZ_ECHO_H

#include <vdb/vdb.h>

#include "input.h"

#define ECHO_QUEUES 3u
#define ECHO_HELD 256u

struct echo {
	struct vdb_backend *backend;
	struct vdb_virtio *device;
	struct vdb_req *held[ECHO_HELD];
	uint32_t count;
	bool hold;
	uint8_t config[20];
	uint32_t gone;
};

/* Its features besides the ring's are bits 5 and 6; it does not agree to 6. */
void fuzz_echo_open(struct echo *echo, struct vdb_mem *mem, struct vdb_loop *loop, uint32_t queue_size);
/* Ends what it holds. */
void fuzz_echo_release(struct echo *echo);
/* Its transport must be gone. */
void fuzz_echo_close(struct echo *echo);

#endif
