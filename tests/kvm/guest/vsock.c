/* SPDX-License-Identifier: Apache-2.0 */
/* Finds virtio-vsock behind mmio registers at arg0, and does what vsock_abi.h says. */
#include "vsock_abi.h"

#include <linux/virtio_vsock.h>

#include "runtime.h"
#include "virtio_mmio.h"
#include "virtq.h"

enum { RX, TX, EVENT, QUEUES };

#define SIZE 128u    /* entries of a queue */
#define SLOT 8192u   /* bytes of a buffer's place */
#define BUFFER 4096u /* of it used */
#define HEADER ((uint32_t)sizeof(struct virtio_vsock_hdr))
#define PAYLOAD (BUFFER - HEADER)

#define TYPE_SEQPACKET 2u
#define EOM 1u
#define MESSAGES 8192u /* under way at once */

#define OWES_RESPONSE 1u
#define OWES_CREDIT 2u
#define OWES_SHUTDOWN 4u
#define OWES_RST 8u
#define OWES_REQUEST 16u

struct connection {
	uint32_t open, queued, ending; /* ending: the host has sent all */
	uint32_t type;
	uint32_t host_port, own_port;
	uint32_t owes;
	uint32_t peer_alloc, peer_taken, sent;
	uint32_t got, back; /* bytes from the host; of these, sent back */
};

static struct vsock_params *const params = (struct vsock_params *)VSOCK_PARAMS;
static struct virtq queues[QUEUES];
static struct connection all[VSOCK_CONNECTIONS];
static uint32_t ends[MESSAGES], ends_head, ends_count; /* of messages, by the count of bytes */
static uint16_t dirty[VSOCK_CONNECTIONS];              /* FIFO of those that have something to send */
static uint32_t dirty_head, dirty_count;
static uint32_t rx_slot[VIRTQ_MAX], tx_slot[VIRTQ_MAX]; /* of each id */
static uint32_t tx_free[SIZE], tx_free_count;

_Noreturn static void end(uint32_t status)
{
	guest_out32(VSOCK_PORT, status);
	__asm__ __volatile__("ud2");
	__builtin_unreachable();
}

static void copy(void *to, const void *from, uint64_t len)
{
	__asm__ __volatile__("rep movsb" : "+D"(to), "+S"(from), "+c"(len)::"memory");
}

static uint8_t *slot_at(uint32_t queue, uint32_t slot)
{
	return (uint8_t *)(uintptr_t)(VSOCK_MEMORY + (queue * SIZE + slot) * SLOT);
}

/* What a connection keeps: a ring of params->window bytes, by the counts of bytes. */
static uint8_t *kept_at(const struct connection *c, uint32_t count)
{
	uint32_t index = (uint32_t)(c - all);
	uintptr_t base = VSOCK_MEMORY + 2 * SIZE * SLOT + (uintptr_t)index * params->window;

	return (uint8_t *)(base + (count & (params->window - 1)));
}

/* From `count` on they lie together. */
static uint32_t together(uint32_t count)
{
	return params->window - (count & (params->window - 1));
}

/* ---- Sending ---- */

static void mark(struct connection *c)
{
	if (c->queued)
		return;
	c->queued = 1;
	dirty[(dirty_head + dirty_count++) % VSOCK_CONNECTIONS] = (uint16_t)(c - all);
}

static void owe(struct connection *c, uint32_t what)
{
	c->owes |= what;
	mark(c);
}

static void send(struct connection *c, uint16_t op, uint32_t flags, uint32_t len)
{
	uint32_t slot = tx_free[--tx_free_count];
	struct virtio_vsock_hdr *h = (struct virtio_vsock_hdr *)(void *)slot_at(TX, slot);
	const struct virtq_buffer buffer = {(uintptr_t)h, HEADER + len, 0};
	int id;

	*h = (struct virtio_vsock_hdr){
	        .src_cid = params->cid,
	        .dst_cid = 2,
	        .src_port = c->own_port,
	        .dst_port = c->host_port,
	        .len = len,
	        .type = (uint16_t)c->type,
	        .op = op,
	        .flags = flags,
	        .buf_alloc = params->window,
	        .fwd_cnt = c->back,
	};
	id = virtq_add(&queues[TX], &buffer, 1);
	if (id < 0)
		end(VSOCK_NO_ROOM);
	tx_slot[id] = slot;
}

