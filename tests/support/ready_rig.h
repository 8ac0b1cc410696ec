/* SPDX-License-Identifier: Apache-2.0 */
/* The library's own devices in the place of the rig's echo device. */
#ifndef READY_RIG_H
#define READY_RIG_H

#include "virtio_rig.h"

/* A rig with loop and memory; what a ready device's `at` is then. Make the device with that, then
 * adopt it: it is attached. virtio_rig_close() takes it down. */
static inline struct vdb_virtio_config ready_rig_open(struct virtio_rig *rig)
{
	virtio_rig_make(rig, NULL);
	vdb_virtio_destroy(rig->device, NULL, NULL);
	rig->device = NULL;
	return (struct vdb_virtio_config){
	        .size = sizeof(struct vdb_virtio_config), .mem = rig->ram.mem, .loop = rig->loop};
}

static inline void ready_rig_adopt(struct virtio_rig *rig, struct vdb_virtio *device)
{
	rig->device = device;
	virtio_rig_attach(rig);
}

/* Offset `at` in what queue `queue` has of the memory. */
static inline vdb_gpa_t ready_rig_data(uint32_t queue, uint32_t at)
{
	return (vdb_gpa_t)queue * VRIG_STRIDE + VRIG_DATA + at;
}

/* Waits for the next use: its cookie, and its length. */
static inline uint64_t ready_rig_reap(struct virtio_rig *rig, uint32_t queue, uint32_t *len)
{
	uint32_t interrupts = __atomic_load_n(&rig->interrupts[queue], __ATOMIC_ACQUIRE);
	uint64_t cookie = 0;

	while (!virtq_reap(&rig->driver[queue], &cookie, len)) {
		if (!virtq_arm(&rig->driver[queue]))
			virtio_rig_wait(&rig->interrupts[queue], interrupts + 1);
		interrupts = __atomic_load_n(&rig->interrupts[queue], __ATOMIC_ACQUIRE);
	}
	return cookie;
}

#endif
