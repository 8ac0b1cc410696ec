/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Was anybody served twice while another waited for his first time? Visits are numbered. `again` is the
 * number of the latest visit that was not its owner's last one: whoever has waited since before that has been
 * passed over, and nobody else has. No list, no clock: a few loads and stores a visit.
 */
#ifndef VDB_LOOP_ORDER_H
#define VDB_LOOP_ORDER_H

#include <stdbool.h>
#include <stdint.h>

/* Of those who wait in one line. Zeroed at first, as is the next. */
struct vdb__order {
	uint64_t visits; /* so far */
	uint64_t again;
};

struct vdb__place {
	uint64_t since;   /* visits there had been when it began to wait */
	uint64_t visited; /* number of its last visit */
};

static inline void vdb__order_wait(const struct vdb__order *order, struct vdb__place *place)
{
	place->since = order->visits;
}

/* Waits for something else than its turn. */
static inline void vdb__order_aside(struct vdb__place *place)
{
	place->since = UINT64_MAX;
}

/* Its visit. True: another had two since it began to wait. */
static inline bool vdb__order_visit(struct vdb__order *order, struct vdb__place *place)
{
	bool passed_over = order->again > place->since;

	if (place->visited > order->again)
		order->again = place->visited;
	place->visited = ++order->visits;
	return passed_over;
}

#endif
