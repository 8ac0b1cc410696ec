/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queues of virtio-balloon that bring pages: inflate and deflate (5.5.6.1), and free page reporting
 * (5.5.6.7). What goes back to the host goes in slices, since the kernel takes long to unmap much: a slice
 * ends after so many calls or bytes, and each is paid for, so that it is also the tenant's budget that ends.
 *
 * A guest that gives pages which are the target of I/O in flight loses what is read, or finds it in
 * the new page. The old one stays what it is, memory of this process, until the I/O lets go of it.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <string.h>

#include "base/atomic.h"
#include "io/cursor.h"
#include "io/lane.h"
#include "mem/view.h"
#include "virtio/balloon.h"

#define PFN_BYTES 4u
#define BITE (16 * PFN_BYTES)    /* of a list, on the stack */
#define SLICE_BYTES (16u * 1024) /* of a list, however little there is to do for it */
#define CHUNK                                                                                              \
	(UINT64_C(2) << 20) /* one call gives back so much at most; aligned, so that huge pages stay whole \
	                     */
#define CHUNK_PAGES (CHUNK / VDB_PAGE_SIZE)

/* What the tenant pays, in bytes of I/O that take about as long. A slice of a list ends when this has come to
 * SLICE_COST. */
#define CALL_COST (16u * 1024)
#define PAGE_COST 256u
#define SLICE_COST (8 * CALL_COST)

/* Pages that lie together in one chunk, in whichever order the guest gave them. */
struct run {
	uint64_t first, n;
};

/* In req->scratch. The work is done ahead of what the lane is told, since a chunk is more than its slices. */
struct progress {
	struct vdb__cursor at;
	uint64_t done, ahead;
	struct run run; /* of a list: goes back when it ends */
};
_Static_assert(sizeof(struct progress) <= sizeof(((struct vdb_req *)0)->scratch), "scratch");

static struct progress *progress_of(struct vdb_req *req)
{
	return (struct progress *)(void *)req->scratch;
}

static int begin(struct vdb_req *req)
{
	*progress_of(req) = (struct progress){0};
	return VDB_REQ_INLINE;
}

/* Tells the lane of at most `max` bytes of what is done. */
static int64_t tell(struct progress *progress, uint64_t max)
{
	uint64_t n = progress->ahead - progress->done;

	if (n > max)
		n = max;
	progress->done += n;
	return (int64_t)n;
}

static int refuse(struct vdb__balloon *balloon)
{
	vdb__balloon_count(&balloon->wrong, 1);
	return -EINVAL;
}

/* ---- Giving back ---- */

static void give_back(struct vdb__balloon *balloon, struct vdb__region *region, const void *host,
                      uint64_t len)
{
	int64_t n = vdb__region_discard(region, host, len);

	if (n < 0) {
		if (n != -EPERM)
			vdb__balloon_count(&balloon->failed, len);
		n = 0;
	}
	vdb__balloon_count(&balloon->discarded, n);
	vdb__balloon_count(&balloon->kept, len - (uint64_t)n);
}

/* ---- Inflate: a list of page numbers ---- */

/* Region by region. Returns what it cost. */
static uint64_t end_run(struct vdb__balloon *balloon, struct vdb_req *req, struct run *run)
{
	struct vdb__view *view = &((struct vdb__request *)req)->lane->queue->view;
	vdb_gpa_t gpa = run->first * VDB_PAGE_SIZE, end = gpa + run->n * VDB_PAGE_SIZE;
	const struct vdb__map_entry *entry, *last;
	uint64_t part, cost = run->n * PAGE_COST;

	for (; gpa < end; gpa += part) {
		part = VDB_PAGE_SIZE;
		entry = vdb__view_find(view, &last, gpa);
		if (!entry) {
			vdb__balloon_count(&balloon->wrong, 1);
			continue;
		}
		part = vdb__entry_room(entry, gpa);
		if (part > end - gpa)
			part = end - gpa;
		give_back(balloon, entry->region, vdb__entry_host(entry, gpa), part);
		cost += CALL_COST;
	}
	run->n = 0;
	vdb_req_charge(req, cost);
	return cost;
}

/* True if the page is part of the run now, or was before. */
static bool joins(struct run *run, uint64_t page)
{
	if (page - run->first < run->n)
		return true;
	if (!run->n || page / CHUNK_PAGES != run->first / CHUNK_PAGES)
		return false;
	if (page + 1 == run->first)
		run->first = page;
	else if (page != run->first + run->n)
		return false;
	run->n++;
	return true;
}

/* The next bytes of the list, each read once. */
static void take_bite(struct vdb_req *req, uint8_t *bite, size_t n)
{
	struct progress *progress = progress_of(req);
	struct iovec piece;

	progress->ahead += n;
	while (n) {
		piece = vdb__cursor_piece(&progress->at, req->iov, n);
		memcpy(bite, piece.iov_base, piece.iov_len);
		vdb__cursor_pass(&progress->at, req->iov, piece.iov_len);
		bite += piece.iov_len;
		n -= piece.iov_len;
	}
}

