/* SPDX-License-Identifier: Apache-2.0 */
/* What other layers ask of a bus, beside vdb/bus.h. */
#ifndef VDB_BUS_BUS_H
#define VDB_BUS_BUS_H

#include <vdb/bus.h>

/* -EEXIST if [addr, addr+len) touches a claimed range; `what` it would be is for the message.
 * len > 0; what wraps ends at the top. Any thread. */
int vdb__bus_clear_of(struct vdb_bus *bus, const char *what, uint64_t addr, uint64_t len);

/* From now on asked before a range is claimed: a failure refuses it. Called under the bus's
 * lock: what a guard sees and vdb__bus_clear_of() cannot miss each other. Set it before other
 * threads have the bus. */
typedef int (*vdb__bus_guard_fn)(void *arg, const char *name, uint64_t base, uint64_t len);
void vdb__bus_guard(struct vdb_bus *bus, vdb__bus_guard_fn guard, void *arg);

#endif
