/* SPDX-License-Identifier: Apache-2.0 */
/* Chains while they are built, read and cut: nothing here knows a ring. */
#include "queue/chain.h"

#include <errno.h>
#include <string.h>

#include "queue/virtq.h"

/* ---- Building ---- */

/* Makes room for what comes next, which may be the status: the one before it goes. */
void vdb__chain_drop_last(struct vdb__chain *chain)
{
	const struct vdb__seg *last = &chain->segs[chain->nread + chain->nwrite - 1];

	chain->error = -E2BIG;
	if (chain->nwrite) {
		chain->nwrite--;
		chain->writable -= last->len;
	} else {
		chain->nread--;
		chain->readable -= last->len;
	}
}

/* ---- Reading and cutting ---- */

/* The guest may change it meanwhile; what counts is the copy, which nobody makes twice. */
static void copy_once(void *to, const void *from, uint64_t len)
{
	memcpy(to, from, len);
	__asm__ __volatile__("" ::: "memory");
}

/* [gpa, +len) of guest memory, which may cross from region to region: these begin and end with pages. */
static bool copy_out(struct vdb__view *view, vdb_gpa_t gpa, unsigned char *to, uint64_t len)
{
	const void *from = vdb__view_ptr(view, gpa, len, VDB__READ);
	uint64_t part;

	if (from) {
		copy_once(to, from, len);
		return true;
	}
	for (; len; gpa += part, to += part, len -= part) {
		part = VDB_PAGE_SIZE - gpa % VDB_PAGE_SIZE;
		if (part > len)
			part = len;
		from = vdb__view_ptr(view, gpa, part, VDB__READ);
		if (!from)
			return false;
		copy_once(to, from, part);
	}
	return true;
}

bool vdb__segs_read(struct vdb__view *view, const struct vdb__seg *segs, uint32_t nseg, uint64_t from,
                    void *to, uint64_t len)
{
	unsigned char *at = to;
	uint64_t part;

	for (uint32_t i = 0; i < nseg && len; i++) {
		if (from >= segs[i].len) {
			from -= segs[i].len;
			continue;
		}
		part = segs[i].len - from;
		if (part > len)
			part = len;
		if (!copy_out(view, segs[i].gpa + from, at, part))
			return false;
		at += part;
		len -= part;
		from = 0;
	}
	return len == 0;
}

uint32_t vdb__segs_skip(struct vdb__seg *segs, uint32_t n, uint64_t bytes)
{
	uint32_t i = 0;

	for (; i < n && bytes >= segs[i].len; i++)
		bytes -= segs[i].len;
	if (i < n) {
		segs[i].gpa += bytes;
		segs[i].len -= bytes;
	}
	return i;
}

/* ---- The plain framing: the chain as it is ---- */

static bool plain_parse(void *ctx, struct vdb__view *view, struct vdb__chain *chain, struct vdb__elem *elem,
                        struct vdb__frame *frame)
{
	(void)ctx;
	(void)view;
	elem->op = VDB_OP_USER;
	elem->nread = chain->nread;
	elem->nseg = chain->nread + chain->nwrite;
	elem->len = chain->readable + chain->writable;
	frame->word[0] = chain->writable;
	return true;
}

static uint32_t plain_finish(void *ctx, struct vdb__view *view, const struct vdb__frame *frame,
                             int64_t result, uint64_t written)
{
	(void)ctx;
	(void)view;
	(void)result;
	/* A chain has at most max_len bytes, so that this fits. */
	return (uint32_t)(written < frame->word[0] ? written : frame->word[0]);
}

const struct vdb__framing vdb__framing_plain = {.parse = plain_parse, .finish = plain_finish};
