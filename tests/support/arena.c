/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include <check.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vdb/error.h>

#include "bystander.h"
#include "canary.h"
#include "leak.h"
#include "loop/state.h"

#define PATIENCE_MS 40000u
#define BEATS 8u
#define DISKS 4u
/* What lanes keep for later requests, and allocators for themselves: 26 KiB for each request in flight that
 * had many pieces (vdb/lane.h). What is lost for good LeakSanitizer finds. */
#define HEAP_SLACK (4u << 20)

/* The sanitizers' runtime has this. */
extern size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

struct level {
	int fds;
	uint32_t ios; /* in flight on the loop, or about to be */
	size_t heap;
};

static struct {
	struct vdb_loop *loop; /* NULL: no case goes on */
	struct bystander bystander;
	struct level before;
	uint64_t overtaken, largest;
	struct canary canaries[DISKS];
	unsigned disks;
	char said[256];
} arena;

/* ---- What there is ---- */

static uint32_t length_of(const struct vdb__list *list)
{
	const struct vdb__list *entry;
	uint32_t n = 0;

	for (entry = list->next; entry != list; entry = entry->next)
		n++;
	return n;
}

static int count_ios(void *arg)
{
	*(uint32_t *)arg = length_of(&arena.loop->inflight) + length_of(&arena.loop->backlog);
	return 0;
}

static size_t heap(void)
{
	if (__sanitizer_get_current_allocated_bytes)
		return __sanitizer_get_current_allocated_bytes();
	return mallinfo2().uordblks;
}

static struct level level(void)
{
	struct level now;

	bystander_call(arena.loop, count_ios, &now.ios);
	now.fds = leak_fds();
	now.heap = heap();
	return now;
}

static struct vdb_loop_stats loop_stats(void)
{
	struct vdb_loop_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_loop_stats(arena.loop, &stats), 0);
	return stats;
}

/* ---- What must be true ---- */

static const char *say(const char *what, uint64_t is, uint64_t should)
{
	(void)snprintf(arena.said, sizeof(arena.said), "%s: %llu, not %llu", what, (unsigned long long)is,
	               (unsigned long long)should);
	return arena.said;
}

static const char *bystander_fares(unsigned ms)
{
	if (!bystander_goes_on(&arena.bystander, BEATS, ms) && !bystander_wrong(&arena.bystander))
		return say("the bystander is not served any more: beats so far", arena.bystander.beats,
		           arena.bystander.beats + BEATS);
	return bystander_wrong(&arena.bystander);
}

/* Between becoming ready and being served: at most one budget of every other. */
static const char *shares_are_fair(void)
{
	struct vdb_loop_stats stats = loop_stats();
	uint64_t requests = arena.loop->quantum / arena.loop->request_cost + 1;
	uint64_t bytes = arena.loop->quantum + arena.largest;

	if (stats.overtaken != arena.overtaken)
		return say("somebody was served twice while another waited", stats.overtaken,
		           arena.overtaken);
	if (stats.visit_requests > requests)
		return say("requests served in one visit", stats.visit_requests, requests);
	if (stats.visit_most > bytes)
		return say("bytes served in one visit", stats.visit_most, bytes);
	return NULL;
}

static const char *above(const struct level *now)
{
	const struct level *before = &arena.before;

	if (now->ios > before->ios)
		return say("operations in flight", now->ios, before->ios);
	if (now->fds > before->fds)
		return say("open fds", (uint64_t)now->fds, (uint64_t)before->fds);
	if (now->heap > before->heap + HEAP_SLACK)
		return say("bytes of heap", now->heap, before->heap);
	return NULL;
}

/* What was closed a moment ago may still be with the kernel. */
static const char *all_is_back(unsigned ms)
{
	uint64_t end = vdb__now() + ms * UINT64_C(1000000);
	struct level now = level();

	while (above(&now) && vdb__now() < end) {
		bystander_pass(arena.loop);
		now = level();
	}
	return above(&now);
}

static const char *canaries_live(void)
{
	const char *dead = NULL;

	for (unsigned i = 0; i < arena.disks && !dead; i++)
		dead = canary_dead(&arena.canaries[i]);
	return dead;
}

const char *arena_verdict(unsigned ms)
{
	const char *wrong = bystander_fares(ms);

	if (!wrong)
		wrong = all_is_back(ms);
	if (!wrong)
		wrong = shares_are_fair();
	return wrong ? wrong : canaries_live();
}

/* ---- A case ---- */

/* The rig may have begun it. */
void arena_begin(struct vdb_loop *loop)
{
	if (arena.loop == loop) {
		arena.before = level();
		return;
	}
	ck_assert_msg(!arena.loop, "a case goes on already");
	arena.loop = loop;
	bystander_join(&arena.bystander, loop);
	arena.largest = loop->quantum;
	arena.overtaken = loop_stats().overtaken;
	arena.before = level();
}

void arena_goes_on(void)
{
	const char *wrong = bystander_fares(PATIENCE_MS);

	ck_assert_msg(!wrong, "%s", wrong);
}

void arena_largest(uint64_t bytes)
{
	arena.largest = bytes;
}

void arena_end(void)
{
	const char *wrong = arena_verdict(PATIENCE_MS);

	ck_assert_msg(!wrong, "%s", wrong);
	bystander_leave(&arena.bystander);
	arena.loop = NULL;
	while (arena.disks)
		canary_forget(&arena.canaries[--arena.disks]);
}

void arena_begin_case(struct vdb_loop *loop)
{
	const char *name = getenv("VDB_TEST_CASE");

	if (name && name[0] == 'g' && !arena.loop)
		arena_begin(loop);
}

void arena_end_case(const struct vdb_loop *loop)
{
	if (arena.loop && arena.loop == loop)
		arena_end();
}

void arena_rest(const struct vdb_loop *loop)
{
	if (arena.loop && arena.loop == loop)
		bystander_rest(&arena.bystander);
}

void arena_resume(const struct vdb_loop *loop)
{
	if (arena.loop && arena.loop == loop)
		bystander_resume(&arena.bystander);
}

void arena_spare(const char *why)
{
	if (!arena.loop)
		return;
	(void)fprintf(stderr, "no bystander: %s\n", why);
	bystander_leave(&arena.bystander);
	arena.loop = NULL;
}

/* ---- Disks ---- */

static struct canary *next_disk(void)
{
	ck_assert_uint_lt(arena.disks, DISKS);
	return &arena.canaries[arena.disks++];
}

struct vdb_backend *arena_memory(uint64_t capacity)
{
	return canary_memory(next_disk(), capacity);
}

struct vdb_backend *arena_file(uint64_t capacity, uint32_t vdb_file_flags)
{
	arena.before.fds += 2; /* its own and the backend's */
	return canary_file(next_disk(), capacity, vdb_file_flags);
}

static const struct canary *last_disk(void)
{
	ck_assert_uint_gt(arena.disks, 0);
	return &arena.canaries[arena.disks - 1];
}

void arena_read(uint64_t offset, void *to, uint64_t len)
{
	canary_read(last_disk(), offset, to, len);
}

uint8_t *arena_disk(void)
{
	return last_disk()->memory;
}

int arena_fd(void)
{
	return last_disk()->fd;
}
