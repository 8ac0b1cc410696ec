/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the guest to the tap: each packet is one write, straight from guest memory; those of a visit are
 * handed to the kernel together. Small ones are copied behind their header: reading an iovec takes the kernel
 * longer.
 *
 * A tap's write waits for nothing unless somebody gave it a send buffer (sndbuf) that is full, which is their
 * way to slow the guest down: such packets, and those after them, wait too. But not for ever: one that made
 * no progress for PATIENCE_NS is dropped, as a switch does it with a port that is stuck, so that the guest's
 * queue is never held by somebody outside.
 */
#include <poll.h>
#include <stdlib.h>

#include "base/atomic.h"
#include "base/error.h"
#include "io/request.h"
#include "net/copy.h"
#include "net/tap.h"

#define PATIENCE_NS 1000000000u
#define RETRY_NS 10000000u /* where a poll promises room that is not there */
#define RETRIES 100u
#define SMALL 240u /* bytes that are copied, header included */
#define SMALLS 64u /* of them under way; a turn has half as many */

/* A packet in one piece. */
struct small {
	struct iovec iov;
	union {
		struct small *next; /* while it is free */
		uint8_t bytes[SMALL];
	};
};

struct vdb__tap_smalls {
	struct small *free;
	struct small at[SMALLS];
};

static void write_done(struct vdb_io *io, int64_t result);

/* ---- What a packet's scratch has ---- */

enum {
	QUEUE = VDB_NET_SCRATCH,
	LINK, /* and the word after */
	RETRYING = LINK + 2,
};

static struct vdb__list *link_of(struct vdb_req *packet)
{
	return (struct vdb__list *)(void *)&packet->scratch[LINK];
}

static struct vdb_req *packet_of(struct vdb__list *link)
{
	return (struct vdb_req *)(void *)((char *)link - offsetof(struct vdb_req, scratch[LINK]));
}

static struct vdb__tap_queue *queue_of(const struct vdb_req *packet)
{
	return (struct vdb__tap_queue *)(uintptr_t)packet->scratch[QUEUE];
}

/* ---- In one piece ---- */

/* What is to be written, until it is finished. */
static void gather(struct vdb__tap_queue *queue, struct vdb_req *packet)
{
	struct small *small = queue->smalls->free;

	packet->io.iov = packet->iov;
	packet->io.niov = packet->niov;
	if (!small || packet->readable > SMALL)
		return;
	queue->smalls->free = small->next;
	queue->copies++;
	vdb__iov_get(packet->iov, 0, small->bytes, packet->readable);
	small->iov = (struct iovec){small->bytes, packet->readable};
	packet->io.iov = &small->iov;
	packet->io.niov = 1;
}

static void finish(struct vdb__tap_queue *queue, struct vdb_req *packet, int32_t result)
{
	struct small *small;

	if (packet->io.iov != packet->iov) {
		small = vdb__container(packet->io.iov, struct small, iov);
		small->next = queue->smalls->free;
		queue->smalls->free = small;
		queue->copies--;
	}
	vdb_net_sent(queue->pair, packet, result);
}

/* ---- Writing ---- */

static void submit(struct vdb__tap_queue *queue, struct vdb_req *packet)
{
	packet->io = (struct vdb_io){
	        .op = VDB_IO_WRITEV,
	        .fd = queue->fd->fd,
	        .iov = packet->io.iov,
	        .niov = packet->io.niov,
	        .file = queue->file,
	        .flags = VDB_IO_NOWAIT,
	        .offset = UINT64_MAX,
	        .done = write_done,
	};
	vdb_io_submit(queue->loop, &packet->io);
}

static void be_patient(struct vdb__tap_queue *queue)
{
	queue->impatient = true;
	queue->retries = 0;
	vdb_timer_arm(queue->patience, PATIENCE_NS);
	vdb__await_start(queue->writable, POLLOUT);
}

static void wait_for_room(struct vdb__tap_queue *queue, struct vdb_req *packet, bool again)
{
	vdb__list_append(&queue->stalled, link_of(packet));
	if (!queue->impatient)
		be_patient(queue);
	if (!again || queue->retrying)
		return;
	/* The poll was wrong: by time from now on. */
	queue->retries++;
	vdb_timer_arm(queue->patience, RETRY_NS);
}

/* Something got through, or nobody waits. */
static void take_heart(struct vdb__tap_queue *queue)
{
	if (!queue->impatient)
		return;
	queue->impatient = false;
	if (vdb__list_empty(&queue->stalled))
		vdb_timer_disarm(queue->patience);
	else
		be_patient(queue);
}

