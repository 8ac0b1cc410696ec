/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the tap to the guest, in bursts: as many reads as the last ones let expect are handed to the kernel
 * together, each straight into its room in the guest, and none waits. When a burst came full the next
 * follows, twice as large; when one of its reads found nothing the tap is polled, and not before.
 *
 * How long the next packet is nobody tells beforehand, and room for the longest would soon use up the guest's
 * ring. So a room is one buffer of the guest's or, while packets are large, as many as the longest needs; and
 * behind each lies a slot in host memory for what is longer. Such a packet's room is made larger, and the
 * rest copied; if the guest has no more room now, it and those that came after it wait in their slots, and
 * nothing is read until they are gone.
 *
 * A guest that takes no segments gets nothing longer than the MTU, and where that is less than a room no slot
 * is put behind it: one piece is read for less than two. The MTU may grow before we hear of it; what fills
 * such a room to the brim was longer, and is dropped.
 */
#include <poll.h>
#include <string.h>
#include <sys/mman.h>

#include "base/atomic.h"
#include "base/error.h"
#include "net/copy.h"
#include "net/tap.h"

#define ROOMS VDB_NET_ROOMS
#define SHORTEST (VDB_NET_HDR + 60u) /* one buffer, whatever its size */
#define LARGE 4096u
#define SLOT_BYTES (VDB_NET_MAX + 64u) /* what is longer than the longest shows */
#define FIRST_BURST 4u
#define PAUSE_NS 10000000u

/* A packet and what is behind its room. */
struct slot {
	uint32_t len;        /* of the packet that waits in its spill, 0 = none */
	struct iovec iov[2]; /* of a read: one buffer and the spill, as nearly always */
};

/* Untouched memory costs nothing, and most of this stays so. */
struct spill {
	struct iovec iov[VDB_NET_ROOM_IOV + 1]; /* of a read into a room of several pieces */
	uint8_t bytes[SLOT_BYTES];
} __attribute__((aligned(4096)));

/* What every read touches lies close together: a page, not one of each slot. */
struct vdb__tap_slots {
	struct slot at[ROOMS];
	struct spill spills[ROOMS];
};

/* ---- A burst ---- */

static void read_done(struct vdb_io *io, int64_t result);

static struct vdb__tap_queue *queue_of(const struct vdb_net_room *room)
{
	return (struct vdb__tap_queue *)(uintptr_t)room->scratch[0];
}

static struct slot *slot_of(const struct vdb_net_room *room)
{
	return (struct slot *)(uintptr_t)room->scratch[1];
}

static struct spill *spill_of(const struct vdb__tap_queue *queue, const struct slot *slot)
{
	return &queue->slots->spills[slot - queue->slots->at];
}

/* Nothing longer comes, unless the MTU has just grown. */
static bool is_ample(const struct vdb__tap *tap, const struct vdb_net_room *room)
{
	return room->len >= SLOT_BYTES ||
	       (!vdb__load(&tap->segments) && room->len > vdb__load(&tap->longest));
}

static void start_read(struct vdb__tap_queue *queue, struct vdb_net_room *room, struct slot *slot)
{
	struct spill *spill = spill_of(queue, slot);
	struct iovec *iov = room->niov == 1 ? slot->iov : spill->iov;
	uint32_t niov = room->niov;

	slot->len = 0;
	for (uint32_t i = 0; i < niov; i++)
		iov[i] = room->iov[i];
	if (!is_ample(queue->tap, room))
		iov[niov++] = (struct iovec){spill->bytes + room->len, SLOT_BYTES - room->len};
	room->scratch[0] = (uintptr_t)queue;
	room->scratch[1] = (uintptr_t)slot;
	room->io = (struct vdb_io){
	        .op = VDB_IO_READV,
	        .fd = queue->fd->fd,
	        .iov = iov,
	        .niov = niov,
	        .file = queue->file,
	        .flags = VDB_IO_NOWAIT,
	        .offset = UINT64_MAX,
	        .done = read_done,
	};
	queue->reading++;
	vdb_io_submit(queue->loop, &room->io);
}