static void closed(struct connection *c)
{
	c->open = 0;
	c->owes = 0;
	params->closed++;
}

/* As much of it as there is credit for, in one packet. */
static void send_back(struct connection *c)
{
	uint32_t len = c->got - c->back, credit = c->peer_alloc - (c->sent - c->peer_taken);
	uint8_t *to = slot_at(TX, tx_free[tx_free_count - 1]) + HEADER;
	uint32_t left = c->type == TYPE_SEQPACKET && ends_count ? ends[ends_head] - c->back : UINT32_MAX;

	/* One that has not come to its end may come back all the same. */
	if (len > left)
		len = left;
	if (len > credit)
		len = credit;
	if (len > PAYLOAD)
		len = PAYLOAD;
	if (len > together(c->back))
		len = together(c->back);
	if (!len)
		return;
	copy(to, kept_at(c, c->back), len);
	c->back += len;
	c->sent += len;
	c->owes &= ~OWES_CREDIT;
	params->bytes += len;
	send(c, VIRTIO_VSOCK_OP_RW, len == left ? EOM : 0, len);
	if (len == left) {
		ends_head = (ends_head + 1) % MESSAGES;
		ends_count--;
	}
	if (c->got != c->back)
		mark(c);
}

static bool pays(struct connection *c, uint32_t what)
{
	bool owed = c->owes & what;

	c->owes &= ~what;
	return owed;
}

static void send_next(struct connection *c)
{
	if (pays(c, OWES_REQUEST)) {
		send(c, VIRTIO_VSOCK_OP_REQUEST, 0, 0);
	} else if (pays(c, OWES_RST)) {
		send(c, VIRTIO_VSOCK_OP_RST, 0, 0);
		closed(c);
	} else if (pays(c, OWES_RESPONSE)) {
		send(c, VIRTIO_VSOCK_OP_RESPONSE, 0, 0);
	} else if (c->open && c->got != c->back) {
		send_back(c);
		return;
	} else if (pays(c, OWES_CREDIT)) {
		send(c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0);
	} else if (c->ending && pays(c, OWES_SHUTDOWN)) {
		send(c, VIRTIO_VSOCK_OP_SHUTDOWN, 3, 0);
	}
	if (c->owes || (c->open && c->got != c->back))
		mark(c);
}

static void transmit(void)
{
	uint32_t len, rounds = dirty_count;
	int id;

	while ((id = virtq_take(&queues[TX], &len)) >= 0)
		tx_free[tx_free_count++] = tx_slot[id];
	while (rounds-- && tx_free_count) {
		struct connection *c = &all[dirty[dirty_head]];

		dirty_head = (dirty_head + 1) % VSOCK_CONNECTIONS;
		dirty_count--;
		c->queued = 0;
		send_next(c);
	}
	virtq_publish(&queues[TX]);
}

/* ---- Receiving ---- */

static void take_end(const struct connection *c)
{
	if (ends_count == MESSAGES)
		end(VSOCK_NO_ROOM);
	ends[(ends_head + ends_count++) % MESSAGES] = c->got;
}

static void take_data(struct connection *c, const uint8_t *data, uint32_t len)
{
	uint32_t part;

	if (len > params->window - (c->got - c->back))
		end(VSOCK_BEYOND_CREDIT);
	for (; len; len -= part, data += part, c->got += part) {
		part = len < together(c->got) ? len : together(c->got);
		copy(kept_at(c, c->got), data, part);
	}
	mark(c);
}

static void open_connection(struct connection *c, const struct virtio_vsock_hdr *h)
{
	if (c->open)
		end(VSOCK_BAD_PACKET);
	*c = (struct connection){.open = 1,
	                         .queued = c->queued,
	                         .type = h->type,
	                         .host_port = h->src_port,
	                         .own_port = h->dst_port,
	                         .peer_alloc = h->buf_alloc};
	params->opened++;
	owe(c, OWES_RESPONSE);
}

static void shut_down(struct connection *c, uint32_t flags)
{
	c->ending = 1;
	/* All of it: what has not been sent back yet, nobody would read. */
	owe(c, flags & VIRTIO_VSOCK_SHUTDOWN_RCV ? OWES_RST : OWES_SHUTDOWN);
}

