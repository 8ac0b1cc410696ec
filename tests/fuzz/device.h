/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ready device and a guest that drives it, without VM, transport or threads: the loop is turned by hand.
 * Device and driver are made for each input; the loop and the eventfds are made once.
 *
 *     struct vdb_virtio_config at = fuzz_device_at(&in);
 *     make the device with it
 *     fuzz_device_open(&d, device, queues, &in);     negotiated, driven
 *     fuzz_device_step(&d, kind, &in) ...            chains, kicks, turns, registers
 *     fuzz_device_close(&d);                         reset and destroyed: nothing is in flight any more
 *
 * Each queue has 16 descriptors. Checked: what was reset comes to rest within so many turns, no queue uses
 * more buffers than it was given, nothing is left in flight.
 */
#ifndef FUZZ_DEVICE_H
#define FUZZ_DEVICE_H

#include <vdb/vdb.h>

#include "ram.h"
#include "virtio/device.h"

#define DEVICE_QUEUES 8u
#define DEVICE_ENTRIES 16u
#define DEVICE_DATA 0x4000u /* memory from here on is free */
#define DEVICE_STEPS 96

struct device_queue {
	uint16_t next; /* descriptor */
	bool wrap;     /* packed */
	uint16_t shown;
	uint32_t given; /* buffers */
	bool wild;      /* the program wrote into its rings itself */
};

struct device {
	struct vdb_virtio *virtio;
	uint32_t queues;
	uint64_t features;
	struct device_queue queue[DEVICE_QUEUES];
	uint32_t interrupts, config_interrupts;
	uint32_t gone, paused;
};

struct vdb_loop *fuzz_loop(void);
/* One turn that does not wait. */
void fuzz_turn(void);
/* Until nothing is due any more; that it never is fails. */
void fuzz_settle(void);

struct vdb_virtio_config fuzz_device_at(struct fuzz_input *in);
void fuzz_device_open(struct device *d, struct vdb_virtio *virtio, struct fuzz_input *in);
/* The same, but nothing has been said to it, and its rings are whatever they are. */
void fuzz_device_adopt(struct device *d, struct vdb_virtio *virtio);
void fuzz_device_close(struct device *d);
/* Quiesced, and saved: bytes. */
size_t fuzz_device_save(struct device *d, void *state, size_t room);

/* ---- The guest ---- */

struct device_buf {
	vdb_gpa_t gpa;
	uint32_t len;
	bool write;
};

/* A chain of n buffers, available and kicked. */
void fuzz_device_chain(struct device *d, uint32_t queue, const struct device_buf *bufs, uint32_t n);
void fuzz_device_kick(struct device *d, uint32_t queue);

/* Steps that all devices have: kind 0..15, of which 0 is a chain of anything, 1 to 4 are turns. */
void fuzz_device_step(struct device *d, uint8_t kind, struct fuzz_input *in);

#endif
