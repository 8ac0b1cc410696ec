/* SPDX-License-Identifier: Apache-2.0 */
#include "mem/calls.h"

static const struct vdb_sandbox_call calls[] = {
        VDB__CALL(VDB__EACH, fallocate), /* holes in a memfd: a balloon's pages */
};
const struct vdb__calls vdb__mem_calls = VDB__CALLS(calls);
