/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock of an MC146818 and 128 bytes behind it, BCD and 24 hours. It shows the host's UTC and cannot be
 * set: there are no alarms, no interrupts, and what is not the clock reads as zeroes.
 */
#include <stdint.h>
#include <time.h>
#include <vdb/platform.h>

#include "base/atomic.h"
#include "hw/part.h"

#define PORT 0x70u
#define NMI_MASK 0x80u /* in what is written to the index port */

enum { SECONDS = 0, MINUTES = 2, HOURS = 4, WEEKDAY = 6, DAY = 7, MONTH = 8, YEAR = 9, A, B, C, D };

#define CENTURY 0x32u

#define A_UIP 0x80u
#define A_DIVIDER 0x26u /* 32768 Hz, 1024 Hz */
#define B_24H 0x02u
#define D_VALID 0x80u

/* An update is announced 244 microseconds before: who sees no UIP has that long to read all. */
#define ANNOUNCE_NS 244000

struct rtc {
	struct vdb__part part;
	uint8_t index; /* atomic; guests that share it lock it themselves */
};

static uint8_t bcd(int value)
{
	return (uint8_t)(value / 10 % 10 << 4 | value % 10);
}

static uint8_t read_register(uint8_t index)
{
	struct timespec now;
	struct tm tm = {0};

	/* Cannot fail: the clock exists, and the year fits for 2^31 years. */
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	switch (index) {
	case SECONDS:
		return bcd(tm.tm_sec);
	case MINUTES:
		return bcd(tm.tm_min);
	case HOURS:
		return bcd(tm.tm_hour);
	case WEEKDAY:
		return bcd(tm.tm_wday + 1);
	case DAY:
		return bcd(tm.tm_mday);
	case MONTH:
		return bcd(tm.tm_mon + 1);
	case YEAR:
		return bcd(tm.tm_year % 100);
	case CENTURY:
		return bcd((tm.tm_year + 1900) / 100);
	case A:
		return now.tv_nsec >= 1000000000 - ANNOUNCE_NS ? A_UIP | A_DIVIDER : A_DIVIDER;
	case B:
		return B_24H;
	case D:
		return D_VALID;
	default:
		return 0;
	}
}

static void on_read(void *ctx, struct vdb_bus_access *access)
{
	struct rtc *rtc = ctx;

	if (access->len == 1 && access->offset == 1)
		*access->data = read_register(vdb__load(&rtc->index));
}

static void on_write(void *ctx, struct vdb_bus_access *access)
{
	struct rtc *rtc = ctx;

	if (access->len == 1 && access->offset == 0)
		vdb__store(&rtc->index, (uint8_t)(*access->data & ~NMI_MASK));
}

int vdb__rtc_create(struct vdb_vm *vm, struct vdb__part **out)
{
	const struct vdb_bus_ops ops = {.size = sizeof(ops), .read = on_read, .write = on_write};
	struct vdb__part *part;
	int err = vdb__part_new(vm, "RTC", sizeof(struct rtc), NULL, &part);

	if (err)
		return err;
	err = vdb__part_claim(part, "RTC", PORT, 2, &ops);
	if (err)
		vdb__part_destroy(part);
	else
		*out = part;
	return err;
}
