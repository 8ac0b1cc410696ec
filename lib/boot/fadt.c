/* SPDX-License-Identifier: Apache-2.0 */
/* The fixed ACPI description table (ACPI 6.4, 5.2.9): revision 6. */
#include <stddef.h>
#include <vdb/platform.h>

#include "boot/acpi.h"

#define BOOT_LEGACY_DEVICES (1u << 0)
#define BOOT_8042 (1u << 1)
#define BOOT_NO_VGA (1u << 2)
#define BOOT_NO_RTC (1u << 5)

#define FLAG_WBINVD (1u << 0)
#define FLAG_PROC_C1 (1u << 2)
#define FLAG_NO_POWER_BUTTON (1u << 4) /* none among the fixed features, that is */
#define FLAG_NO_SLEEP_BUTTON (1u << 5)
#define FLAG_NO_FIXED_RTC (1u << 6)
#define FLAG_TIMER_32 (1u << 8)
#define FLAG_RESET_REG (1u << 10)
#define FLAG_HW_REDUCED (1u << 20)

#define SPACE_IO 1u

/* Generic address structure (5.2.3.2). */
struct address {
	uint8_t space, bits, bit_offset, access; /* 1, 2, 3: byte, word, dword */
	uint64_t address;
} __attribute__((packed));

/* Behind the header. */
struct fadt {
	uint32_t facs, dsdt;
	uint8_t reserved, profile;
	uint16_t sci;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
	uint8_t pm1_event_len, pm1_control_len, pm2_control_len, pm_timer_len;
	uint8_t gpe0_len, gpe1_len, gpe1_base, cst_cnt;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct address reset;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control, x_pm_timer;
	struct address x_gpe0, x_gpe1, sleep_control, sleep_status;
	uint64_t hypervisor;
} __attribute__((packed));
_Static_assert(sizeof(struct fadt) == 276 - 36, "as long as revision 6");
_Static_assert(offsetof(struct fadt, flags) == 112 - 36, "laid out as ACPI has it");
_Static_assert(offsetof(struct fadt, x_dsdt) == 140 - 36, "laid out as ACPI has it");

static struct address port(uint16_t at, uint8_t bits, uint8_t access)
{
	return (struct address){.space = SPACE_IO, .bits = bits, .access = access, .address = at};
}

static uint16_t boot_arch(const struct vdb_machine *machine)
{
	unsigned flags = BOOT_NO_VGA;

	if (machine->serial_gsi || machine->platform_parts & (VDB_PLATFORM_I8042 | VDB_PLATFORM_RTC))
		flags |= BOOT_LEGACY_DEVICES;
	if (machine->platform_parts & VDB_PLATFORM_I8042)
		flags |= BOOT_8042;
	if (!(machine->platform_parts & VDB_PLATFORM_RTC))
		flags |= BOOT_NO_RTC;
	return (uint16_t)flags;
}

/* Both forms of an address must agree. There is no SMI command: ACPI mode is always on. */
static void put_pm(struct fadt *fadt)
{
	fadt->sci = VDB_PM_SCI;
	fadt->pm1a_event = VDB_PM_EVENT_PORT;
	fadt->pm1a_control = VDB_PM_CONTROL_PORT;
	fadt->pm_timer = VDB_PM_TIMER_PORT;
	fadt->pm1_event_len = 4;
	fadt->pm1_control_len = 2;
	fadt->pm_timer_len = 4;
	fadt->x_pm1a_event = port(VDB_PM_EVENT_PORT, 32, 2);
	fadt->x_pm1a_control = port(VDB_PM_CONTROL_PORT, 16, 2);
	fadt->x_pm_timer = port(VDB_PM_TIMER_PORT, 32, 3);
	fadt->reset = port(VDB_PM_RESET_PORT, 8, 1);
	fadt->reset_value = VDB_PM_RESET_VALUE;
	fadt->c2_latency = 0xfff; /* too long: there is neither state */
	fadt->c3_latency = 0xfff;
	fadt->flags |= FLAG_NO_SLEEP_BUTTON | FLAG_NO_FIXED_RTC | FLAG_TIMER_32 | FLAG_RESET_REG;
}

size_t vdb__fadt_put(struct vdb__tables *t, vdb_gpa_t facs, vdb_gpa_t dsdt)
{
	size_t open = vdb__acpi_open(t, "FACP", 6);
	struct fadt fadt = {
	        .facs = (uint32_t)facs,
	        .dsdt = (uint32_t)dsdt,
	        .x_dsdt = dsdt,
	        .boot_arch = boot_arch(t->machine),
	        .flags = FLAG_WBINVD | FLAG_PROC_C1,
	        .minor = 4,
	};

	if (t->machine->platform_parts & VDB_PLATFORM_PM)
		put_pm(&fadt);
	else
		fadt.flags |= FLAG_HW_REDUCED | FLAG_NO_POWER_BUTTON | FLAG_NO_SLEEP_BUTTON;
	vdb__bytes_put(&t->bytes, &fadt, sizeof(fadt));
	vdb__acpi_close(t, open);
	return open;
}
