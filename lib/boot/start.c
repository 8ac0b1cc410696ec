/* SPDX-License-Identifier: Apache-2.0 */
#include <vdb/boot.h>
#include <vdb/x86.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"

VDB_EXPORT int vdb_boot_start(struct vdb_vcpu *vcpu, const struct vdb_boot_info *info)
{
	struct vdb_boot_info own;
	int err = vdb__config_take(&own, sizeof(own), info, "vdb_boot_info");

	if (!err)
		err = vdb_x86_firmware_msrs(vcpu);
	if (err || vdb_vcpu_index(vcpu))
		return err;
	switch (own.protocol) {
	case VDB_BOOT_LINUX:
		return vdb_x86_start_linux(vcpu, own.entry, own.info, VDB_BOOT_TABLES);
	case VDB_BOOT_PVH:
		return vdb_x86_start32(vcpu, own.entry, own.info);
	default:
		return vdb__fail(EINVAL,
		                 "boot: protocol %u is none to start by; vdb_boot_load() fills the info in",
		                 own.protocol);
	}
}
