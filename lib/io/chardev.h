/* SPDX-License-Identifier: Apache-2.0 */
/* A chardev as its device sees it. */
#ifndef VDB_IO_CHARDEV_H
#define VDB_IO_CHARDEV_H

#include <vdb/chardev.h>

/* What the device is told, on the loop's thread; each until the device has looked. */
struct vdb__chardev_user {
	void (*readable)(void *arg); /* input has come where there was none */
	void (*writable)(void *arg); /* there is room where vdb__chardev_put() found none */
	void *arg;
};

/* The one that calls the user. */
struct vdb_loop *vdb__chardev_loop(const struct vdb_chardev *chardev);

/* One device at a time: -EBUSY. unbind waits until no call is in progress (not from one). Any thread. */
int vdb__chardev_bind(struct vdb_chardev *chardev, const struct vdb__chardev_user *user);
void vdb__chardev_unbind(struct vdb_chardev *chardev);

/* Output from the guest: takes what fits, and returns how much. Any thread, never waits. */
size_t vdb__chardev_put(struct vdb_chardev *chardev, const void *data, size_t len);

/* Input for the guest: at most `max` bytes, 0 if there are none. Any thread, never waits. */
size_t vdb__chardev_get(struct vdb_chardev *chardev, void *data, size_t max);

#endif
