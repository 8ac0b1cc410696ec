/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses that doorbells are carved from: a run of self-describing pages
 * (one read-only memslot, made before the irqchip, so that a doorbell in it
 * costs no change of memslots), a run of unbacked pages behind it, and a run of
 * ports. Control thread.
 */
#ifndef VDB_KVM_WINDOW_H
#define VDB_KVM_WINDOW_H

#include <stdbool.h>
#include <stdint.h>
#include <vdb/vm.h>

/* Equal pieces of a space, each free or taken. */
struct vdb__carve {
	uint64_t base;
	uint32_t unit, count;
	uint64_t *taken; /* bitmap */
};

struct vdb__window {
	struct vdb__carve pages, mmio, ports;
	unsigned char *host; /* what the guest reads in the self-describing pages; NULL: there are none */
};

int vdb__window_init(struct vdb_vm *vm);
void vdb__window_drop(struct vdb_vm *vm);

/* Host memory of a page of the window, NULL if gpa is not the start of one. */
unsigned char *vdb__window_page(const struct vdb__window *window, vdb_gpa_t gpa);

/* The first free piece at or after `from` (an index) is taken: its index, or -1. */
int64_t vdb__carve_next(struct vdb__carve *carve, uint32_t from);

/* Takes or gives back the piece that `addr` lies in. False: it was taken already.
 * Addresses outside are nobody's: true. */
bool vdb__carve_take(struct vdb__carve *carve, uint64_t addr);
void vdb__carve_give(struct vdb__carve *carve, uint64_t addr);

/* True if [addr, addr+len) touches the run. */
bool vdb__carve_touches(const struct vdb__carve *carve, uint64_t addr, uint64_t len);

#endif
