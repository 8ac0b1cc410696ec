/* SPDX-License-Identifier: Apache-2.0 */
/* The device's fence between asking for a bell and looking once more: the same in every kind of queue. */
#ifndef VDB_QUEUE_ARM_H
#define VDB_QUEUE_ARM_H

#include "base/atomic.h"

/*
 * Where the device asked is stored, what the driver has made available is loaded. Pairs with the fence of a
 * driver that has made something available, before it looks whether to ring.
 */
static inline void vdb__arm_fence(void)
{
#ifdef VDB__BREAK_DEVICE_FENCE
	/* Only for the test that shows what the fence is for. */
	__asm__ __volatile__("" ::: "memory");
#else
	vdb__fence_full();
#endif
}

#endif
