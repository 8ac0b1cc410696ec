/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VDB_LOOP_CALLS_H
#define VDB_LOOP_CALLS_H

#include "base/calls.h"

/* A loop's engines, and the I/O that they do. */
extern const struct vdb__calls vdb__loop_calls;

#endif
