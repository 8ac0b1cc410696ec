/* SPDX-License-Identifier: Apache-2.0 */
/* How loops look instead of sleeping: --poll US[,mode=adaptive|always][,cpu=PERCENT][,coalesce=US]. */
#ifndef TINYVMM_POLLING_H
#define TINYVMM_POLLING_H

#include <vdb/loop.h>

/* Fills the poll_* fields and coalesce_ns; the rest is left alone. 0, or -1 after a complaint. */
int polling_parse(struct vdb_loop_config *loop, const char *text);

#endif
