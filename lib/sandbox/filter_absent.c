/* SPDX-License-Identifier: Apache-2.0 */
/* Instead of filter.c, where the library is built without libseccomp. */
#include "sandbox/sandbox.h"

int vdb__filters_create(struct vdb_sandbox *sandbox)
{
	return vdb__sandbox_lacks(sandbox, VDB_SANDBOX_SECCOMP,
	                          "this libvdb was built without libseccomp; build it with libseccomp-dev");
}

void vdb__filters_destroy(struct vdb_sandbox *sandbox)
{
	(void)sandbox;
}

int vdb__filters_enter(const struct vdb_sandbox *sandbox, uint32_t kind)
{
	(void)sandbox;
	(void)kind;
	return 0;
}
