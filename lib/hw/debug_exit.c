/* SPDX-License-Identifier: Apache-2.0 */
/* A test guest's last word. Guests write it by any width; the lowest byte counts. */
#include <vdb/platform.h>

#include "hw/part.h"

#define PORTS 4u

static void on_write(void *ctx, struct vdb_bus_access *access)
{
	(void)ctx;
	if (!access->offset)
		vdb__part_raise(access, VDB_EVENT_EXIT, *access->data);
}

int vdb__debug_exit_create(struct vdb_vm *vm, struct vdb__part **out)
{
	const struct vdb_bus_ops ops = {.size = sizeof(ops), .write = on_write};
	struct vdb__part *part;
	int err = vdb__part_new(vm, "debug-exit", sizeof(*part), NULL, &part);

	if (err)
		return err;
	err = vdb__part_claim(part, "debug-exit", VDB_DEBUG_EXIT_PORT, PORTS, &ops);
	if (err)
		vdb__part_destroy(part);
	else
		*out = part;
	return err;
}
