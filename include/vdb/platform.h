/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small parts that a PC guest expects around it, each on its own: by them it tells that it
 * reboots, powers off, has panicked or wants to end, which reaches the VM's event function
 * (VDB_EVENT_RESET, _POWEROFF, _PANIC, _EXIT). All live until vdb_platform_destroy().
 */
#ifndef VDB_PLATFORM_H
#define VDB_PLATFORM_H

#include <vdb/loop.h>
#include <vdb/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_platform;

#define VDB_PLATFORM_I8042 (1u << 0)      /* ports 0x60, 0x64: pulse of the reset line */
#define VDB_PLATFORM_RTC (1u << 1)        /* CMOS clock at 0x70: the host's UTC; writes are ignored */
#define VDB_PLATFORM_PM (1u << 2)         /* ACPI PM1 events and control, PM timer, reset register */
#define VDB_PLATFORM_PVPANIC (1u << 3)    /* port 0x505, QEMU0001 */
#define VDB_PLATFORM_DEBUG_EXIT (1u << 4) /* port 0xf4: ends with the byte written */

/* Ports of the PM block, for ACPI tables. */
#define VDB_PM_EVENT_PORT 0x600u   /* PM1a_EVT_BLK, 4 bytes */
#define VDB_PM_CONTROL_PORT 0x604u /* PM1a_CNT_BLK, 2 bytes */
#define VDB_PM_TIMER_PORT 0x608u   /* PM_TMR_BLK, 4 bytes, 32 bits wide */
#define VDB_PM_RESET_PORT 0x60cu   /* RESET_REG, 1 byte */
#define VDB_PM_RESET_VALUE 1u
#define VDB_PM_S5 5u  /* SLP_TYP of \_S5 */
#define VDB_PM_SCI 9u /* GSI, level, active high */
#define VDB_PVPANIC_PORT 0x505u
#define VDB_DEBUG_EXIT_PORT 0xf4u

struct vdb_platform_config {
	uint32_t size;
	uint32_t parts;        /* VDB_PLATFORM_* */
	struct vdb_loop *loop; /* for the SCI, with PM */
};

/* -EEXIST: ports are taken. Control thread. */
VDB_MUST_CHECK int vdb_platform_create(struct vdb_vm *vm, const struct vdb_platform_config *config,
                                       struct vdb_platform **out);

/* NULL is fine. Control thread; no vCPU may be running in it. */
void vdb_platform_destroy(struct vdb_platform *platform);

/* Presses the power button: an SCI, if the guest listens. -ENOTSUP without PM. Any thread. */
VDB_MUST_CHECK int vdb_platform_power_button(struct vdb_platform *platform);

#ifdef __cplusplus
}
#endif
#endif
