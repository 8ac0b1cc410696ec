/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bare bell: one address that rings one eventfd (KVM ioeventfd), without page, ring or
 * description. What doorbells (vdb/doorbell.h) and notify registers are made of. The address
 * may lie in a range that a bus claims: the bell goes first, and accesses it does not match (another
 * width, another value) reach the bus.
 */
#ifndef VDB_BELL_H
#define VDB_BELL_H

#include <vdb/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_bell;

#define VDB_BELL_PORT (1u << 0)  /* addr is a port, else guest-physical */
#define VDB_BELL_MATCH (1u << 1) /* rings only when `match` is written; len 1, 2, 4 or 8 */
#define VDB_BELL_FD (1u << 2)    /* rings `fd` of the caller's, as another bell may; it outlives the bell */

struct vdb_bell_config {
	uint32_t size;
	uint32_t flags; /* VDB_BELL_* */
	uint64_t addr;  /* VDB_GPA_ANY: silent until vdb_bell_move() */
	uint64_t match;
	uint32_t len; /* bytes of the write: 1, 2, 4, 8 (not PIO); 0 = any (2 where KVM has no such) */
	int32_t fd;   /* with VDB_BELL_FD, else 0 */
};

/* -EEXIST: another bell is there; -ENOSPC: KVM's bus is full; -EMFILE. Any thread but a loop's:
 * waits for RCU on older kernels. */
VDB_MUST_CHECK int vdb_bell_create(struct vdb_vm *vm, const struct vdb_bell_config *config,
                                   struct vdb_bell **out);

/* Leaves nothing in the kernel, for which KVM waits milliseconds. But in a VM that vdb_vm_stop() has stopped
 * and whose vCPUs have left, the kernel's part goes with the VM, which takes no time; its
 * place there is not free again. NULL is fine. Any thread but a loop's. */
void vdb_bell_destroy(struct vdb_bell *bell);

/* From now on at `addr` (VDB_GPA_ANY: nowhere), with the same eventfd. On failure it is silent
 * and -errno is returned. One thread at a time per bell; any but a loop's. */
VDB_MUST_CHECK int vdb_bell_move(struct vdb_bell *bell, uint64_t addr);

/* The bell's own, or the one it was given. Any thread. */
int vdb_bell_fd(const struct vdb_bell *bell);

#ifdef __cplusplus
}
#endif
#endif
