/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between a virtio device and its transport. The device keeps what virtio 1.2, 2
 * describes (status, features, config generation, queues, interrupt causes);
 * the transport is the registers by which a guest reaches it, its doorbells and its
 * interrupts.
 *
 * Every function here may be called by any vCPU's thread: each takes the device's lock. What comes from
 * the guest (values, indices) is checked here, not by the transports.
 */
#ifndef VDB_VIRTIO_DEVICE_H
#define VDB_VIRTIO_DEVICE_H

#include <stdbool.h>
#include <vdb/gate.h>
#include <vdb/virtio.h>

#include "queue/chain.h"

#define VDB__VIRTIO_QUEUE_SIZE 256u /* where config.queue_size is 0 */

struct vdb__remote;

/* vdb_virtio_create() for devices that read their chains in their own way. */
int vdb__virtio_create(const struct vdb_virtio_ops *ops, const struct vdb__framing *framing, void *ctx,
                       const struct vdb_virtio_config *config, struct vdb_virtio **out);

/* The same where some or all queues are served elsewhere, which ops->backend is not asked for: remote.h. */
int vdb__virtio_create_remote(const struct vdb_virtio_ops *ops, const struct vdb__framing *framing,
                              struct vdb__remote *remote, void *ctx, const struct vdb_virtio_config *config,
                              struct vdb_virtio **out);

/* The ctx it was created with, if its ops are `ops`' device_id and name; else NULL with a message. */
void *vdb__virtio_ctx(struct vdb_virtio *device, const struct vdb_virtio_ops *ops);

/* What a transport does for its device. The interrupts are raised without the device's lock, on the
 * loop's thread or a vCPU's; they must not wait. */
struct vdb__transport_ops {
	void (*queue_interrupt)(void *arg, uint32_t queue);
	void (*config_interrupt)(void *arg);
	/* eventfd that the queue's doorbell rings; stays the transport's, lives as long as it. */
	int (*kick_fd)(void *arg, uint32_t queue);
	/* The device has been reset, its queues have stopped: pending causes are forgotten. Under the
	 * device's lock, before status reads 0. NULL: nothing to do. */
	void (*reset)(void *arg);
};

/* -EBUSY: it has one. detach resets the device first and waits: not on a loop's thread. */
int vdb__virtio_attach(struct vdb_virtio *device, const struct vdb__transport_ops *ops, void *arg);
void vdb__virtio_detach(struct vdb_virtio *device);

/* While it is held no queue runs: as soon as what is in flight has completed, nothing of the guest's is read
 * or written (PCI: bus mastering is off). Kicks meanwhile are not lost. Never waits. attach: not held. */
void vdb__virtio_hold(struct vdb_virtio *device, bool hold);

/* What it was created with; NULL: none. */
struct vdb__remote *vdb__virtio_remote(const struct vdb_virtio *device);
uint32_t vdb__virtio_id(const struct vdb_virtio *device);
const char *vdb__virtio_name(const struct vdb_virtio *device);
uint32_t vdb__virtio_queues(const struct vdb_virtio *device);

/* ---- Features and status ---- */

/* 32 bits of what is offered, or was accepted; 0 for any select above 1. */
uint32_t vdb__virtio_device_features(struct vdb_virtio *device, uint32_t select);
uint32_t vdb__virtio_driver_features(struct vdb_virtio *device, uint32_t select);
/* True once FEATURES_OK is set with this one. */
bool vdb__virtio_accepted(struct vdb_virtio *device, uint32_t feature);
/* Ignored once FEATURES_OK is set. */
void vdb__virtio_accept(struct vdb_virtio *device, uint32_t select, uint32_t features);

/* During a reset: not yet 0. */
uint8_t vdb__virtio_status(struct vdb_virtio *device);

/*
 * The driver writes `status`. Bits that may not be set are not (2.1.2, 3.1.1). 0 starts a reset: queues stop,
 * and vdb__virtio_status() reads 0 only when no request can write guest memory any more. Then, and after
 * a queue's reset, `*wait` (may be NULL) is set to a gate that opens at that moment, with a reference for the
 * caller; NULL if there is nothing to wait for.
 */
void vdb__virtio_set_status(struct vdb_virtio *device, uint8_t status, struct vdb_gate **wait);

/* ---- Config space; accesses outside read as zeroes and write nowhere ---- */

void vdb__virtio_config_read(struct vdb_virtio *device, uint64_t offset, void *data, uint32_t len);
void vdb__virtio_config_write(struct vdb_virtio *device, uint64_t offset, const void *data, uint32_t len);
uint8_t vdb__virtio_generation(struct vdb_virtio *device);

/* ---- Queues. An index that does not exist reads 0 everywhere and ignores writes. ---- */

enum vdb__queue_area {
	VDB__QUEUE_DESC,
	VDB__QUEUE_DRIVER,
	VDB__QUEUE_DEVICE,
};

uint16_t vdb__virtio_queue_max(struct vdb_virtio *device, uint32_t queue);
uint16_t vdb__virtio_queue_size(struct vdb_virtio *device, uint32_t queue);
uint64_t vdb__virtio_queue_addr(struct vdb_virtio *device, uint32_t queue, enum vdb__queue_area area);
bool vdb__virtio_queue_enabled(struct vdb_virtio *device, uint32_t queue);
/* Ignored while the queue is enabled, and once the device is broken. `half`: 0 low, 1 high 32 bits. */
void vdb__virtio_queue_set_size(struct vdb_virtio *device, uint32_t queue, uint16_t size);
void vdb__virtio_queue_set_addr(struct vdb_virtio *device, uint32_t queue, enum vdb__queue_area area,
                                uint32_t half, uint32_t value);
/* Stays disabled if what the driver set up cannot be (size, alignment, memory). */
void vdb__virtio_queue_enable(struct vdb_virtio *device, uint32_t queue);
/* RING_RESET, and mmio's QueueReady = 0: *wait as above. in_reset: true until it has stopped. */
void vdb__virtio_queue_reset(struct vdb_virtio *device, uint32_t queue, struct vdb_gate **wait);
bool vdb__virtio_queue_in_reset(struct vdb_virtio *device, uint32_t queue);

#endif
