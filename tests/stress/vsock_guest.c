/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that drives a vsock device as Linux does. What programs send, and what answers a packet, goes one
 * after the other to the end of one list, which is put into the queue as that has room. While the list has as
 * many answers as the other queue is long, no packet is taken from that one (5.10.6.1), and its buffers are
 * given again when half of them have been used.
 */
#include <check.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "vsock_rig.h"
#include "vsock_talk.h"

#define RING 32u
#define BUFFER 1024u /* bytes of one, either way */
#define HEADER ((uint32_t)sizeof(struct virtio_vsock_hdr))
#define BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)
#define LIST 65536u
#define GIVES_UP 2.0 /* seconds after REQUEST, as Linux does: an answer may have been lost */
#define LAZY 500u    /* visits, at most, in which nothing is received */

struct packet {
	struct vsock_packet p;
	uint32_t talk, at; /* whose data, from where on */
	bool answer;
};

struct played_guest {
	struct stress *s;
	struct packet list[LIST];
	uint32_t first, count, answers;
	bool slot[RING];            /* places of the transmit queue that the device has */
	uint32_t used[RING], nused; /* buffers that it has used, and not been given again */
	uint32_t lazy;
};

struct played_guest *guest_make(struct stress *s)
{
	struct played_guest *g = calloc(1, sizeof(*g));

	if (!g)
		abort();
	g->s = s;
	for (uint32_t i = 0; i < RING; i++)
		g->used[g->nused++] = i;
	return g;
}

void guest_free(struct played_guest *g)
{
	free(g);
}

/* ---- To the device ---- */

static void queue(struct played_guest *g, const struct packet *packet)
{
	if (g->count == LIST)
		stress_wrong(NULL, "the guest's list is full");
	g->list[(g->first + g->count++) % LIST] = *packet;
	g->answers += packet->answer;
}

static void say(struct played_guest *g, struct talk *t, uint16_t op, uint32_t flags, uint32_t len,
                bool answer)
{
	struct packet packet = {.p = vsock_rig_packet(op, t->guest_port, t->host_port),
	                        .talk = t->id,
	                        .at = t->guest.sent,
	                        .answer = answer};

	packet.p.flags = flags;
	packet.p.len = len;
	packet.p.buf_alloc = t->alloc;
	packet.p.fwd_cnt = t->told = t->read;
	queue(g, &packet);
}

/* There is no such socket. */
static void refuse(struct played_guest *g, const struct vsock_packet *p)
{
	const struct packet packet = {.p = vsock_rig_packet(VIRTIO_VSOCK_OP_RST, p->dst_port, p->src_port),
	                              .answer = true};

	if (p->op != VIRTIO_VSOCK_OP_RST)
		queue(g, &packet);
}

/* Data is made here: it depends on nothing else. */
static void put(struct played_guest *g, uint32_t slot, const struct packet *packet)
{
	const struct talk t = {.id = packet->talk};
	uint8_t data[BUFFER];

	for (uint32_t i = 0; i < packet->p.len; i++)
		data[i] = talk_byte(&t, false, packet->at + i);
	g->s->rig->sent = slot; /* is the cookie */
	vsock_rig_push(g->s->rig, &packet->p, data, packet->p.len, slot * BUFFER);
	g->slot[slot] = true;
}

static void drop_first(struct played_guest *g)
{
	g->answers -= g->list[g->first].answer;
	g->first = (g->first + 1) % LIST;
	g->count--;
}

/* Who called has given up. */
static bool is_cancelled(struct played_guest *g, const struct packet *packet)
{
	const struct talk *t;

	if (packet->p.op != VIRTIO_VSOCK_OP_REQUEST)
		return false;
	t = stress_find(g->s, packet->talk);
	return !t || t->guest_state != GUEST_ASKS;
}

