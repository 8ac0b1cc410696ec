/* SPDX-License-Identifier: Apache-2.0 */
#include "hw/part.h"

#include <stdlib.h>
#include <vdb/vcpu.h>

#include "base/error.h"

int vdb__part_new(struct vdb_vm *vm, const char *name, size_t bytes, void (*end)(struct vdb__part *part),
                  struct vdb__part **out)
{
	struct vdb__part *part = calloc(1, bytes);

	if (!part)
		return vdb__fail(ENOMEM, "%s: no memory", name);
	part->pio = vdb_vm_pio(vm);
	part->end = end;
	*out = part;
	return 0;
}

int vdb__part_claim(struct vdb__part *part, const char *name, uint16_t port, uint64_t len,
                    const struct vdb_bus_ops *ops)
{
	int err = vdb_bus_add(part->pio, name, port, len, ops, part);

	if (!err)
		part->ports[part->claimed++] = port;
	return err;
}

void vdb__part_destroy(struct vdb__part *part)
{
	if (!part)
		return;
	/* A control thread may wait for handlers: it cannot fail. */
	for (; part->claimed; part->claimed--) {
		if (vdb_bus_remove(part->pio, part->ports[part->claimed - 1]))
			return;
	}
	if (part->end)
		part->end(part);
	free(part);
}

void vdb__part_raise(const struct vdb_bus_access *access, uint32_t kind, uint64_t data)
{
	const struct vdb_event event = {.size = sizeof(event), .kind = kind, .data = {data}};

	vdb_vcpu_raise(access->vcpu, &event);
}
