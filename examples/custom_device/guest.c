/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The alarm clock's guest: sets three alarms at once, the last one first, and tells
 * through a port in which order they went off. Polls, so it needs no kernel mode.
 */
#include "alarm.h"
#include "layout.h"
#include "ring.h"
#include "runtime.h"

#define TELL_PORT 0x510u

static struct vdb_guest ring;

_Noreturn static void end(uint32_t status)
{
	guest_out32(GUEST_EXIT_PORT, status);
	for (;;)
		guest_pause();
}

static int open_ring(const void *page)
{
	int r = guest_find_ring(&ring, page);

	if (r)
		return r;
	vdb_guest_reset(&ring, VDB_F_EVENT_IDX);
	while ((r = vdb_guest_poll_ready(&ring)) == 0)
		guest_pause();
	return r < 0 ? r : 0;
}

/* The ring has four entries: there is room. */
static void set_alarm(uint64_t us)
{
	struct vdb_sqe *sqe = vdb_guest_sqe(&ring);

	if (!sqe)
		end(3);
	sqe->op = ALARM_OP;
	sqe->offset = us;
	sqe->user_data = us;
}

_Noreturn void guest_main(uint64_t page, uint64_t unused1, uint64_t unused2)
{
	struct vdb_cqe cqe;

	(void)unused1;
	(void)unused2;
	if (open_ring((const void *)(uintptr_t)page))
		end(1);
	set_alarm(30000);
	set_alarm(20000);
	set_alarm(10000);
	set_alarm(ALARM_LIMIT_US + 1ull); /* refused */
	vdb_guest_submit(&ring);
	for (int i = 0; i < 4; i++) {
		while (!vdb_guest_reap(&ring, &cqe))
			guest_pause();
		if (cqe.result < 0 && cqe.user_data <= ALARM_LIMIT_US)
			end(2);
		guest_out32(TELL_PORT, (uint32_t)cqe.user_data);
	}
	end(0);
}
