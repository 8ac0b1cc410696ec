/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest without a VM: memory, and rings in it whose driver is vdb/guest.h,
 * called by the test. The doorbell is an eventfd and a counter. What should not
 * fail and does aborts the program.
 *
 *     struct mock_ram ram;      struct mock m;
 *     mock_ram_open(&ram, 0, 1 << 20);
 *     mock_open(&m, &ram, &(struct vdb_ring_config){.gpa = 0x1000, .sq_entries = 8});
 *     ... m.queue to a lane with m.kick and m.call, or mock_attach() and mock_serve() ...
 *     mock_submit(&m, VDB_OP_READ, gpa, len, offset, user_data);
 */
#ifndef MOCK_H
#define MOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <vdb/mem.h>
#include <vdb/ring.h>

struct vdb_guest;
void mock_bell(struct vdb_guest *g);
#ifndef VDB_GUEST_RING
#define VDB_GUEST_RING(g) mock_bell(g)
#endif
#include <vdb/guest.h>

/* One region of guest memory. Before and behind it lies what nobody may touch, in the host too. */
struct mock_ram {
	struct vdb_mem *mem;
	vdb_gpa_t gpa;
	uint8_t *host;
	uint64_t len;
};

#define MOCK_GUARD (1u << 20) /* bytes, on each side */

void mock_ram_open(struct mock_ram *ram, vdb_gpa_t gpa, uint64_t len);
/* The same, of a memfd: other processes may have it. */
void mock_ram_open_shared(struct mock_ram *ram, vdb_gpa_t gpa, uint64_t len);
void mock_ram_close(struct mock_ram *ram);
/* Where the guest has `gpa` mapped. */
void *mock_at(const struct mock_ram *ram, vdb_gpa_t gpa);

struct mock {
	struct mock_ram *ram;
	struct vdb_ring_config config;
	struct vdb_page_ring desc; /* as a doorbell page would describe it */
	struct vdb_queue *queue;   /* set it to NULL when a lane takes it */
	struct vdb_guest g;
	int kick;       /* eventfd, written by the bell */
	int call;       /* eventfd, for whom interrupts */
	uint64_t bells; /* atomic */
	uint64_t interrupts;
	uint32_t inflight; /* mock_take() without mock_done() */
};

/* `config`: only gpa and sq_entries must be set. The guest is initialized, not reset. */
void mock_open(struct mock *m, struct mock_ram *ram, const struct vdb_ring_config *config);
void mock_close(struct mock *m);
/* Forgets all that the guest knew of its ring, as after a reboot. Memory stays as it is. */
void mock_reboot(struct mock *m);
/* Asks for all features and drives the handshake until ready; someone else serves the ring. */
void mock_wait_ready(struct mock *m, uint64_t features);
/* Prepares one request. False: no slot is free. */
bool mock_prepare(struct mock *m, uint8_t op, vdb_gpa_t addr, uint32_t len, uint64_t offset,
                  uint64_t user_data);
/* The same, published. */
bool mock_submit(struct mock *m, uint8_t op, vdb_gpa_t addr, uint32_t len, uint64_t offset,
                 uint64_t user_data);
/* Takes one completion and checks it against these. */
void mock_expect(struct mock *m, uint64_t user_data, int32_t result);

/* ---- A device on the test's thread, for rings that no lane has ---- */

#include "queue/queue.h"

#define MOCK_MAX_SEGS 1024

void mock_attach(struct mock *m);
/* Attaches, asks for `features` and serves until ready. */
void mock_connect(struct mock *m, uint64_t features);
/* One visit: handshakes, then every request is completed with its error or its length. */
uint32_t mock_serve(struct mock *m);
/* ready() and publish() only; true if requests may be popped. */
bool mock_ready(struct mock *m);
/* Pops one without completing it. */
bool mock_take(struct mock *m, struct vdb__elem *elem, struct vdb__seg *segs);
/* Completes one that was taken. */
void mock_done(struct mock *m, uint64_t cookie, int64_t result);
/* Publishes and counts; true if the guest is to be interrupted. */
bool mock_publish(struct mock *m);
/* Both sides of an idle, ready ring go on from `index`, as if that many had passed. */
void mock_jump(struct mock *m, uint32_t index);

#endif
