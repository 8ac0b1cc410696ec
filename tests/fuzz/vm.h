/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM without KVM, for what asks one for buses, bells and interrupts: the library's functions of vdb/vm.h,
 * bell.h, irq.h and line.h are replaced (WRAP) by those here, which are eventfds and two buses. A wait at a
 * gate turns the loop.
 */
#ifndef FUZZ_VM_H
#define FUZZ_VM_H

#include <vdb/vdb.h>

#include "input.h"

struct fuzz_vm;

/* Buses without ranges, no bells. One at a time. */
struct fuzz_vm *fuzz_vm_open(void);
/* Nothing of it may be left. */
void fuzz_vm_close(struct fuzz_vm *vm);
struct vdb_vm *fuzz_vm(struct fuzz_vm *vm);

/* A guest's accesses: a bell that matches comes first, as in KVM; else the bus. */
uint64_t fuzz_vm_read(struct fuzz_vm *vm, bool port, uint64_t addr, uint32_t len);
void fuzz_vm_write(struct fuzz_vm *vm, bool port, uint64_t addr, uint64_t value, uint32_t len);

/* From now on the n-th call that makes or moves something fails, once; 0: none. */
void fuzz_vm_fail(struct fuzz_vm *vm, uint32_t n);

#endif
