/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of virtio-net for bare-metal guests that poll: a receive and a transmit queue, one
 * buffer a descriptor, header and frame in it together, which needs no more than one descriptor for a frame
 * that is sent. A buffer belongs to the id that its descriptor has.
 *
 *     nic_open(&nic, features)                queues are there, empty
 *     nic_give(&nic); virtq_publish(&nic.rx)  all free receive buffers
 *     frame = nic_frame(&nic)                 where the next one to send is written; NULL: no room
 *     nic_send(&nic, len)                     that it is to be sent
 *     nic_sent(&nic)                          how many more have been
 *     nic_next(&nic)                          the next that has arrived is in nic->got
 */
#ifndef EXAMPLES_GUEST_NIC_H
#define EXAMPLES_GUEST_NIC_H

#include <linux/virtio_net.h>

#include "net_frames.h"
#include "runtime.h"
#include "virtq.h"

#define NIC_HEADER ((uint32_t)sizeof(struct virtio_net_hdr_v1))
#define NIC_DISARM_EVERY 8192u /* see virtq_split_disarm() */

/* A frame that came, in as many buffers as it took; the first has the header as well. */
struct nic_got {
	uint32_t len;   /* of the frame */
	uint32_t first; /* bytes of it in the first buffer */
	uint8_t *frame; /* where it begins; valid until nic_give() */
	uint8_t *copy;  /* all of it, if the nic has somewhere to copy it to */
};

struct nic {
	struct virtio dev;
	struct virtq rx, tx;
	uint8_t *rx_buffers, *tx_buffers;
	uint32_t rx_step, tx_step; /* bytes of a buffer */
	uint8_t *whole;            /* NET_FRAME_MAX bytes for nic_got.copy, or NULL */
	uint16_t size, vector;     /* of each queue: entries at most, MSI-X */
	bool mergeable;
	struct nic_got got;
	uint64_t taken, disarmed, rung;
	uint64_t wrong; /* what the device did that no device does */
};

static inline bool nic_queue(struct nic *nic, struct virtq *q, uint16_t index, uint8_t *memory)
{
	uint16_t size = nic->dev.ops->queue_max(&nic->dev, index);

	virtq_init(q, &nic->dev, index, size < nic->size ? size : nic->size, memory);
	virtq_disarm(q);
	return virtq_enable(q, nic->vector);
}

/* nic->dev was found, and all above `mergeable` set. `memory`: 32 KiB for the queues. NULL: well; else what
 * is wrong, which it is, too, if the device lacks one of the features. */
static inline const char *nic_open(struct nic *nic, uint64_t features, uint8_t *memory)
{
	if (!virtio_negotiate(&nic->dev, features))
		return "the network device refuses the features";
	if ((nic->dev.features & features) != features)
		return "the network device lacks a feature";
	nic->mergeable = virtio_has(&nic->dev, VIRTIO_NET_F_MRG_RXBUF);
	if (!nic_queue(nic, &nic->rx, 0, memory) || !nic_queue(nic, &nic->tx, 1, memory + 16384) ||
	    !virtio_drive(&nic->dev))
		return "the network device does not go on";
	return (const char *)0;
}

static inline void nic_publish(struct nic *nic, struct virtq *q)
{
	if (q->added)
		nic->rung += virtq_publish(q);
}

/* Now and then: interrupts are not wanted still. */
static inline void nic_keep_quiet(struct nic *nic)
{
	if (++nic->taken - nic->disarmed < NIC_DISARM_EVERY)
		return;
	nic->disarmed = nic->taken;
	virtq_disarm(&nic->rx);
	virtq_disarm(&nic->tx);
}

/* ---- Receiving ---- */

/* One more buffer, if a descriptor is free. */
static inline bool nic_give_one(struct nic *nic)
{
	struct virtq_buffer buffer = {.len = nic->rx_step, .write = 1};

	if (!nic->rx.free)
		return false;
	buffer.addr = (uintptr_t)nic->rx_buffers + (uint64_t)nic->rx.head * nic->rx_step;
	return virtq_add(&nic->rx, &buffer, 1) >= 0;
}

static inline void nic_give(struct nic *nic)
{
	while (nic_give_one(nic))
		;
	nic_publish(nic, &nic->rx);
}

static inline void nic_copy(struct nic *nic, const uint8_t *from, uint32_t len)
{
	if (!nic->whole || nic->got.len + len > NET_FRAME_MAX)
		return;
	for (uint32_t i = 0; i < len; i++)
		nic->whole[nic->got.len + i] = ((volatile const uint8_t *)from)[i];
}

static inline void nic_await(struct virtq *q, int *id, uint32_t *len)
{
	while ((*id = virtq_take(q, len)) < 0)
		guest_pause();
}

/* The buffers of a frame are used together, so the rest of them need no waiting in fact. */
static inline void nic_rest(struct nic *nic, uint16_t buffers)
{
	uint32_t len;
	int id;

	for (uint16_t i = 1; i < buffers; i++) {
		nic_await(&nic->rx, &id, &len);
		nic_copy(nic, nic->rx_buffers + (uint64_t)id * nic->rx_step, len);
		nic->got.len += len;
	}
}

static inline bool nic_next(struct nic *nic)
{
	const volatile struct virtio_net_hdr_v1 *header;
	uint16_t buffers;
	uint32_t len;
	uint8_t *at;
	int id = virtq_take(&nic->rx, &len);

	if (id < 0)
		return false;
	at = nic->rx_buffers + (uint64_t)id * nic->rx_step;
	header = (const volatile struct virtio_net_hdr_v1 *)(void *)at;
	buffers = nic->mergeable ? header->num_buffers : 1;
	nic->wrong += len <= NIC_HEADER || len > nic->rx_step || !buffers || buffers > nic->rx.size;
	nic->got = (struct nic_got){.frame = at + NIC_HEADER, .copy = nic->whole};
	nic_copy(nic, nic->got.frame, len - NIC_HEADER);
	nic->got.first = nic->got.len = len - NIC_HEADER;
	nic_rest(nic, buffers);
	nic_keep_quiet(nic);
	return true;
}

/* ---- Sending ---- */

static inline uint8_t *nic_frame(const struct nic *nic)
{
	if (!nic->tx.free)
		return (uint8_t *)0;
	return nic->tx_buffers + (uint64_t)nic->tx.head * nic->tx_step + NIC_HEADER;
}

/* The header as drivers write it for each frame; `segment`: TCP/IPv4 data a segment, 0 = as it is. */
static inline void nic_send(struct nic *nic, uint32_t len, uint16_t segment)
{
	uint8_t *at = nic->tx_buffers + (uint64_t)nic->tx.head * nic->tx_step;
	struct virtio_net_hdr_v1 *header = (struct virtio_net_hdr_v1 *)(void *)at;
	struct virtq_buffer buffer = {.addr = (uintptr_t)at, .len = NIC_HEADER + len};

	*header = (struct virtio_net_hdr_v1){0};
	if (segment) {
		header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		header->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		header->gso_size = segment;
		header->hdr_len = NET_HEADER + NET_IP + NET_TCP;
		header->csum_start = NET_HEADER + NET_IP;
		header->csum_offset = 16;
	}
	(void)virtq_add(&nic->tx, &buffer, 1);
}

static inline uint32_t nic_sent(struct nic *nic)
{
	uint32_t n = 0, len;

	while (virtq_take(&nic->tx, &len) >= 0) {
		nic_keep_quiet(nic);
		n++;
	}
	return n;
}

#endif
