/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI's fixed hardware (ACPI 6, 4.8.3): PM1 events and control, the PM timer, the reset register. Always in
 * ACPI mode. Of the fixed events only the power button happens; the global lock's, the sleep button's and the
 * clock's may be enabled, as Linux does, but never come. That the timer's highest bit has changed can be
 * seen in its status, but does not interrupt: its enable bit reads as 0.
 *
 * Registers are bytes here, so that every width works that a bus allows.
 */
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <vdb/line.h>
#include <vdb/platform.h>

#include "base/error.h"
#include "hw/part.h"

/* From VDB_PM_EVENT_PORT. */
#define STATUS 0u
#define ENABLE 2u
#define CONTROL (VDB_PM_CONTROL_PORT - VDB_PM_EVENT_PORT)
#define TIMER (VDB_PM_TIMER_PORT - VDB_PM_EVENT_PORT)
#define RESET (VDB_PM_RESET_PORT - VDB_PM_EVENT_PORT)
#define BYTES 16u

#define STATUS_TIMER 0x0001u
#define BUTTON 0x0100u                                     /* in STATUS and ENABLE */
#define ENABLE_BITS (BUTTON | 0x0020u | 0x0200u | 0x0400u) /* global lock, sleep button, clock */
#define CONTROL_SCI 0x0001u
#define CONTROL_TYPE_SHIFT 10
#define CONTROL_TYPE 0x1c00u
#define CONTROL_SLEEP 0x2000u

#define TIMER_HZ 3579545u

struct pm {
	struct vdb__part part;
	struct vdb_line *sci; /* NULL: no interrupt controller in the kernel */
	struct timespec born;
	pthread_mutex_t lock; /* of what follows */
	uint16_t status, enable, control;
	uint32_t seen; /* the timer's highest bit when it was looked at last */
};

static uint32_t ticks(const struct pm *pm)
{
	struct timespec now;
	uint64_t s, ns;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	s = (uint64_t)(now.tv_sec - pm->born.tv_sec);
	ns = s * 1000000000u + (uint64_t)now.tv_nsec - (uint64_t)pm->born.tv_nsec;
	return (uint32_t)(ns / 1000000000u * TIMER_HZ + ns % 1000000000u * TIMER_HZ / 1000000000u);
}

/* Locked, as all down to the accesses. */
static void look_at_timer(struct pm *pm)
{
	uint32_t high = ticks(pm) >> 31;

	if (high != pm->seen)
		pm->status |= STATUS_TIMER;
	pm->seen = high;
}

/* Line and cause are changed together, so that the line is never left behind. */
static void update(struct pm *pm)
{
	if (pm->sci)
		vdb_line_set(pm->sci, (pm->status & pm->enable) != 0);
}

static void put16(uint8_t *bytes, uint16_t value)
{
	bytes[0] = (uint8_t)value;
	bytes[1] = (uint8_t)(value >> 8);
}

static void show(struct pm *pm, uint8_t *bytes)
{
	uint32_t timer = ticks(pm);

	memset(bytes, 0, BYTES);
	look_at_timer(pm);
	put16(bytes + STATUS, pm->status);
	put16(bytes + ENABLE, pm->enable);
	put16(bytes + CONTROL, pm->control | CONTROL_SCI);
	put16(bytes + TIMER, (uint16_t)timer);
	put16(bytes + TIMER + 2, (uint16_t)(timer >> 16));
}

/* Bits of a 16-bit register that a byte at `offset` in it stands for. */
static uint16_t at(uint64_t offset, uint8_t value)
{
	return (uint16_t)(value << 8 * (offset & 1));
}

/* The event that it asks for; 0 = none. */
static uint32_t write_byte(struct pm *pm, uint64_t offset, uint8_t value)
{
	uint16_t bits = at(offset, value), mask = at(offset, 0xff);

	switch (offset & ~1ull) {
	case STATUS:
		look_at_timer(pm);
		pm->status &= (uint16_t)~bits;
		return 0;
	case ENABLE:
		pm->enable = (uint16_t)((pm->enable & ~mask) | bits) & ENABLE_BITS;
		return 0;
	case CONTROL:
		pm->control = (uint16_t)((pm->control & ~mask) | bits) & CONTROL_TYPE;
		return bits & CONTROL_SLEEP && pm->control >> CONTROL_TYPE_SHIFT == VDB_PM_S5
		               ? VDB_EVENT_POWEROFF
		               : 0;
	case RESET:
		return bits == VDB_PM_RESET_VALUE ? VDB_EVENT_RESET : 0;
	default:
		return 0;
	}
}

static void on_read(void *ctx, struct vdb_bus_access *access)
{
	struct pm *pm = ctx;
	uint8_t bytes[BYTES];

	pthread_mutex_lock(&pm->lock);
	show(pm, bytes);
	pthread_mutex_unlock(&pm->lock);
	memcpy(access->data, bytes + access->offset, access->len);
}

static void on_write(void *ctx, struct vdb_bus_access *access)
{
	struct pm *pm = ctx;
	uint32_t event = 0;

	pthread_mutex_lock(&pm->lock);
	for (uint32_t i = 0; i < access->len && !event; i++)
		event = write_byte(pm, access->offset + i, access->data[i]);
	update(pm);
	pthread_mutex_unlock(&pm->lock);
	if (event)
		vdb__part_raise(access, event, 0);
}

void vdb__pm_power_button(struct vdb__part *part)
{
	struct pm *pm = (struct pm *)part;

	pthread_mutex_lock(&pm->lock);
	pm->status |= BUTTON;
	update(pm);
	pthread_mutex_unlock(&pm->lock);
}

static void end(struct vdb__part *part)
{
	struct pm *pm = (struct pm *)part;

	vdb_line_destroy(pm->sci);
	pthread_mutex_destroy(&pm->lock);
}

int vdb__pm_create(struct vdb_vm *vm, struct vdb_loop *loop, struct vdb__part **out)
{
	const struct vdb_bus_ops ops = {.size = sizeof(ops), .read = on_read, .write = on_write};
	struct vdb__part *part;
	struct pm *pm;
	int err = vdb__part_new(vm, "ACPI PM", sizeof(*pm), end, &part);

	if (err)
		return err;
	pm = (struct pm *)part;
	(void)clock_gettime(CLOCK_MONOTONIC, &pm->born);
	/* Default attributes: cannot fail. */
	pthread_mutex_init(&pm->lock, NULL);
	err = vdb_line_create(vm, loop, VDB_PM_SCI, &pm->sci);
	if (err == -ENOTSUP)
		err = 0;
	if (!err)
		err = vdb__part_claim(part, "ACPI PM", VDB_PM_EVENT_PORT, BYTES, &ops);
	if (err)
		vdb__part_destroy(part);
	else
		*out = part;
	return err;
}
