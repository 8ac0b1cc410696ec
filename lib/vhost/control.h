/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A remote (virtio/remote.h) whose peer is spoken to by a thread of its own. What the device wants is noted
 * under a lock, by whatever thread; the control thread compares it with what the peer has been told, and
 * says what is missing. So nobody else ever waits for a peer: no loop, and a vCPU only where a reset makes
 * it.
 *
 * A peer that fails, or does not answer in time, is lost: its queues break (DEVICE_NEEDS_RESET), or, if it
 * knows what was in flight, go on when it has come back.
 */
#ifndef VDB_VHOST_CONTROL_H
#define VDB_VHOST_CONTROL_H

#include "vhost/peer.h"
#include "virtio/remote.h"

struct vdb__vhost_config {
	const char *name; /* not copied */
	struct vdb_mem *mem;
	uint32_t queues;
	uint64_t served;       /* a bit for each queue that the peer serves */
	uint32_t reconnect_ms; /* 0: who is lost stays so */
};

struct vdb__vhost;

/* Takes the peer, which is connected; from here on it is destroyed with this, also when this fails.
 * -EOPNOTSUPP: memory that the peer cannot have; -ENOSPC: too many regions. */
int vdb__vhost_create(const struct vdb__vhost_config *config, struct vdb__peer *peer,
                      struct vdb__vhost **out);
struct vdb__remote *vdb__vhost_remote(struct vdb__vhost *vhost);
/* After the device has been made with it, which from here on destroys it; else destroy. */
int vdb__vhost_start(struct vdb__vhost *vhost);
void vdb__vhost_destroy(struct vdb__vhost *vhost);

/* Any thread: ops->poked() will be called. */
void vdb__vhost_poke(struct vdb__vhost *vhost);

/* Its peer, if there is one with these ops; else NULL. `remote` may be anything, or NULL. */
struct vdb__peer *vdb__vhost_peer(struct vdb__remote *remote, const struct vdb__peer_ops *ops);

struct vdb__vhost_state {
	bool up;
	uint32_t lost; /* so often */
	char why[160]; /* the last time */
};
/* Of such a remote. */
void vdb__vhost_query(struct vdb__remote *remote, struct vdb__vhost_state *state);

#endif
