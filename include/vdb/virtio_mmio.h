/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mmio, version 2 (virtio 1.2, 4.2): registers at a guest-physical address, one
 * interrupt. QueueNotify is a doorbell for each queue: an ioeventfd that matches the
 * queue's number.
 */
#ifndef VDB_VIRTIO_MMIO_H
#define VDB_VIRTIO_MMIO_H

#include <vdb/virtio.h>
#include <vdb/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_virtio_mmio;

#define VDB_VIRTIO_MMIO_BYTES 0x1000u

struct vdb_virtio_mmio_config {
	uint32_t size;
	uint32_t gsi;   /* edge; one device each */
	vdb_gpa_t base; /* of VDB_VIRTIO_MMIO_BYTES, page-aligned, not memory */
};

/*
 * Puts `device`, which stays the caller's, into `vm`. A write of 0 to Status or QueueReady returns
 * to the guest only when nothing can write its memory any more: that vCPU waits, the loop does not.
 * -EEXIST: something is there; -EBUSY: the device has a transport. Control thread.
 */
VDB_MUST_CHECK int vdb_virtio_mmio_create(struct vdb_vm *vm, struct vdb_virtio *device,
                                          const struct vdb_virtio_mmio_config *config,
                                          struct vdb_virtio_mmio **out);

/* Takes it out again: resets the device and waits for its requests, so the loop must run, or have been
 * destroyed before. No vCPU may be running (vdb_vm_stop() first), or the device be in use. NULL is
 * fine. Control thread. */
void vdb_virtio_mmio_destroy(struct vdb_virtio_mmio *mmio);

#ifdef __cplusplus
}
#endif
#endif