/* Returns what it cost. */
static uint64_t take_pages(struct vdb__balloon *balloon, struct vdb_req *req, size_t n)
{
	struct run *run = &progress_of(req)->run;
	uint8_t bite[BITE];
	uint64_t cost = 0;
	uint32_t page;

	take_bite(req, bite, n);
	vdb__balloon_count(&balloon->inflated, n / PFN_BYTES * VDB_PAGE_SIZE);
	if (n % PFN_BYTES)
		vdb__balloon_count(&balloon->wrong, 1);
	for (size_t i = 0; i + PFN_BYTES <= n; i += PFN_BYTES) {
		memcpy(&page, bite + i, sizeof(page));
		page = le32toh(page);
		if (joins(run, page))
			continue;
		if (run->n)
			cost += end_run(balloon, req, run);
		*run = (struct run){page, 1};
	}
	return cost;
}

static void inflate_some(struct vdb__balloon *balloon, struct vdb_req *req)
{
	struct progress *progress = progress_of(req);
	uint64_t left = req->len - progress->ahead, cost = 0;

	for (; left && cost < SLICE_COST && progress->ahead - progress->done < SLICE_BYTES;
	     left = req->len - progress->ahead)
		cost += take_pages(balloon, req, left < BITE ? left : BITE);
	if (!left && progress->run.n)
		(void)end_run(balloon, req, &progress->run);
}

static int start_inflate(void *ctx, struct vdb_req *req)
{
	return req->len == req->readable ? begin(req) : refuse(ctx);
}

static int64_t step_inflate(void *ctx, struct vdb_req *req, uint64_t max)
{
	struct progress *progress = progress_of(req);

	if (progress->ahead == progress->done)
		inflate_some(ctx, req);
	return tell(progress, max);
}

const struct vdb_backend_ops vdb__balloon_inflate_ops = {
        .size = sizeof(vdb__balloon_inflate_ops),
        .name = "balloon inflate",
        .start = start_inflate,
        .step = step_inflate,
};

/* ---- Deflate: the pages are the guest's again, and come when it touches them ---- */

static int start_deflate(void *ctx, struct vdb_req *req)
{
	struct vdb__balloon *balloon = ctx;

	if (req->len != req->readable)
		return refuse(balloon);
	vdb__balloon_count(&balloon->deflated, req->len / PFN_BYTES * VDB_PAGE_SIZE);
	return VDB_REQ_DONE;
}

const struct vdb_backend_ops vdb__balloon_deflate_ops = {
        .size = sizeof(vdb__balloon_deflate_ops),
        .name = "balloon deflate",
        .start = start_deflate,
};

/* ---- Reporting: the buffers are the pages ---- */

static int start_report(void *ctx, struct vdb_req *req)
{
	return req->readable ? refuse(ctx) : begin(req);
}

/* Up to where a page ends that nobody should cut. */
static uint64_t chunk_at(const struct vdb__region *region, const void *host)
{
	uint64_t page = vdb__region_page(region), unit = page > CHUNK ? page : CHUNK;

	return unit - (uint64_t)((const char *)host - (const char *)vdb__region_host(region)) % unit;
}

/* Pages come back as zeroes: not if the guest counts on another pattern (5.5.6.7.2). */
static bool keeps_poison(const struct vdb__balloon *balloon)
{
	return vdb__load(&balloon->accepted) >> VIRTIO_BALLOON_F_PAGE_POISON & 1 &&
	       vdb__load(&balloon->poison);
}

static void report_some(struct vdb__balloon *balloon, struct vdb_req *req)
{
	struct progress *progress = progress_of(req);
	struct vdb__region *region = vdb__request_regions((struct vdb__request *)req)[progress->at.index];
	struct iovec piece = vdb__cursor_piece(&progress->at, req->iov, UINT64_MAX);
	uint64_t len = chunk_at(region, piece.iov_base);

	if (len > piece.iov_len)
		len = piece.iov_len;
	vdb__balloon_count(&balloon->reported, len);
	if (keeps_poison(balloon))
		vdb__balloon_count(&balloon->kept, len);
	else
		give_back(balloon, region, piece.iov_base, len);
	vdb_req_charge(req, CALL_COST);
	vdb__cursor_pass(&progress->at, req->iov, len);
	progress->ahead += len;
}

static int64_t step_report(void *ctx, struct vdb_req *req, uint64_t max)
{
	struct progress *progress = progress_of(req);

	if (progress->ahead == progress->done)
		report_some(ctx, req);
	return tell(progress, max);
}

const struct vdb_backend_ops vdb__balloon_report_ops = {
        .size = sizeof(vdb__balloon_report_ops),
        .name = "balloon report",
        .start = start_report,
        .step = step_report,
};
