/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: lib/mem/map.c lib/mem/view.c lib/mem/access.c */
/* EVA: -eva-equality-through-calls none */
/* BROKEN: no_room lib/mem/view.c s/if (part > len)/if (part > len + 1)/ */
/* BROKEN: no_hole lib/mem/view.c s/if (!entry || (access/if ((access/ */
/* BROKEN: no_start lib/mem/map.c s/ && map->entries.i..gpa <= gpa ?/ ?/ */
/* BROKEN: no_readonly lib/mem/view.c s/access == VDB__WRITE && entry->readonly/0/ */
/* BROKEN: no_max lib/mem/view.c s/if (at == max)/if (0)/ */
/* BROKEN: no_last lib/mem/access.c s/|| entry == end ||/||/ */
/* BROKEN: no_gap lib/mem/access.c s/gpa - entry->gpa >= entry->len ||// */
/*
 * A guest's range, of any place and any length, becomes pieces that are all in its memory, or none; and what
 * the embedder copies goes there and nowhere else.
 */
#define SPACE_LEN 2u
#include "mem/mem.h"
#include "space.h"
#include "stubs.h"

#define MAX 2u

static uint64_t use(const struct iovec *iov)
{
	unsigned char *p = iov->iov_base;

	CLAIM(iov->iov_len > 0);
	p[0] = 1;
	p[iov->iov_len - 1] = 1;
	return iov->iov_len;
}

static void pieces(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len, uint32_t max)
{
	struct vdb__region *region[MAX];
	struct iovec iov[MAX];
	uint64_t sum = 0;
	uint32_t n = 0;

	if (vdb__view_iov(view, gpa, len, VDB__WRITE, iov, region, &n, max)) {
		CLAIM(n == 0);
		return;
	}
	REACHED(pieces);
	CLAIM(n <= max);
	for (uint32_t i = 0; i < n; i++)
		sum += use(&iov[i]);
	CLAIM(sum == len);
}

/* What the embedder's calls do: his buffer ends with bytes[]. */
static void copies(vdb_gpa_t gpa, uint64_t len)
{
	static unsigned char bytes[SPACE_ALL];

	if (len > SPACE_ALL)
		return; /* more than there is */
	if (!vdb_mem_write(&space_mem, gpa, bytes + SPACE_ALL - len, len))
		REACHED(wrote);
	if (!vdb_mem_read(&space_mem, gpa, bytes + SPACE_ALL - len, len))
		REACHED(read);
}

int main(void)
{
	struct vdb__view view = space_view();

	switch (any) {
	case 0:
		pieces(&view, space_any_gpa(), space_any_len(), MAX);
		break;
	case 1:
		pieces(&view, space_any_gpa(), space_any_len(), 1);
		break;
	default:
		copies(space_any_gpa(), space_any_len());
	}
	return 0;
}
