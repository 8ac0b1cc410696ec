/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for the end of what the library was asked for:
 *
 *     struct vdb_gate *gate = wait_begin();
 *     vdb_virtio_destroy(device, wait_done, gate);
 *     wait_end(gate);
 */
#ifndef TINYVMM_WAIT_H
#define TINYVMM_WAIT_H

struct vdb_gate;

/* Never NULL: without memory for that, tinyvmm ends. */
struct vdb_gate *wait_begin(void);

/* A vdb_done_fn. */
void wait_done(void *gate);

void wait_end(struct vdb_gate *gate);

/* Instead, where the library has refused. Returns -1 after complaining by its message. */
int wait_refused(struct vdb_gate *gate);

#endif
