/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user device in a virtio rig, and its back end.
 *
 *     vu_rig_open(&config)       what is not given is the rig's; vu_rig.vu may be set up before
 *     virtio_rig_up(&vu_rig.rig, features, queues); virtio_rig_echo(...)
 *     vu_rig_close()
 */
#ifndef VU_RIG_H
#define VU_RIG_H

#include "virtio_rig.h"
#include "vu_backend.h"

struct vu_rig {
	struct virtio_rig rig;
	struct vu_backend vu;
	struct vdb_vhost_user_config config;
	bool by_fd;
};

extern struct vu_rig vu_rig;

/* NULL: defaults. */
void vu_rig_open(const struct vdb_vhost_user_config *config);
void vu_rig_close(void);
struct vdb_vhost_user_info vu_rig_info(void);
void vu_rig_wait_connected(bool connected);
/* Every fd that this process has. */
uint32_t vu_rig_fds(void);
void vu_rig_quiesce(void);
void vu_rig_resume(void);

#endif
