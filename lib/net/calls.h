/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VDB_NET_CALLS_H
#define VDB_NET_CALLS_H

#include "base/calls.h"

/* Taps, and sockets that are open. */
extern const struct vdb__calls vdb__net_calls;

#endif
