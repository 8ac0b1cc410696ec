/* SPDX-License-Identifier: Apache-2.0 */
/* What loops may do with io_uring: --uring KEY[=VALUE],... */
#ifndef TINYVMM_URING_H
#define TINYVMM_URING_H

#include <vdb/loop.h>

/* Sets flags, sq_idle_ms and sq_cpu; the rest is left alone. 0, or -1 after a complaint. */
int uring_parse(struct vdb_loop_config *loop, const char *text);

/* Adds what is in use of it, and how much, to what is known already. */
void uring_add(struct vdb_loop_stats *total, const struct vdb_loop_stats *one);

#endif
