/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where hostile guests and failing hosts are let loose: what must be true of every case, whatever it plays.
 *
 *     setup:     ... the rig, whose loop is `loop` ...    blk_rig_open(&r, arena_file(1 << 20, 0), ...)
 *                arena_begin(loop);
 *     teardown:  arena_end();                             while that loop is still there
 *                ... the rig ...
 *
 * Rigs that make their loop by rig.h or virtio_rig.h need not even that: when ctest plays a case of a hostile
 * guest by its name (VDB_TEST_CASE=g..., see cases.c), they begin as soon as the loop is there, and end just
 * before it goes. A case for which that is no place says so: arena_spare("why").
 *
 * Between the two a bystander (bystander.h), a tenant of its own, works on the same loop and checks all that
 * it reads. arena_end() holds that
 *
 *   - it goes on, and none of its requests failed or found other than it had written;
 *   - whoever had work on the loop was served after at most one budget (bytes, requests) of every other: what
 *     vdb_loop_stats calls overtaken is 0, and no visit was longer than a budget and its last request;
 *   - fds, operations in flight and the heap are back at what they were when the case began: end what the
 *     case has begun before;
 *   - the canaries round the disks are alive: those of arena_memory() and arena_file(), see canary.h.
 *
 * Guest memory of mock_ram has unmapped memory on both sides, whoever opens it. Works with a loop that the
 * test steps and with one that has a thread, of either engine; add ENGINES to the test's head. One at a time
 * in a process (Check forks for each test). Counts only: nothing here depends on how fast the machine is.
 *
 * The bystander wakes the loop every other millisecond: a test that counts what a loop does alone, or waits
 * for it to sleep for good, is no place for it.
 */
#ifndef ARENA_H
#define ARENA_H

#include <stdint.h>
#include <vdb/backend.h>
#include <vdb/loop.h>

void arena_begin(struct vdb_loop *loop);
void arena_end(void);

/* For rigs. Does nothing but in a case of a hostile guest that is played alone, nor where one goes on
 * already. */
void arena_begin_case(struct vdb_loop *loop);
void arena_end_case(const struct vdb_loop *loop);
/* For rigs that wait until the loop sleeps: the bystander rests between the two. */
void arena_rest(const struct vdb_loop *loop);
void arena_resume(const struct vdb_loop *loop);
/* No bystander from now on; the reason is printed. Canaries still count. */
void arena_spare(const char *why);

/* In the midst of a case: the bystander does something more. */
void arena_goes_on(void);

/* Bytes that one request of the case may cost beyond a budget; at first a quantum of the loop. */
void arena_largest(uint64_t bytes);

/* A disk with canaries, made before the case begins; the backend is the caller's. NULL as canary_file(). */
struct vdb_backend *arena_memory(uint64_t capacity);
struct vdb_backend *arena_file(uint64_t capacity, uint32_t vdb_file_flags);
/* Of the disk made last: its bytes, its memory, its file. */
void arena_read(uint64_t offset, void *to, uint64_t len);
uint8_t *arena_disk(void);
int arena_fd(void);

/* For the test of this: what arena_end() would fail with, NULL: nothing. Waits at most `ms` for what is late.
 */
const char *arena_verdict(unsigned ms);

#endif
