/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VDB_VHOST_CALLS_H
#define VDB_VHOST_CALLS_H

#include "base/calls.h"

/* vhost in the kernel, and talk with a vhost-user back end that is connected. */
extern const struct vdb__calls vdb__vhost_calls;

/* To connect to one: VDB_SANDBOX_SOCKETS. */
extern const struct vdb__calls vdb__vhost_socket_calls;

#endif
