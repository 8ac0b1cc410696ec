/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VDB_IO_CALLS_H
#define VDB_IO_CALLS_H

#include "base/calls.h"

/* Files and streams, apart from the I/O that goes through the loop. */
extern const struct vdb__calls vdb__io_calls;

#endif
