/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device without a VM: an echo device, a transport that only counts, a loop on
 * its own thread, and drivers of its queues. Failures abort the test.
 *
 *     virtio_rig_open(&rig, &(struct vdb_virtio_config){.queues = 2});
 *     virtio_rig_negotiate(&rig, features);
 *     virtio_rig_queue(&rig, 0, 16);                enabled, with a driver
 *     virtio_rig_ok(&rig);
 *     virtio_rig_echo(&rig, 0)                      one request there and back
 *     virtio_rig_close(&rig);
 *
 * Every queue has its part of the memory: rings at its start, data behind them.
 */
#ifndef VIRTIO_RIG_H
#define VIRTIO_RIG_H

#include <check.h>
#include <linux/virtio_config.h>
#include <vdb/vdb.h>

#include "mock.h"
#include "virtio/device.h"
#include "virtio_echo.h"
#include "virtq_driver.h"

#define VRIG_QUEUES 4u      /* of the echo device, if nothing is said; */
#define VRIG_MAX_QUEUES 10u /* of any */
#define VRIG_STRIDE 0x10000u
#define VRIG_DATA 0x8000u /* from a queue's start */
#define VRIG_CONFIG 20u   /* bytes of config space */

#define VRIG_BIT(feature) (1ull << (feature))
#define VRIG_RING_RESET 40
#define VRIG_V1 VRIG_BIT(VIRTIO_F_VERSION_1)
#define VRIG_FEATURE 5 /* the echo device's own; it does without */
#define VRIG_REFUSED 6 /* offered, but negotiate() says no */

/* Makes a device; `at` is complete. */
typedef struct vdb_virtio *virtio_rig_maker(const struct vdb_virtio_config *at, void *arg);

struct virtio_rig {
	struct vdb_loop *loop;
	struct mock_ram ram;
	struct virtio_echo echo;
	struct vdb_virtio *device;
	struct virtq_driver driver[VRIG_MAX_QUEUES];
	bool driven[VRIG_MAX_QUEUES];
	uint8_t config[VRIG_CONFIG];
	struct vdb__remote *remote; /* NULL: none */
	virtio_rig_maker *maker;    /* NULL: it is an echo device of the rig's */
	void *maker_arg;
	/* The transport. */
	int kick[VRIG_MAX_QUEUES];
	uint32_t interrupts[VRIG_MAX_QUEUES], config_interrupts; /* atomic */
	uint32_t forgotten;                                      /* atomic */
	void (*on_config_interrupt)(struct virtio_rig *rig);     /* NULL: only counted */
	/* What the device was asked. */
	uint64_t negotiated;
	uint32_t resets, destroyed, breaks, reason; /* atomic */
	bool no_loop;                               /* it has been destroyed */
};

/* config: what is not given is the rig's. */
void virtio_rig_open(struct virtio_rig *rig, const struct vdb_virtio_config *config);
/* Its queues are served elsewhere, as far as the remote says so; that is the caller's. */
void virtio_rig_open_remote(struct virtio_rig *rig, struct vdb__remote *remote);
/* A device that the test makes, in memory that can be shared. */
void virtio_rig_open_foreign(struct virtio_rig *rig, virtio_rig_maker *make, void *arg);
/* The same in two steps: everything but the transport. */
void virtio_rig_make(struct virtio_rig *rig, const struct vdb_virtio_config *config);
void virtio_rig_attach(struct virtio_rig *rig);
/* Detaches and destroys the device. */
void virtio_rig_unplug(struct virtio_rig *rig);
/* The same with all the rest, and checks that all is gone. */
void virtio_rig_close(struct virtio_rig *rig);
/* Makes another device in the place of the first, which is the caller's now. */
void virtio_rig_renew(struct virtio_rig *rig, const struct vdb_virtio_config *config);
/* Joins and destroys the loop. */
void virtio_rig_end_loop(struct virtio_rig *rig);

uint8_t virtio_rig_status(struct virtio_rig *rig);
void virtio_rig_set(struct virtio_rig *rig, uint8_t status);
/* Writes 0 and waits. */
void virtio_rig_reset(struct virtio_rig *rig);
void virtio_rig_accept(struct virtio_rig *rig, uint64_t features);
/* From reset to FEATURES_OK. */
void virtio_rig_negotiate(struct virtio_rig *rig, uint64_t features);
/* Registers only. */
void virtio_rig_place(struct virtio_rig *rig, uint32_t queue, const struct vdb_virtq_config *config);
/* A driver on fresh rings, registers, enabled. */
void virtio_rig_queue(struct virtio_rig *rig, uint32_t queue, uint32_t entries);
void virtio_rig_forget(struct virtio_rig *rig, uint32_t queue);
void virtio_rig_ok(struct virtio_rig *rig);
/* All of it: `queues` queues of 16. */
void virtio_rig_up(struct virtio_rig *rig, uint64_t features, uint32_t queues);

/* Sends 8 bytes that are `value`, with room for as many; rings. */
void virtio_rig_send(struct virtio_rig *rig, uint32_t queue, uint64_t value);
/* Waits for the next that comes back, and checks it. */
void virtio_rig_receive(struct virtio_rig *rig, uint32_t queue, uint64_t value);
void virtio_rig_echo(struct virtio_rig *rig, uint32_t queue);

/* Lets go of everything held, and holds no more. */
void virtio_rig_release(struct virtio_rig *rig);
void virtio_rig_wait(const uint32_t *word, uint32_t value);
void virtio_rig_wait_status(struct virtio_rig *rig, uint8_t bits);

#endif
