/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doorbells: addresses that a guest writes to, and goes on; the write arrives
 * as an eventfd (KVM ioeventfd), which a lane takes as its kick.
 *
 * Three kinds: a self-describing page (read-only memory that tells the guest
 * everything, any 32-bit store to its first word rings), an unbacked MMIO page,
 * a PIO port. With several rings behind one doorbell the value written picks
 * the ring (datamatch).
 */
#ifndef VDB_DOORBELL_H
#define VDB_DOORBELL_H

#include <vdb/abi.h>
#include <vdb/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_doorbell;

enum {
	VDB_DOORBELL_PAGE = 0, /* self-describing */
	VDB_DOORBELL_MMIO = 1, /* unbacked page; rings on any width if it has one ring */
	VDB_DOORBELL_PIO = 2,  /* 32-bit port */
};

#define VDB_DOORBELL_MAX_RINGS 63u

/* One ring behind the doorbell: what its page tells the guest. */
struct vdb_doorbell_ring {
	vdb_gpa_t ring_gpa;
	uint32_t sq_entries;
	uint32_t cq_entries;
	uint64_t features; /* offered */
	uint32_t irq;
	uint32_t ring_id;
	uint32_t match; /* value that rings this ring, if there are several */
	uint32_t reserved;
};

struct vdb_doorbell_config {
	uint32_t size;
	uint32_t kind;                         /* VDB_DOORBELL_* */
	vdb_gpa_t addr;                        /* page-aligned gpa or port; VDB_GPA_ANY = the next free one */
	const struct vdb_doorbell_ring *rings; /* copied */
	uint32_t ring_count;                   /* 1..63 */
	uint32_t describe; /* MMIO, PIO: 1 = also a self-describing page that names this bell */
	vdb_gpa_t page;    /* that page's gpa, or VDB_GPA_ANY (0 = VDB_GPA_ANY) */
};

/*
 * Registers the doorbell. The page's content is a pure function of the config.
 * -EEXIST: over RAM, a bus range, or another doorbell; -ENOSPC: the VM's window is
 * full, or KVM's bus; -EMFILE: RLIMIT_NOFILE, with the number in the message;
 * -EINVAL: misaligned, outside the space, rings or matches that collide. Control thread.
 */
VDB_MUST_CHECK int vdb_doorbell_create(struct vdb_vm *vm, const struct vdb_doorbell_config *config,
                                       struct vdb_doorbell **out);

/* Leaves nothing in the kernel and frees the addresses. NULL is fine. Control thread. KVM waits
 * milliseconds for each ring; not in a VM that has stopped, see vdb_bell_destroy(). */
void vdb_doorbell_destroy(struct vdb_doorbell *doorbell);

/* The eventfd of ring `index`, for vdb_lane_config.kick_fd; the doorbell's own.
 * -1 if there is no such ring. */
int vdb_doorbell_fd(const struct vdb_doorbell *doorbell, uint32_t index);

/* Where it rings: gpa or port. */
uint64_t vdb_doorbell_addr(const struct vdb_doorbell *doorbell);

/* The self-describing page's gpa, VDB_GPA_ANY if it has none. */
vdb_gpa_t vdb_doorbell_page(const struct vdb_doorbell *doorbell);

#ifdef __cplusplus
}
#endif
#endif
