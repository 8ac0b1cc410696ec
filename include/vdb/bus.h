/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bus: address ranges that do not overlap, each with its handler. A VM has
 * one for MMIO and one for port I/O; exits are dispatched to them.
 */
#ifndef VDB_BUS_H
#define VDB_BUS_H

#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_bus;
struct vdb_vcpu;

/* One access of the guest: 1, 2, 4 or 8 bytes, never beyond the range's end. */
struct vdb_bus_access {
	uint64_t offset; /* from the start of the range */
	uint32_t len;    /* bytes */
	uint32_t reserved;
	uint8_t *data;         /* read: fill `len` bytes (zeroes on entry); write: take them */
	struct vdb_vcpu *vcpu; /* who, NULL from vdb_bus_read/write; for vdb_vcpu_wait() */
};

/* Called on the vCPU's thread, by several vCPUs at once. NULL read: zeroes;
 * NULL write: ignored. */
struct vdb_bus_ops {
	uint32_t size;
	uint32_t reserved;
	void (*read)(void *ctx, struct vdb_bus_access *access);
	void (*write)(void *ctx, struct vdb_bus_access *access);
};

/* A bus without ranges. -ENOMEM. */
VDB_MUST_CHECK int vdb_bus_create(struct vdb_bus **out);

/* Frees the bus and its ranges. No handler may be running. NULL is fine. */
void vdb_bus_destroy(struct vdb_bus *bus);

/* Claims [base, base+len). `name` (copied) appears in messages. -EEXIST: overlaps a
 * range, or, on a VM's MMIO bus, memory that the guest may write; the message names it.
 * (Writes to read-only memory are accesses of the bus: a flash device claims them.)
 * -EINVAL: len 0 or wraps, or, on a VM's PIO bus, beyond port 0xffff. Any thread. */
VDB_MUST_CHECK int vdb_bus_add(struct vdb_bus *bus, const char *name, uint64_t base, uint64_t len,
                               const struct vdb_bus_ops *ops, void *ctx);

/* Gives up the range that starts at base and waits until no handler runs in it:
 * not from a handler of that range, not from a loop's thread (-EDEADLK). A handler
 * that is in vdb_vcpu_wait() when its VM is paused leaves after the resume, however
 * early its gate opens: whoever is to resume the VM must not remove before. Handlers
 * may add and remove other ranges, but two that wait for each other wait for ever.
 * -ENOENT: no range starts there. */
VDB_MUST_CHECK int vdb_bus_remove(struct vdb_bus *bus, uint64_t base);

/* Performs an access as the guest would. An unclaimed or straddling access reads
 * as all-ones and writes nowhere; it returns 0, a claimed one 1. Any thread. */
int vdb_bus_read(struct vdb_bus *bus, struct vdb_vcpu *vcpu, uint64_t addr, void *data, uint32_t len);
int vdb_bus_write(struct vdb_bus *bus, struct vdb_vcpu *vcpu, uint64_t addr, const void *data, uint32_t len);

#ifdef __cplusplus
}
#endif
#endif
