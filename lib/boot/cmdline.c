/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "boot/load.h"

int vdb__cmdline_load(struct vdb__boot *boot)
{
	const char *cmdline = boot->config->cmdline ? boot->config->cmdline : "";
	size_t len = strlen(cmdline);

	if (boot->info.cmdline_max >= VDB__CMDLINE_ROOM)
		boot->info.cmdline_max = VDB__CMDLINE_ROOM - 1;
	if (len > boot->info.cmdline_max)
		return vdb__fail(EINVAL, "command line: %zu bytes, kernel %s takes %u", len,
		                 boot->kernel.path, boot->info.cmdline_max);
	return vdb_mem_write(boot->mem, VDB__CMDLINE, cmdline, len + 1);
}
