/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An alarm clock, a device with an operation of its own:
 *
 *     ALARM_OP   completes `offset` microseconds later, with the number of alarms
 *                that were set when it went off; at most ALARM_LIMIT_US
 *
 * Guests include this header too.
 */
#ifndef ALARM_H
#define ALARM_H

#include <vdb/abi.h>

#define ALARM_OP VDB_OP_USER
#define ALARM_LIMIT_US 10000000u

#if __STDC_HOSTED__
struct vdb_backend;

/* As every vdb_backend_*(): 0 or -errno; any thread; end it with vdb_backend_destroy(). */
int alarm_create(struct vdb_backend **out);
#endif

#endif