static void was_reset(struct connection *c)
{
	params->resets += !c->ending;
	closed(c);
}

static void take_packet(const struct virtio_vsock_hdr *h, uint32_t len)
{
	struct connection *c = &all[h->src_port % VSOCK_CONNECTIONS];

	params->wrong = h->op;
	if (len != HEADER + h->len || h->src_cid != 2 || h->dst_cid != params->cid)
		end(VSOCK_BAD_PACKET);
	if (h->op == VIRTIO_VSOCK_OP_REQUEST) {
		open_connection(c, h);
		return;
	}
	if (!c->open || c->host_port != h->src_port || c->own_port != h->dst_port)
		return; /* of one that has ended */
	c->peer_alloc = h->buf_alloc;
	c->peer_taken = h->fwd_cnt;
	if (h->op == VIRTIO_VSOCK_OP_RW)
		take_data(c, (const uint8_t *)(h + 1), h->len);
	if (h->op == VIRTIO_VSOCK_OP_RW && c->type == TYPE_SEQPACKET && h->flags & EOM)
		take_end(c);
	if (h->op == VIRTIO_VSOCK_OP_CREDIT_REQUEST)
		owe(c, OWES_CREDIT);
	else if (h->op == VIRTIO_VSOCK_OP_SHUTDOWN)
		shut_down(c, h->flags);
	else if (h->op == VIRTIO_VSOCK_OP_RST)
		was_reset(c);
	else if (h->op == VIRTIO_VSOCK_OP_RESPONSE)
		params->opened++;
	if (c->open && c->got != c->back)
		mark(c); /* there may be credit now */
}

static void give(uint32_t slot)
{
	const struct virtq_buffer buffer = {(uintptr_t)slot_at(RX, slot), BUFFER, 1};
	int id = virtq_add(&queues[RX], &buffer, 1);

	if (id < 0)
		end(VSOCK_NO_ROOM);
	rx_slot[id] = slot;
}

static void receive(void)
{
	uint32_t len = 0;
	int id;

	while ((id = virtq_take(&queues[RX], &len)) >= 0) {
		take_packet((const struct virtio_vsock_hdr *)(void *)slot_at(RX, rx_slot[id]), len);
		give(rx_slot[id]);
	}
	virtq_publish(&queues[RX]);
}

/* ---- All of it ---- */

static void set_up(struct virtio *dev)
{
	if (dev->id != 19)
		end(VSOCK_NOT_FOUND);
	if (!virtio_negotiate(dev, params->features))
		end(VSOCK_REFUSED);
	params->cid = virtio_config64(dev, 0);
	for (uint16_t i = 0; i < QUEUES; i++) {
		virtq_init(&queues[i], dev, i, SIZE, (void *)(uintptr_t)(VSOCK_RINGS + i * VSOCK_RING));
		virtq_disarm(&queues[i]);
		if (!virtq_enable(&queues[i], VIRTIO_NO_VECTOR))
			end(VSOCK_REFUSED);
	}
	if (!virtio_drive(dev))
		end(VSOCK_REFUSED);
	for (uint32_t i = 0; i < SIZE; i++) {
		tx_free[tx_free_count++] = i;
		give(i);
	}
	virtq_publish(&queues[RX]);
}

static void connect_to(uint32_t port)
{
	struct connection *c = &all[port % VSOCK_CONNECTIONS];

	*c = (struct connection){
	        .open = 1, .type = VIRTIO_VSOCK_TYPE_STREAM, .host_port = port, .own_port = 4000};
	owe(c, OWES_REQUEST);
}

_Noreturn void guest_main(uint64_t base, uint64_t unused1, uint64_t unused2)
{
	struct virtio dev;

	(void)unused1;
	(void)unused2;
	if (!virtio_mmio_find(&dev, base))
		end(VSOCK_NOT_FOUND);
	set_up(&dev);
	if (params->connect)
		connect_to(params->connect);
	while (params->closed < params->ends || dirty_count) {
		receive();
		transmit();
		guest_pause();
	}
	virtio_reset(&dev);
	end(VSOCK_OK);
}
