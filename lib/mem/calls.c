/* SPDX-License-Identifier: Apache-2.0 */
#include "mem/calls.h"

#include <fcntl.h>

static const struct vdb_sandbox_call calls[] = {
        VDB__CALL(VDB__EACH, fallocate), /* holes in a memfd: a balloon's pages */
        VDB__CALL_IF(VDB__CONTROL, fcntl, 2, F_ADD_SEALS),
        VDB__CALL_IF(VDB__CONTROL, fcntl, 2, F_GET_SEALS),
};
const struct vdb__calls vdb__mem_calls = VDB__CALLS(calls);
