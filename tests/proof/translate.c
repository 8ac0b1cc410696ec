/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: lib/mem/map.c lib/mem/view.c lib/mem/access.c */
/* BROKEN: no_end lib/mem/view.h s/ && len - 1 < entry->len - offset// */
/* BROKEN: no_length lib/mem/view.h s/return offset < entry->len && len/return len/ */
/* BROKEN: no_count lib/mem/map.c s/return i < map->count && map/return map/ */
/* BROKEN: no_readonly lib/mem/view.h s/access == VDB__READ ||/1 ||/ */
/* BROKEN: no_hint_check lib/mem/view.h s/if (vdb__entry_has(view->word, gpa))/if (1)/ */
/* BROKEN: no_second_check lib/mem/view.h s/if (len > 64 ../if (1 ||/ */
/* BROKEN: no_word_check lib/mem/access.c s/return .entry ? 0 :/return 1 ? 0 :/ */
/*
 * A guest address that may be any becomes a pointer, to so many bytes and no fewer, in one region, which may
 * be written if that was asked for; or it becomes none.
 */
#include "mem/mem.h"
#include "space.h"
#include "stubs.h"

static void one_piece(struct vdb__view *view)
{
	unsigned char *p = vdb__view_ptr(view, any, 3, VDB__READ);

	if (p) {
		REACHED(pointer);
		CLAIM(p[0] + p[2] >= 0);
	}
}

static void writable_piece(struct vdb__view *view)
{
	unsigned char *p = vdb__view_ptr(view, any, 3, VDB__WRITE);

	if (p) {
		REACHED(writable_pointer);
		p[0] = p[2] = 1;
	}
}

/* A hint, but no address of a hole is made either. */
static void hint(const struct vdb__view *view)
{
	vdb__view_prefetch(view, space_any_gpa(), Frama_C_unsigned_int_interval(0, ~0u));
}

static void words(void)
{
	uint32_t word;

	if (!vdb_mem_load32(&space_mem, any, &word))
		REACHED(word);
	if (!vdb_mem_store32(&space_mem, any, 1))
		REACHED(stored);
}

int main(void)
{
	struct vdb__view view = space_view();

	switch (any) {
	case 0:
		one_piece(&view);
		break;
	case 1:
		writable_piece(&view);
		break;
	case 2:
		hint(&view);
		break;
	default:
		words();
	}
	return 0;
}
