/* SPDX-License-Identifier: Apache-2.0 */
/* The machine as ACPI's name space. */
#ifndef VDB_BOOT_DSDT_H
#define VDB_BOOT_DSDT_H

#include <vdb/acpi.h>

#include "boot/bytes.h"

/* The definition block's content, without a table's header. */
void vdb__dsdt_put(struct vdb__bytes *b, const struct vdb_machine *machine);

#endif
