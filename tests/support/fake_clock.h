/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop's time as the test wants it. The including test says WRAP: clock_gettime timerfd_settime in its
 * head. Time stands still but for clock_pass() and clock_ring(); timers go off in clock_ring() only.
 */
#ifndef VDB_TESTS_FAKE_CLOCK_H
#define VDB_TESTS_FAKE_CLOCK_H

#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>

static uint64_t clock_now = 1000000007; /* ns */
static uint64_t clock_alarm;            /* what the loop's timerfd is set to, 0 = nothing */
static uint64_t clock_settings;         /* times that it was set */
static int clock_fd = -1;

int __real_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *old);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *old);
int __wrap_clock_gettime(clockid_t id, struct timespec *to);

int __wrap_clock_gettime(clockid_t id, struct timespec *to)
{
	(void)id;
	*to = (struct timespec){.tv_sec = (time_t)(clock_now / 1000000000u),
	                        .tv_nsec = (long)(clock_now % 1000000000u)};
	return 0;
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *old)
{
	const struct itimerspec never = {0};

	(void)flags;
	(void)old;
	clock_settings++;
	clock_fd = fd;
	clock_alarm = (uint64_t)at->it_value.tv_sec * 1000000000u + (uint64_t)at->it_value.tv_nsec;
	return __real_timerfd_settime(fd, 0, &never, NULL);
}

static inline void clock_pass(uint64_t ns)
{
	clock_now += ns;
}

/* It is the time that the loop has asked for, or `late` ns after that: its timerfd becomes readable. */
static inline void clock_ring(uint64_t late)
{
	const struct itimerspec now = {.it_value.tv_nsec = 1};

	ck_assert_uint_ne(clock_alarm, 0);
	ck_assert_uint_gt(clock_alarm + late, clock_now);
	clock_now = clock_alarm + late;
	clock_alarm = 0;
	ck_assert_int_eq(__real_timerfd_settime(clock_fd, 0, &now, NULL), 0);
}

#endif
