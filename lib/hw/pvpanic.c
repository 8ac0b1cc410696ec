/* SPDX-License-Identifier: Apache-2.0 */
/* pvpanic (QEMU0001): reading says which events the host takes, writing is one of them. */
#include <vdb/platform.h>

#include "hw/part.h"

#define PANICKED 0x01u
#define CRASH_LOADED 0x02u /* a crash kernel takes over */
#define EVENTS (PANICKED | CRASH_LOADED)

static void on_read(void *ctx, struct vdb_bus_access *access)
{
	(void)ctx;
	*access->data = EVENTS;
}

static void on_write(void *ctx, struct vdb_bus_access *access)
{
	uint8_t value = *access->data;

	(void)ctx;
	if (value & EVENTS)
		vdb__part_raise(access, VDB_EVENT_PANIC, value);
}

int vdb__pvpanic_create(struct vdb_vm *vm, struct vdb__part **out)
{
	const struct vdb_bus_ops ops = {.size = sizeof(ops), .read = on_read, .write = on_write};
	struct vdb__part *part;
	int err = vdb__part_new(vm, "pvpanic", sizeof(*part), NULL, &part);

	if (err)
		return err;
	err = vdb__part_claim(part, "pvpanic", VDB_PVPANIC_PORT, 1, &ops);
	if (err)
		vdb__part_destroy(part);
	else
		*out = part;
	return err;
}
