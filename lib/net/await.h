/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for a descriptor on a loop, by somebody who may lose interest at any moment and be on another
 * loop the next: what has been begun ends on its own.
 */
#ifndef VDB_NET_AWAIT_H
#define VDB_NET_AWAIT_H

#include <stdbool.h>
#include <stdint.h>
#include <vdb/io.h>

/* A descriptor that is closed by the last of its users, who may be on several threads. */
struct vdb__netfd {
	uint32_t refs;
	int fd;
};

/* Duplicates fd. -ENOMEM, -EMFILE, -EBADF. */
int vdb__netfd_open(int fd, struct vdb__netfd **out);
void vdb__netfd_ref(struct vdb__netfd *fd);
void vdb__netfd_unref(struct vdb__netfd *fd); /* NULL is fine */

struct vdb__await;

/* For one loop. `ready` is called when what was waited for has come, or with the -errno of a wait that
 * failed; on its thread, as all that follows. -ENOMEM. */
int vdb__await_create(struct vdb_loop *loop, struct vdb__netfd *fd, void (*ready)(void *arg, int error),
                      void *arg, struct vdb__await **out);

/* For POLLIN or POLLOUT, once. Nothing happens if it is waiting already, or if the loop ends. */
void vdb__await_start(struct vdb__await *await, short events);

/* `ready` is not called any more. NULL is fine. */
void vdb__await_drop(struct vdb__await *await);

#endif
