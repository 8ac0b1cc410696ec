/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-pmem (virtio 1.2, 5.19): a region of guest memory that the guest uses as a disk, without a copy and
 * without a page cache of its own. Many VMs that map one image share its pages on the host.
 *
 * The region is the embedder's, of whatever kind (vdb/mem.h):
 *     FD, shared            what the guest writes is in the file; its flush is an fdatasync()
 *     FD, READONLY          writes of the guest's come to nobody (an MMIO exit each)
 *     FD, PRIVATE           what the guest writes is gone with the VM
 *     any without a file    memory that is gone with the VM
 * Add it after vdb_boot_load(), which takes what is there for the guest's RAM; it is not
 * VDB_REGION_DISCARDABLE, and no balloon ever takes pages of a file.
 */
#ifndef VDB_PMEM_H
#define VDB_PMEM_H

#include <vdb/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VDB_PMEM_ALIGN (2u << 20) /* of address and length: Linux takes no other */

struct vdb_pmem_config {
	uint32_t size;
	uint32_t reserved; /* 0 */
	/* mem, loop or loops, tenants, limit, flags, queue_size, broken; the rest 0. */
	const struct vdb_virtio_config *at;
	/* A region of at->mem starts here: all of it is the device's. Remove it after the device is
	 * destroyed. A multiple of VDB_PMEM_ALIGN, and so is its length. */
	vdb_gpa_t gpa;
};

/* config is copied. -ENOENT: no region starts there; -EINVAL: it is not aligned, or a field cannot be;
 * -ENOMEM; or what vdb_backend_file() says of the file behind it. Any thread. */
VDB_MUST_CHECK int vdb_pmem_create(const struct vdb_pmem_config *config, struct vdb_virtio **out);

#ifdef __cplusplus
}
#endif
#endif
