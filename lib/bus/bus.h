/* SPDX-License-Identifier: Apache-2.0 */
/* What other layers ask of a bus, beside vdb/bus.h. */
#ifndef VDB_BUS_BUS_H
#define VDB_BUS_BUS_H

#include <stdbool.h>
#include <vdb/bus.h>

/* True if [addr, addr+len) touches a claimed range. len > 0; what wraps ends at the top. Any thread. */
bool vdb__bus_overlaps(struct vdb_bus *bus, uint64_t addr, uint64_t len);

#endif
