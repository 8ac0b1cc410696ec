/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gate: something one thread waits for and another thread opens, once.
 *
 * A bus handler on a vCPU's thread that needs the loop posts work to it and
 * waits at a gate with vdb_vcpu_wait(), so that a kick can still end the wait.
 */
#ifndef VDB_GATE_H
#define VDB_GATE_H

#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_gate;

/* A closed gate, with one reference. */
VDB_MUST_CHECK int vdb_gate_create(struct vdb_gate **out);

/* One more reference: opener and waiter each own one, so that a waiter may
 * leave early. Returns the gate. Any thread. */
struct vdb_gate *vdb_gate_ref(struct vdb_gate *gate);

/* Drops a reference; the last one frees. NULL is fine. Any thread. */
void vdb_gate_unref(struct vdb_gate *gate);

/* Opens the gate with a result; the first call counts. Any thread. */
void vdb_gate_open(struct vdb_gate *gate, int64_t result);

/* 1 if open (then *result is set), else 0. Any thread. */
VDB_MUST_CHECK int vdb_gate_peek(struct vdb_gate *gate, int64_t *result);

/* Waits until the gate is open or `timeout_ns` (-1 = for ever) has passed:
 * -ETIMEDOUT. Never on a loop's thread: -EDEADLK. */
VDB_MUST_CHECK int vdb_gate_wait(struct vdb_gate *gate, int64_t timeout_ns, int64_t *result);

#ifdef __cplusplus
}
#endif
#endif
