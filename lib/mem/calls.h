/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VDB_MEM_CALLS_H
#define VDB_MEM_CALLS_H

#include "base/calls.h"

/* Guest memory: made, discarded. */
extern const struct vdb__calls vdb__mem_calls;

#endif
