/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console (virtio 1.2, 5.3): one port, with size. */
#ifndef VDB_CONSOLE_H
#define VDB_CONSOLE_H

#include <vdb/chardev.h>
#include <vdb/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* at: mem, loop, tenant, flags, queue_size, broken; the rest 0. Copied. The chardev stays the
 * caller's, on the same loop, one device's at a time, and outlives the device. */
VDB_MUST_CHECK int vdb_console_create(const struct vdb_virtio_config *at, struct vdb_chardev *chardev,
                                      struct vdb_virtio **out);

/* The terminal's new size; the guest is told by a config-change interrupt. Any thread. */
VDB_MUST_CHECK int vdb_console_resize(struct vdb_virtio *console, uint16_t columns, uint16_t rows);

#ifdef __cplusplus
}
#endif
#endif
