/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A serial port (COM1 at 0x3f8, GSI 4, and its like) in front of a chardev. A full chardev keeps the
 * transmitter busy; input waits in the chardev until the guest listens. Without an in-kernel IOAPIC the guest
 * has to poll.
 */
#ifndef VDB_SERIAL_H
#define VDB_SERIAL_H

#include <vdb/chardev.h>
#include <vdb/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_serial;

struct vdb_serial_config {
	uint32_t size;
	uint32_t gsi;  /* 0 = 4, edge */
	uint16_t port; /* 0 = 0x3f8 */
	uint16_t reserved[3];
	struct vdb_chardev *chardev; /* the caller's, outlives the serial port; NULL: nobody is there */
};

/* -EEXIST: the ports are taken; -EBUSY: another device has the chardev; -EINVAL. Control thread. */
VDB_MUST_CHECK int vdb_serial_create(struct vdb_vm *vm, const struct vdb_serial_config *config,
                                     struct vdb_serial **out);

/* NULL is fine. Control thread; no vCPU may be running in it. */
void vdb_serial_destroy(struct vdb_serial *serial);

#ifdef __cplusplus
}
#endif
#endif
