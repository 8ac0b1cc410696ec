/* SPDX-License-Identifier: Apache-2.0 */
/* Where things lie in the guest's lowest MiB; vdb/boot.h tells the world. */
#ifndef VDB_BOOT_LAYOUT_H
#define VDB_BOOT_LAYOUT_H

#include <vdb/boot.h>
#include <vdb/x86.h>

#define VDB__INFO (VDB_BOOT_TABLES + VDB_X86_TABLES_BYTES) /* zero page, or hvm_start_info: a page */
#define VDB__CMDLINE 0x20000u
#define VDB__CMDLINE_ROOM 0x10000u
#define VDB__INFO_END (VDB__CMDLINE + VDB__CMDLINE_ROOM)

#define VDB__BASE_END 0x9fc00u /* of base memory; what follows holds tables of firmware */
#define VDB__HIGH 0x100000u

_Static_assert(VDB__INFO + VDB_PAGE_SIZE <= VDB__CMDLINE, "the info page lies before the command line");
_Static_assert(VDB__INFO_END <= VDB__BASE_END, "all of it lies in base memory");

#endif