static void transmit(struct played_guest *g)
{
	struct virtq_driver *d = &g->s->rig->rig.driver[VSOCK_TX];
	uint64_t cookie;
	uint32_t len;

	while (virtq_reap(d, &cookie, &len)) {
		g->slot[cookie] = false;
		g->s->progress++;
	}
	for (uint32_t slot = 0; slot < RING && d->room >= 2; slot++) {
		while (g->count && is_cancelled(g, &g->list[g->first]))
			drop_first(g);
		if (g->slot[slot] || !g->count)
			continue;
		put(g, slot, &g->list[g->first]);
		drop_first(g);
	}
}

/* ---- From the device ---- */

static void gone(struct played_guest *g, struct talk *t)
{
	t->guest_state = GUEST_GONE;
	g->s->progress++;
}

static void on_request(struct played_guest *g, struct talk *t, const struct vsock_packet *p)
{
	t->host_port = p->src_port;
	t->guest_state = GUEST_OPEN;
	say(g, t, VIRTIO_VSOCK_OP_RESPONSE, 0, 0, true);
}

static void on_data(struct played_guest *g, struct talk *t, const struct vsock_packet *p, const uint8_t *data)
{
	if (p->len > t->alloc - (t->guest.got - t->read))
		stress_wrong(t, "the guest was sent more than it has room for");
	if (t->peer_shut & VIRTIO_VSOCK_SHUTDOWN_SEND)
		stress_wrong(t, "the guest was sent data after the end");
	for (uint32_t i = 0; i < p->len; i++)
		if (data[i] != talk_byte(t, true, t->guest.got + i))
			stress_wrong(t, "the guest was sent other bytes than the host has said");
	t->guest.got += p->len;
	g->s->to_guest += p->len;
}

static void on_end(struct played_guest *g, struct talk *t)
{
	/* Linux reads on when it has been told of the end before. */
	if (t->guest_state == GUEST_OPEN && t->peer_shut != BOTH)
		t->guest.reset = true;
	if (t->guest_state == GUEST_ASKS)
		g->s->refused++;
	gone(g, t);
}

static void on_packet(struct played_guest *g, struct talk *t, const struct vsock_packet *p,
                      const uint8_t *data)
{
	t->peer_alloc = p->buf_alloc;
	t->peer_taken = p->fwd_cnt;
	switch (p->op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		if (t->guest_state != GUEST_ASKS)
			stress_wrong(t, "RESPONSE to what was not asked");
		t->guest_state = GUEST_OPEN;
		t->was_open = true;
		break;
	case VIRTIO_VSOCK_OP_RST:
		on_end(g, t);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		t->peer_shut |= (uint8_t)p->flags;
		t->guest.ended = t->peer_shut & VIRTIO_VSOCK_SHUTDOWN_SEND;
		break;
	case VIRTIO_VSOCK_OP_RW:
		if (t->guest_state == GUEST_OPEN)
			on_data(g, t, p, data);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		say(g, t, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0, false);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	default:
		stress_wrong(t, "a packet that nobody knows");
	}
}

static struct talk *talk_of(struct played_guest *g, const struct vsock_packet *p)
{
	uint32_t port = p->dst_port;
	struct talk *t = stress_find(g->s, port - (port >= GUEST_CALLS ? GUEST_CALLS : GUEST_LISTENS));

	if (!t || t->guest_port != port || t->guest_state == GUEST_GONE)
		return NULL;
	if (t->guest_state != GUEST_NONE)
		return t->host_port == p->src_port ? t : NULL;
	return p->op == VIRTIO_VSOCK_OP_REQUEST && !t->nobody ? t : NULL;
}

static void take(struct played_guest *g, uint32_t buffer, uint32_t len)
{
	const uint8_t *at = mock_at(&g->s->rig->rig.ram, ready_rig_data(VSOCK_RX, buffer * BUFFER));
	struct vsock_packet p;
	struct talk *t;

	p = vsock_rig_parse(at);
	if (len != HEADER + p.len)
		stress_wrong(NULL, "the length of a packet is not what was used");
	t = talk_of(g, &p);
	g->s->progress++;
	if (!t)
		refuse(g, &p);
	else if (p.op == VIRTIO_VSOCK_OP_REQUEST)
		on_request(g, t, &p);
	else
		on_packet(g, t, &p, at + HEADER);
}

