/* SPDX-License-Identifier: Apache-2.0 */
/* A small part of the platform: some ports and what is behind them. Parts lock themselves, and raise events
 * without their lock. */
#ifndef VDB_HW_PART_H
#define VDB_HW_PART_H

#include <stddef.h>
#include <stdint.h>
#include <vdb/bus.h>
#include <vdb/loop.h>
#include <vdb/vm.h>

#define VDB__PART_PORTS 2u

/* The first member of each part, which is one allocation. */
struct vdb__part {
	struct vdb_bus *pio;
	uint16_t ports[VDB__PART_PORTS]; /* where its ranges start */
	uint32_t claimed;
	void (*end)(struct vdb__part *part); /* what there is to do besides; may be NULL */
};

/* A zeroed part of `bytes` whose end is `end`; -ENOMEM names it. */
int vdb__part_new(struct vdb_vm *vm, const char *name, size_t bytes, void (*end)(struct vdb__part *part),
                  struct vdb__part **out);

/* One more range; its handlers get the part. -EEXIST. */
int vdb__part_claim(struct vdb__part *part, const char *name, uint16_t port, uint64_t len,
                    const struct vdb_bus_ops *ops);

/* Gives up its ranges, ends and frees it. NULL is fine. Control thread. */
void vdb__part_destroy(struct vdb__part *part);

/* The event of a guest that did this access. */
void vdb__part_raise(const struct vdb_bus_access *access, uint32_t kind, uint64_t data);

/* The parts, each in the file of its name; built whole, or not at all. */
int vdb__i8042_create(struct vdb_vm *vm, struct vdb__part **out);
int vdb__rtc_create(struct vdb_vm *vm, struct vdb__part **out);
int vdb__pm_create(struct vdb_vm *vm, struct vdb_loop *loop, struct vdb__part **out);
int vdb__pvpanic_create(struct vdb_vm *vm, struct vdb__part **out);
int vdb__debug_exit_create(struct vdb_vm *vm, struct vdb__part **out);

/* Any thread. */
void vdb__pm_power_button(struct vdb__part *pm);

#endif
