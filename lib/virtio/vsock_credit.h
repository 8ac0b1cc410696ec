/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credit of one connection (virtio 1.2, 5.10.6.3), both ways. Counters of bytes run modulo 2^32, and the
 * guest's may say anything: whatever it says, no difference here is taken for more than it can be.
 */
#ifndef VDB_VIRTIO_VSOCK_CREDIT_H
#define VDB_VIRTIO_VSOCK_CREDIT_H

#include <stdbool.h>
#include <stdint.h>

/* No more than this is ever under way to the guest, so that of two of its counters the later one is known. */
#define VDB__VSOCK_MOST 0x7fffffffu

struct vdb__vsock_credit {
	/* To the guest. */
	uint32_t sent;       /* bytes, ever */
	uint32_t peer_taken; /* of these, as far as it has said: the latest fwd_cnt */
	uint32_t peer_alloc; /* the last buf_alloc, at most VDB__VSOCK_MOST */
	/* From the guest. */
	uint32_t got;       /* bytes, ever */
	uint32_t forwarded; /* of these, our fwd_cnt */
	uint32_t told;      /* the fwd_cnt that was sent last */
	uint32_t window;    /* our buf_alloc; does not change */
};

/* Bytes that may be sent to the guest. It may have taken back what it had promised. */
static inline uint32_t vdb__vsock_room(const struct vdb__vsock_credit *c)
{
	uint32_t under_way = c->sent - c->peer_taken;

	return c->peer_alloc > under_way ? c->peer_alloc - under_way : 0;
}

/* False: it says that it has taken what was never sent. An older count than the last is late, and harmless:
 * a driver may send from several CPUs. */
static inline bool vdb__vsock_peer_says(struct vdb__vsock_credit *c, uint32_t alloc, uint32_t taken)
{
	uint32_t step = taken - c->peer_taken, under_way = c->sent - c->peer_taken;

	c->peer_alloc = alloc < VDB__VSOCK_MOST ? alloc : VDB__VSOCK_MOST;
	if (step > VDB__VSOCK_MOST)
		return true;
	if (step > under_way)
		return false;
	c->peer_taken = taken;
	return true;
}

/* Bytes that the guest may send. */
static inline uint32_t vdb__vsock_window(const struct vdb__vsock_credit *c)
{
	return c->window - (c->got - c->forwarded);
}

/* It should hear of what has been forwarded: half of the window is more than it knows. */
static inline bool vdb__vsock_must_tell(const struct vdb__vsock_credit *c)
{
	return c->forwarded - c->told >= c->window / 2;
}

/* The same where the guest may have to wait for more than half of the window to be able to end a message, of
 * which nothing is forwarded before: what it knows of is half used up, and there is something to hear. */
static inline bool vdb__vsock_must_tell_early(const struct vdb__vsock_credit *c)
{
	return c->forwarded != c->told && c->got - c->told > c->window / 2;
}

#endif
