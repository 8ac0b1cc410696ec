/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng (virtio 1.2, 5.4): the host's getrandom(), at most 64 KiB a request. */
#ifndef VDB_RNG_H
#define VDB_RNG_H

#include <vdb/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* at: mem, loop or loops, tenants, limit, flags, queue_size, broken; the rest 0. Copied. */
VDB_MUST_CHECK int vdb_rng_create(const struct vdb_virtio_config *at, struct vdb_virtio **out);

#ifdef __cplusplus
}
#endif
#endif
