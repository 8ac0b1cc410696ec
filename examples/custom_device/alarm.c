/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The alarm clock as a backend: this one file is all that a new device needs. The
 * lane has checked the request; start() takes it on, and completes it later from
 * the loop's timer. All of it runs on the loop's thread, so there is no lock.
 */
#include "alarm.h"

#include <errno.h>
#include <stdlib.h>
#include <vdb/backend.h>
#include <vdb/loop.h>

struct clock {
	int32_t set; /* alarms that have not gone off */
};

struct alarm {
	struct clock *clock;
	struct vdb_req *req;
	struct vdb_timer *timer;
};

static void ring(void *arg)
{
	struct alarm *alarm = arg;

	vdb_timer_destroy(alarm->timer);
	vdb_req_complete(alarm->req, alarm->clock->set--);
	free(alarm);
}

/* What the guest asks for is checked here: the lane does not know what `offset` means. */
static int start(void *ctx, struct vdb_req *req)
{
	struct alarm *alarm;
	int err;

	if (req->op != ALARM_OP || req->offset > ALARM_LIMIT_US)
		return -EINVAL;
	alarm = calloc(1, sizeof(*alarm));
	if (!alarm)
		return -ENOMEM;
	alarm->clock = ctx;
	alarm->req = req;
	err = vdb_timer_create(req->loop, ring, alarm, &alarm->timer);
	if (err) {
		free(alarm);
		return err;
	}
	alarm->clock->set++;
	vdb_timer_arm(alarm->timer, req->offset * 1000);
	return VDB_REQ_PENDING;
}

/* No lane uses it any more, so no alarm is set. */
static void destroy(void *ctx)
{
	free(ctx);
}

int alarm_create(struct vdb_backend **out)
{
	static const struct vdb_backend_ops ops = {
	        .size = sizeof(ops), .name = "alarm", .start = start, .destroy = destroy};
	static const struct vdb_backend_info info = {.size = sizeof(info), .ops = 1u << 31};
	struct clock *clock = calloc(1, sizeof(*clock));
	int err;

	if (!clock)
		return -ENOMEM;
	err = vdb_backend_create(&ops, clock, &info, out);
	if (err)
		free(clock);
	return err;
}
