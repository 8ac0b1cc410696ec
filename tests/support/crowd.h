/* SPDX-License-Identifier: Apache-2.0 */
/* 64 VMs on one loop whose rings never run empty, of very different demand. */
#ifndef CROWD_H
#define CROWD_H

#include <stdint.h>

#define CROWD_VMS 64u
#define CROWD_RINGS 16u /* of the first VM; the others have one */
#define CROWD_QUANTUM (256ull * 1024)

/*
 * Serves `turns` turns with all rings full, and returns by how much the VM served
 * most is ahead of the one served least, in bytes plus request cost.
 */
uint64_t crowd_spread(unsigned turns);

#endif
