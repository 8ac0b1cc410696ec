/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: lib/queue/chain.c lib/mem/map.c lib/mem/view.c */
/* EVA: -eva-equality-through-calls none */
/* BROKEN: no_part lib/queue/chain.c s/if (part > len)/if (part > len + 1)/ */
/* BROKEN: no_memory lib/queue/chain.c s/if (!from)/if (0)/ */
/* BROKEN: no_end lib/queue/chain.c s/i < nseg && len/len/ */
/*
 * Headers and tables are copied out of a chain's segments, wherever these lie and however long they are: what
 * is read is the guest's memory, what is written is the copy, all of it or there is none.
 */
#define SPACE_LEN 4u
#include "queue/chain.h"
#include "space.h"
#include "stubs.h"

#define HEADER 4u /* bytes: may cross from region to region */

static void read_header(struct vdb__view *view, const struct vdb__seg *segs, uint32_t nseg, uint64_t from)
{
	unsigned char header[HEADER]; /* who reads what was not written finds nothing in it */
	int sum = 0;

	if (!vdb__segs_read(view, segs, nseg, from, header, sizeof(header)))
		return;
	for (uint32_t i = 0; i < sizeof(header); i++)
		sum += header[i];
	CLAIM(sum >= 0);
	REACHED(header);
}

/* Those beyond that are all alike. */
static uint64_t any_len(void)
{
	uint64_t len = any;

	if (len > 2 * HEADER)
		return len;
	/*@ split len; */
	return len;
}

static void anywhere(struct vdb__view *view)
{
	struct vdb__seg segs[1] = {{.gpa = space_any_gpa(), .len = any_len()}};

	read_header(view, segs, 1, 0);
}

/* Of any lengths; from a byte on that the library has chosen. */
static void in_parts(struct vdb__view *view)
{
	struct vdb__seg segs[2] = {{.gpa = SPACE_LOW, .len = any_len()},
	                           {.gpa = SPACE_LOW + SPACE_LEN, .len = any_len()}};
	uint64_t from = any;

	if (from > HEADER)
		return;
	/*@ split from; */
	read_header(view, segs, 2, from);
}

int main(void)
{
	struct vdb__view view = space_view();

	if (any)
		anywhere(&view);
	else
		in_parts(&view);
	return 0;
}