static void start_burst(struct vdb__tap_queue *queue)
{
	struct vdb_net_room *room;
	uint32_t count = 0;

	queue->filled = queue->longest = 0;
	queue->failed = false;
	queue->spilled = queue->spilled_end = 0;
	for (; count < queue->burst && !vdb_net_take(queue->pair, queue->large ? 0 : SHORTEST, &room);
	     count++)
		start_read(queue, room, &queue->slots->at[count]);
	queue->started = count;
	vdb__count(&queue->stats.reads, count);
	vdb__count(&queue->stats.bursts, count > 0);
	if (!count && queue->pair)
		vdb_net_wake(queue->pair, queue->burst);
}

/* ---- Packets that wait for room ---- */

/* Out of its room, which is given back: the guest's queue may be about to end. */
static void spill(struct vdb__tap_queue *queue, struct vdb_net_room *room, uint32_t len)
{
	struct slot *slot = slot_of(room);
	uint32_t left = len < room->len ? len : room->len;
	uint8_t *to = spill_of(queue, slot)->bytes;

	for (uint32_t i = 0; left; i++) {
		uint32_t part = room->iov[i].iov_len < left ? (uint32_t)room->iov[i].iov_len : left;

		memcpy(to, room->iov[i].iov_base, part);
		to += part;
		left -= part;
	}
	slot->len = len;
	queue->spilled_end = (uint32_t)(slot - queue->slots->at) + 1;
	vdb__count(&queue->stats.spilled, 1);
	vdb_net_deliver(room, 0);
}

static bool has_spilled(const struct vdb__tap_queue *queue)
{
	return queue->spilled < queue->spilled_end;
}

static void put_spilled(struct vdb__tap_queue *queue)
{
	while (has_spilled(queue)) {
		struct slot *slot = &queue->slots->at[queue->spilled];
		struct iovec iov = {spill_of(queue, slot)->bytes, slot->len};

		if (slot->len && vdb_net_put(queue->pair, &iov, 1, slot->len) == -EAGAIN)
			return;
		queue->spilled++;
	}
}

/* ---- What a burst brought ---- */

/* What is behind the first `from` bytes lies in the slot. */
static void copy_rest(const struct vdb_net_room *room, uint32_t from, uint32_t len)
{
	const uint8_t *bytes = spill_of(queue_of(room), slot_of(room))->bytes;

	vdb__iov_put(room->iov, from, bytes + from, len - from);
}

static void arrived(struct vdb__tap_queue *queue, struct vdb_net_room *room, uint32_t len)
{
	uint32_t had = room->len;
	int err = 0;

	queue->filled++;
	if (len > queue->longest)
		queue->longest = len;
	if (has_spilled(queue)) {
		spill(queue, room, len);
		return;
	}
	if (len > had) {
		vdb__count(&queue->stats.copied, 1);
		err = vdb_net_grow(room, len);
		if (!err)
			copy_rest(room, had, len);
	}
	if (err == -EAGAIN) {
		queue->spilled = (uint32_t)(slot_of(room) - queue->slots->at);
		spill(queue, room, len);
	} else {
		vdb_net_deliver(room, err ? err : (int64_t)len);
	}
}

static void read_failed(struct vdb__tap_queue *queue, struct vdb_net_room *room, int64_t result)
{
	if (result == -EBADFD) {
		vdb__tap_gone(queue->tap);
	} else if (result != -ECANCELED) {
		vdb__count(&queue->stats.failed, 1);
		queue->failed = true;
		vdb_net_deliver(room, result ? result : -EIO);
		return;
	}
	vdb_net_deliver(room, 0);
}

/* The number grows as long as bursts come full, and shrinks towards what they bring. */
static void adapt(struct vdb__tap_queue *queue)
{
	if (queue->filled == queue->started)
		queue->burst = queue->burst < VDB__TAP_BURST / 2 ? 2 * queue->burst : VDB__TAP_BURST;
	else
		queue->burst = (queue->burst + queue->filled + 2) / 2;
	if (queue->filled)
		queue->large = queue->longest > LARGE;
}