static void give(struct played_guest *g)
{
	struct virtq_driver *d = &g->s->rig->rig.driver[VSOCK_RX];

	if (g->nused < RING / 2)
		return;
	while (g->nused) {
		uint32_t i = g->used[--g->nused];
		const struct virtq_buf buf = {ready_rig_data(VSOCK_RX, i * BUFFER), BUFFER, true};

		if (!virtq_add(d, &buf, 1, i))
			stress_wrong(NULL, "the receive queue has no room for its buffers");
	}
	(void)virtq_publish(d);
}

static void receive(struct played_guest *g)
{
	struct virtq_driver *d = &g->s->rig->rig.driver[VSOCK_RX];
	uint64_t buffer;
	uint32_t len;

	if (g->lazy) {
		g->lazy--;
		return;
	}
	if (!stress_draw(g->s, 2000))
		g->lazy = stress_draw(g->s, LAZY);
	while (g->answers < RING && virtq_reap(d, &buffer, &len)) {
		g->used[g->nused++] = (uint32_t)buffer;
		take(g, (uint32_t)buffer, len);
	}
	g->s->held_back += g->answers >= RING;
	give(g);
}

void guest_drive(struct played_guest *g)
{
	receive(g);
	transmit(g);
}

/* ---- Its programs ---- */

void guest_call(struct played_guest *g, struct talk *t)
{
	t->guest_state = GUEST_ASKS;
	t->asked = stress_now();
	say(g, t, VIRTIO_VSOCK_OP_REQUEST, 0, 0, false);
}

static void send_some(struct played_guest *g, struct talk *t)
{
	uint32_t way = t->guest.sent - t->peer_taken, room = t->peer_alloc > way ? t->peer_alloc - way : 0;
	uint32_t n = t->guest.total - t->guest.sent;

	n = n < room ? n : room;
	n = n < t->guest.step ? n : t->guest.step;
	n = n < BUFFER - HEADER ? n : BUFFER - HEADER;
	if (!n)
		return;
	say(g, t, VIRTIO_VSOCK_OP_RW, 0, n, false);
	t->guest.sent += n;
}

static void read_some(struct played_guest *g, struct talk *t)
{
	uint32_t n = t->guest.got - t->read;

	n = n < t->guest.step ? n : t->guest.step;
	if (!n)
		return;
	t->read += n;
	say(g, t, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0, false);
}

static void close_it(struct played_guest *g, struct talk *t)
{
	/* Who knows that the other has gone says RST, as does one in a hurry. */
	bool hard = t->peer_shut == BOTH || (t->guest.rude != NEVER && t->id % 2);

	say(g, t, hard ? VIRTIO_VSOCK_OP_RST : VIRTIO_VSOCK_OP_SHUTDOWN, hard ? 0 : BOTH, 0, false);
	t->guest_state = GUEST_CLOSES;
	if (hard)
		gone(g, t);
}

void guest_step(struct played_guest *g, struct talk *t)
{
	struct talk_end *end = &t->guest;

	if (t->guest_state == GUEST_ASKS && stress_now() - t->asked > GIVES_UP) {
		g->s->given_up++;
		gone(g, t);
	}
	if (t->guest_state != GUEST_OPEN)
		return;
	if (end->sent >= end->rude) {
		close_it(g, t);
		return;
	}
	read_some(g, t);
	if (t->peer_shut & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		end->said_end = true;
	} else if (end->sent < end->total) {
		send_some(g, t);
	} else if (!end->said_end) {
		say(g, t, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND, 0, false);
		end->said_end = true;
	}
	if (end->said_end && end->ended && t->read == end->got)
		close_it(g, t);
}

void guest_tell(const struct played_guest *g, FILE *to)
{
	(void)fprintf(
	        to,
	        "guest: %u packets wait, %u of them answers; %u buffers used and not given again; the device "
	        "has %u chains to send, %u to receive into\n",
	        g->count, g->answers, g->nused, g->s->rig->rig.driver[VSOCK_TX].outstanding,
	        g->s->rig->rig.driver[VSOCK_RX].outstanding);
}
