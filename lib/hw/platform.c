/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <vdb/platform.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "hw/part.h"

#define PARTS 5u
#define ALL ((1u << PARTS) - 1)

enum { I8042, RTC, PM, PVPANIC, DEBUG_EXIT }; /* bits of VDB_PLATFORM_* */

struct vdb_platform {
	struct vdb__part *parts[PARTS];
};

static int make(struct vdb_vm *vm, struct vdb_loop *loop, unsigned which, struct vdb__part **out)
{
	switch (which) {
	case I8042:
		return vdb__i8042_create(vm, out);
	case RTC:
		return vdb__rtc_create(vm, out);
	case PM:
		return vdb__pm_create(vm, loop, out);
	case PVPANIC:
		return vdb__pvpanic_create(vm, out);
	default:
		return vdb__debug_exit_create(vm, out);
	}
}

static int check(const struct vdb_platform_config *config)
{
	if (config->parts & ~ALL)
		return vdb__fail(EINVAL, "platform: parts %#x are none of VDB_PLATFORM_*",
		                 config->parts & ~ALL);
	if (config->parts & VDB_PLATFORM_PM && !config->loop)
		return vdb__fail(EINVAL, "platform: VDB_PLATFORM_PM needs a loop");
	return 0;
}

VDB_EXPORT int vdb_platform_create(struct vdb_vm *vm, const struct vdb_platform_config *config,
                                   struct vdb_platform **out)
{
	struct vdb_platform_config own;
	struct vdb_platform *platform;
	int err = vdb__config_take(&own, sizeof(own), config, "vdb_platform_config");

	if (!err)
		err = check(&own);
	if (err)
		return err;
	platform = calloc(1, sizeof(*platform));
	if (!platform)
		return vdb__fail(ENOMEM, "platform: no memory");
	for (unsigned i = 0; i < PARTS && !err; i++) {
		if (own.parts >> i & 1)
			err = make(vm, own.loop, i, &platform->parts[i]);
	}
	if (err) {
		vdb_platform_destroy(platform);
		return err;
	}
	*out = platform;
	return 0;
}

VDB_EXPORT void vdb_platform_destroy(struct vdb_platform *platform)
{
	if (!platform)
		return;
	for (unsigned i = 0; i < PARTS; i++)
		vdb__part_destroy(platform->parts[i]);
	free(platform);
}

VDB_EXPORT int vdb_platform_power_button(struct vdb_platform *platform)
{
	if (!platform->parts[PM])
		return vdb__fail(ENOTSUP, "platform: no power button without VDB_PLATFORM_PM");
	vdb__pm_power_button(platform->parts[PM]);
	return 0;
}
