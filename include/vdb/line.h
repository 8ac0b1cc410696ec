/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A level-triggered interrupt line: asserted until it is lowered, however often the guest
 * acknowledges (resampling irqfd). Several lines may share a GSI.
 */
#ifndef VDB_LINE_H
#define VDB_LINE_H

#include <vdb/loop.h>
#include <vdb/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_line;

/* The loop watches for acknowledgements. -ENOTSUP without an in-kernel irqchip. Control thread. */
VDB_MUST_CHECK int vdb_line_create(struct vdb_vm *vm, struct vdb_loop *loop, uint32_t gsi,
                                   struct vdb_line **out);

/* Lowered, unwired and freed; what the loop still holds it frees at its next turn. After the loop's own
 * end, too. NULL is fine. Control thread. */
void vdb_line_destroy(struct vdb_line *line);

/* 1 asserts, 0 lowers: the guest may see one interrupt after lowering. Any thread, at no cost if
 * nothing changes. */
void vdb_line_set(struct vdb_line *line, int level);

#ifdef __cplusplus
}
#endif
#endif