static void write_done(struct vdb_io *io, int64_t result)
{
	struct vdb_req *packet = vdb__container(io, struct vdb_req, io);
	struct vdb__tap_queue *queue = queue_of(packet);
	bool retried = packet->scratch[RETRYING];

	queue->retrying -= retried;
	packet->scratch[RETRYING] = false;
	/* Who has been asked to end it does not ask again. */
	if (result == -EAGAIN && !((struct vdb__request *)packet)->cancelled) {
		vdb__count(&queue->stats.stalls, !retried);
		wait_for_room(queue, packet, retried);
		return;
	}
	if (result == -EBADFD)
		vdb__tap_gone(queue->tap);
	if (result < 0)
		vdb__count(&queue->stats.failed, 1);
	take_heart(queue);
	finish(queue, packet, result < 0 ? (int32_t)result : 0);
}

/* In order: none passes those that wait. One of the same visit may, if there is room again when its turn
 * comes; packets may do that. */
int vdb__tap_transmit(void *ctx, uint32_t index, struct vdb_req *packet)
{
	struct vdb__tap_queue *queue = &((struct vdb__tap *)ctx)->queues[index];

	if (vdb__load(&queue->tap->gone))
		return -ENODEV;
	packet->scratch[QUEUE] = (uintptr_t)queue;
	packet->scratch[RETRYING] = false;
	vdb__request_costs((struct vdb__request *)packet, VDB__TAP_COST);
	vdb__list_init(link_of(packet));
	gather(queue, packet);
	if (!queue->retrying && vdb__list_empty(&queue->stalled)) {
		submit(queue, packet);
	} else {
		vdb__count(&queue->stats.stalls, 1);
		wait_for_room(queue, packet, false);
	}
	return VDB_REQ_PENDING;
}

/* ---- Those that wait ---- */

static void retry(struct vdb__tap_queue *queue)
{
	struct vdb__list round, *link;

	vdb__list_init(&round);
	vdb__list_splice(&round, &queue->stalled);
	while ((link = vdb__list_pop(&round))) {
		struct vdb_req *packet = packet_of(link);

		packet->scratch[RETRYING] = true;
		queue->retrying++;
		submit(queue, packet);
	}
}

/* Also with the -errno of a poll that failed: writing tells more. */
static void writable(void *arg, int error)
{
	(void)error;
	retry(arg);
}

static void give_up(struct vdb__tap_queue *queue)
{
	struct vdb__list round, *link;

	queue->impatient = false;
	vdb__list_init(&round);
	vdb__list_splice(&round, &queue->stalled);
	while ((link = vdb__list_pop(&round))) {
		vdb__count(&queue->stats.failed, 1);
		finish(queue, packet_of(link), -EAGAIN);
	}
}

static void time_is_over(void *arg)
{
	struct vdb__tap_queue *queue = arg;

	if (!queue->retries || queue->retries > RETRIES)
		give_up(queue);
	else
		retry(queue);
}

/* What is in the kernel's hands comes back by itself. */
void vdb__tap_cancel(void *ctx, uint32_t index, struct vdb_req *packet)
{
	struct vdb__tap_queue *queue = &((struct vdb__tap *)ctx)->queues[index];

	if (vdb__list_empty(link_of(packet)))
		return;
	vdb__list_remove(link_of(packet));
	if (vdb__list_empty(&queue->stalled))
		take_heart(queue);
	finish(queue, packet, -ECANCELED);
}

/* ---- The queue ---- */

static struct vdb__tap_smalls *make_smalls(void)
{
	struct vdb__tap_smalls *smalls = calloc(1, sizeof(*smalls));

	for (uint32_t i = 0; smalls && i < SMALLS; i++) {
		smalls->at[i].next = smalls->free;
		smalls->free = &smalls->at[i];
	}
	return smalls;
}

int vdb__tap_tx_begin(struct vdb__tap_queue *queue)
{
	int err;

	queue->smalls = make_smalls();
	if (!queue->smalls)
		return vdb__fail(ENOMEM, "tap %s: no memory", queue->tap->name);
	queue->copies = 0;
	vdb__list_init(&queue->stalled);
	queue->retrying = 0;
	queue->impatient = false;
	err = vdb_timer_create(queue->loop, time_is_over, queue, &queue->patience);
	return err ? err : vdb__await_create(queue->loop, queue->fd, writable, queue, &queue->writable);
}

void vdb__tap_tx_end(struct vdb__tap_queue *queue)
{
	vdb__await_drop(queue->writable);
	queue->writable = NULL;
	vdb_timer_destroy(queue->patience);
	queue->patience = NULL;
	free(queue->smalls);
	queue->smalls = NULL;
}