static void burst_ended(struct vdb__tap_queue *queue)
{
	bool full = queue->filled == queue->started;

	adapt(queue);
	if (vdb__load(&queue->tap->gone))
		vdb_net_wake(queue->pair, 0);
	else if (has_spilled(queue))
		vdb_net_wake(queue->pair, queue->spilled_end - queue->spilled);
	else if (queue->failed)
		vdb_timer_arm(queue->pause, PAUSE_NS);
	else if (full)
		vdb_net_wake(queue->pair, queue->burst);
	else
		vdb__tap_listen(queue);
}

/* Nothing was behind the room, and it is full: the kernel has cut something off. */
static bool was_cut(const struct vdb_net_room *room, int64_t result)
{
	return result > VDB_NET_MAX || (result == room->len && room->io.niov == room->niov);
}

static void read_done(struct vdb_io *io, int64_t result)
{
	struct vdb_net_room *room = vdb__container(io, struct vdb_net_room, io);
	struct vdb__tap_queue *queue = queue_of(room);
	bool last = --queue->reading == 0;
	uint32_t life = queue->life; /* with the last one the pair may be closed, and opened again */

	if (was_cut(room, result)) {
		vdb__store(&queue->tap->longest, UINT32_MAX);
		queue->filled++;
		vdb_net_deliver(room, -EMSGSIZE);
	} else if (result > 0) {
		arrived(queue, room, (uint32_t)result);
	} else if (result == -EAGAIN) {
		vdb__count(&queue->stats.vain, 1);
		vdb_net_deliver(room, 0);
	} else {
		read_failed(queue, room, result);
	}
	if (last && queue->pair && queue->life == life)
		burst_ended(queue);
}

/* ---- The queue ---- */

void vdb__tap_listen(struct vdb__tap_queue *queue)
{
	vdb_net_wake(queue->pair, 0);
	vdb__await_start(queue->readable, POLLIN);
}

void vdb__tap_receive(void *ctx, uint32_t index)
{
	struct vdb__tap_queue *queue = &((struct vdb__tap *)ctx)->queues[index];

	if (queue->reading || vdb__load(&queue->tap->gone))
		return;
	put_spilled(queue);
	if (!queue->pair)
		return; /* while asking for room it was found that the guest is through with it */
	if (has_spilled(queue))
		vdb_net_wake(queue->pair, queue->spilled_end - queue->spilled);
	else
		start_burst(queue);
}

/* Also with the -errno of a poll that failed: reading tells more. */
static void readable(void *arg, int error)
{
	struct vdb__tap_queue *queue = arg;

	(void)error;
	if (!vdb__tap_is_gone(queue->tap))
		vdb_net_wake(queue->pair, queue->burst);
}

static void go_on(void *arg)
{
	struct vdb__tap_queue *queue = arg;

	vdb_net_wake(queue->pair, queue->burst);
}

int vdb__tap_rx_begin(struct vdb__tap_queue *queue)
{
	void *slots = mmap(NULL, sizeof(*queue->slots), PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int err;

	if (slots == MAP_FAILED)
		return vdb__fail_sys(errno, "tap %s: %zu bytes for bursts", queue->tap->name,
		                     sizeof(*queue->slots));
	queue->slots = slots;
	queue->burst = FIRST_BURST;
	queue->large = false;
	queue->reading = 0;
	queue->life++;
	queue->spilled = queue->spilled_end = 0;
	err = vdb_timer_create(queue->loop, go_on, queue, &queue->pause);
	return err ? err : vdb__await_create(queue->loop, queue->fd, readable, queue, &queue->readable);
}

void vdb__tap_rx_end(struct vdb__tap_queue *queue)
{
	vdb__await_drop(queue->readable);
	queue->readable = NULL;
	vdb_timer_destroy(queue->pause);
	queue->pause = NULL;
	if (queue->slots)
		munmap(queue->slots, sizeof(*queue->slots));
	queue->slots = NULL;
}
