/* SPDX-License-Identifier: Apache-2.0 */
/* Doorbells, as the rest of the layer sees them. */
#ifndef VDB_KVM_DOORBELL_H
#define VDB_KVM_DOORBELL_H

#include <vdb/doorbell.h>

/* -EEXIST if memory at [gpa, gpa+len) would cover a doorbell or the window of pages. */
int vdb__doorbells_clear_of(struct vdb_vm *vm, vdb_gpa_t gpa, uint64_t len);

#endif
