/* SPDX-License-Identifier: Apache-2.0 */
/* The loops of a run: --loops N[,cpus=A:B:...][,place=POLICY]. */
#ifndef TINYVMM_LOOPS_H
#define TINYVMM_LOOPS_H

#include <stdbool.h>
#include <vdb/vdb.h>

struct loops_option {
	uint32_t count;
	uint32_t policy; /* VDB_PLACE_* */
	bool pinned;     /* to `cpus` */
	int32_t cpus[VDB_LOOPS_MAX];
};

/* One loop, anywhere. */
struct loops_option loops_default(void);

/* 0, or -1 after a complaint. */
int loops_parse(struct loops_option *option, const char *text);

/* Of --pin: the only loop's host CPU, -1 = any. 0, or -1 after a complaint if there are more. */
int loops_pin(struct loops_option *option, int cpu, const char *pin);

/* Makes and starts them. `each`: their config. 0, or -1 after a complaint. */
int loops_start(const struct loops_option *option, const struct vdb_loop_config *each,
                struct vdb_loops **out);
/* Ends and frees them. NULL is fine. */
void loops_end(struct vdb_loops *loops);

/* Where to place VM, disk, ... number `n`, for vdb_loops_place(). */
uint32_t loops_for(const struct loops_option *option, uint32_t n);

/* What all loops have done. 0, or -1 after a complaint. */
int loops_total(const struct vdb_loops *loops, struct vdb_loop_stats *total);

#endif
