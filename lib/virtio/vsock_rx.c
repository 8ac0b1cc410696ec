/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets for the guest, one for each buffer that it gives. Connections that owe it something stand in a
 * list, and go to its end with each packet; they are few words each, however long the guest gives no buffer,
 * and their data stays in the host's sockets. Only for what is no connection there is a queue, of a fixed
 * length: while it is full, the guest's packets are left in theirs (vsock_tx.c).
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "virtio/vsock.h"

/* One buffer of the guest's. */
struct packet {
	struct vdb_req *req;
	struct vdb__cursor at; /* where the header goes */
	uint64_t room;         /* from there on */
};

#define HEADER ((uint32_t)sizeof(struct virtio_vsock_hdr))

static struct packet packet_of(struct vdb_req *req)
{
	struct packet p = {.req = req, .room = req->len - req->readable};

	vdb__cursor_skip(&p.at, req->iov, req->readable);
	return p;
}

static void put_bytes(const struct packet *p, const void *data, uint32_t len)
{
	struct vdb__cursor at = p->at;
	const char *from = data;
	struct iovec piece;

	for (; len; len -= (uint32_t)piece.iov_len, from += piece.iov_len) {
		piece = vdb__cursor_piece(&at, p->req->iov, len);
		memcpy(piece.iov_base, from, piece.iov_len);
		vdb__cursor_pass(&at, p->req->iov, piece.iov_len);
	}
}

/* Returns the bytes written. */
static uint32_t put_header(struct vdb__vconn *c, const struct packet *p, uint16_t op, uint32_t flags,
                           uint32_t len)
{
	const struct virtio_vsock_hdr header = {
	        .src_cid = htole64(VDB__VSOCK_HOST),
	        .dst_cid = htole64(c->vsock->config.cid),
	        .src_port = htole32(c->host_port),
	        .dst_port = htole32(c->guest_port),
	        .len = htole32(len),
	        .type = htole16(c->seqpacket ? VDB__VSOCK_SEQPACKET : VDB__VSOCK_STREAM),
	        .op = htole16(op),
	        .flags = htole32(flags),
	        .buf_alloc = htole32(c->credit.window),
	        .fwd_cnt = htole32(c->credit.forwarded),
	};

	put_bytes(p, &header, HEADER);
	c->credit.told = c->credit.forwarded;
	c->owes &= (uint8_t)~VDB__OWES_CREDIT;
	return HEADER + len;
}

/* ---- Data ---- */

static unsigned payload_pieces(const struct packet *p, struct iovec *to, uint32_t len)
{
	struct vdb__cursor at = p->at;
	unsigned n = 0;

	vdb__cursor_skip(&at, p->req->iov, HEADER);
	for (; len && n < VDB__VSOCK_PIECES; n++) {
		to[n] = vdb__cursor_piece(&at, p->req->iov, len);
		len -= (uint32_t)to[n].iov_len;
		vdb__cursor_pass(&at, p->req->iov, to[n].iov_len);
	}
	return n;
}

static uint32_t payload_max(const struct vdb__vconn *c, const struct packet *p)
{
	uint32_t most = vdb__vsock_room(&c->credit);

	if (most > VDB__VSOCK_PAYLOAD)
		most = VDB__VSOCK_PAYLOAD;
	return p->room - HEADER < most ? (uint32_t)(p->room - HEADER) : most;
}

/* Until the guest gives more; it is asked once. */
static void stall(struct vdb__vconn *c)
{
	c->owes &= (uint8_t)~VDB__OWES_DATA;
	c->owes |= VDB__OWES_ASK;
	c->stalled = true;
	vdb__count(&c->vsock->stats.credit_stalls, 1);
}

/* Into these `asked` bytes; what the packet says of a message. As vdb__vconn_get(). */
static ssize_t get_data(struct vdb__vconn *c, struct iovec *iov, unsigned niov, uint32_t asked,
                        uint32_t *flags)
{
	bool end = true;
	ssize_t n;

	if (c->seqpacket) {
		n = vdb__vmessage_get(c, iov, niov, &end);
		*flags = end ? VDB__VSOCK_EOM : 0;
	} else {
		n = vdb__vconn_get(c, iov, niov);
	}
	/* The socket is empty now; if it is its end, that is told when it is looked at next. */
	if (n < 0 || (!c->seqpacket && n < (ssize_t)asked))
		c->owes &= (uint8_t)~VDB__OWES_DATA;
	return n;
}

/* 0: there was none, and something else may be owed instead. */
static uint32_t put_data(struct vdb__vconn *c, const struct packet *p)
{
	struct iovec iov[VDB__VSOCK_PIECES + 1];
	uint32_t most = payload_max(c, p), asked = 0, flags = 0;
	unsigned niov;
	ssize_t n;

	if (!vdb__vsock_room(&c->credit)) {
		stall(c);
		return 0;
	}
	if (!most) /* a buffer for no more than a header */
		return put_header(c, p, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0);
	niov = payload_pieces(p, iov, most);
	for (unsigned i = 0; i < niov; i++)
		asked += (uint32_t)iov[i].iov_len;
	n = get_data(c, iov, niov, asked, &flags);
	if (n == 0)
		vdb__vconn_host_eof(c);
	else if (n < 0 && n != -EAGAIN)
		vdb__vconn_reset(c);
	if (n <= 0)
		return 0;
	c->credit.sent += (uint32_t)n;
	vdb__count(&c->vsock->stats.bytes_to_guest, (uint64_t)n);
	return put_header(c, p, VIRTIO_VSOCK_OP_RW, flags, (uint32_t)n);
}

/* ---- One packet ---- */

static bool pays(struct vdb__vconn *c, uint8_t what)
{
	bool owed = c->owes & what;

	c->owes &= (uint8_t)~what;
	return owed;
}

static uint32_t put_rst(struct vdb__vconn *c, const struct packet *p)
{
	uint32_t n = put_header(c, p, VIRTIO_VSOCK_OP_RST, 0, 0);

	vdb__count(&c->vsock->stats.resets, 1);
	vdb__vconn_forget(c);
	return n;
}

/* 0: the driver does not know this type of socket, and hears nothing of it. */
static uint32_t put_request(struct vdb__vconn *c, const struct packet *p)
{
	if (c->seqpacket && !vdb__load(&c->vsock->seqpacket)) {
		vdb__vconn_reset(c);
		return 0;
	}
	c->asked = true;
	return put_header(c, p, VIRTIO_VSOCK_OP_REQUEST, 0, 0);
}

/* What is owed first. 0: it was only data, and there is none; or nothing can be told. */
static uint32_t put_owed(struct vdb__vconn *c, const struct packet *p)
{
	if (pays(c, VDB__OWES_RST))
		return put_rst(c, p);
	if (pays(c, VDB__OWES_REQUEST))
		return put_request(c, p);
	if (pays(c, VDB__OWES_RESPONSE))
		return put_header(c, p, VIRTIO_VSOCK_OP_RESPONSE, 0, 0);
	if (pays(c, VDB__OWES_ASK))
		return put_header(c, p, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0, 0);
	if (pays(c, VDB__OWES_SHUTDOWN))
		return put_header(c, p, VIRTIO_VSOCK_OP_SHUTDOWN, c->host_shut, 0);
	if (c->owes & VDB__OWES_DATA)
		return put_data(c, p);
	if (pays(c, VDB__OWES_CREDIT))
		return put_header(c, p, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0);
	return 0;
}

/* At most twice: when there is no data, that makes something else, or nothing, be owed. */
static uint32_t put_packet(struct vdb__vconn *c, const struct packet *p)
{
	uint32_t n = put_owed(c, p);

	return n ? n : put_owed(c, p);
}

static uint32_t put_reply(struct vdb__vsock *v, const struct packet *p)
{
	const struct vdb__vsock_reply *reply = &v->replies[v->reply_head];
	const struct virtio_vsock_hdr header = {
	        .src_cid = htole64(reply->src_cid),
	        .dst_cid = htole64(v->config.cid),
	        .src_port = htole32(reply->src_port),
	        .dst_port = htole32(reply->dst_port),
	        .type = htole16(reply->type),
	        .op = htole16(VIRTIO_VSOCK_OP_RST),
	};

	put_bytes(p, &header, HEADER);
	v->reply_head = (v->reply_head + 1) % VDB__VSOCK_REPLIES;
	v->reply_count--;
	v->replies_until = 0;
	vdb__count(&v->stats.resets, 1);
	return HEADER;
}

void vdb__vsock_forget_replies(struct vdb__vsock *v)
{
	vdb__count(&v->stats.drops, v->reply_count);
	v->reply_count = 0;
	v->replies_until = 0;
	vdb_backend_wake(v->backends[VDB__VSOCK_TX]);
}

/* Bytes of the next packet that somebody owes; 0: nobody does. */
static uint32_t next_packet(struct vdb__vsock *v, const struct packet *p)
{
	uint32_t n = 0;

	if (v->reply_count)
		return put_reply(v, p);
	while (!n && !vdb__list_empty(&v->ready)) {
		struct vdb__vconn *c = vdb__container(vdb__list_pop(&v->ready), struct vdb__vconn, ready);

		n = put_packet(c, p);
		vdb__vconn_settle(c);
	}
	return n;
}

/* ---- The guest's buffers ---- */

static bool owes(const struct vdb__vsock *v)
{
	return v->reply_count || !vdb__list_empty(&v->ready);
}

/* False: there is nothing for it. */
static bool serve(struct vdb__vsock *v, struct vdb_req *req)
{
	const struct packet p = packet_of(req);
	bool full = v->reply_count == VDB__VSOCK_REPLIES;
	uint32_t n = 0;

	if (p.room < HEADER)
		vdb__count(&v->stats.drops, 1);
	else if ((n = next_packet(v, &p)))
		vdb__count(&v->stats.packets_to_guest, 1);
	else
		return false;
	vdb_req_charge(req, n);
	vdb_req_complete(req, (int32_t)n);
	if (full && v->reply_count < VDB__VSOCK_REPLIES)
		vdb_backend_wake(v->backends[VDB__VSOCK_TX]);
	return true;
}

/* The spare one is not filled here: who has found that something is owed is in the middle of something. */
void vdb__vsock_go_on(struct vdb__vsock *v)
{
	if (v->closing)
		return;
	if (v->spare)
		vdb__loop_batch(v->loop, &v->batch);
	else
		vdb_backend_wake(v->backends[VDB__VSOCK_RX]);
}

void vdb__vsock_batch(struct vdb__batch *batch)
{
	struct vdb__vsock *v = vdb__container(batch, struct vdb__vsock, batch);
	struct vdb_req *req = v->spare;

	v->spare = NULL;
	if (req && !serve(v, req))
		v->spare = req;
	if (owes(v))
		vdb__vsock_go_on(v);
}

uint32_t vdb__vsock_wants_rx(void *ctx)
{
	const struct vdb__vsock *v = ctx;

	return !v->spare && owes(v);
}

int vdb__vsock_start_rx(void *ctx, struct vdb_req *req)
{
	struct vdb__vsock *v = ctx;

	if (!serve(v, req))
		v->spare = req;
	return VDB_REQ_PENDING;
}

/* ---- Events ---- */

uint32_t vdb__vsock_wants_event(void *ctx)
{
	return vdb__load(&((struct vdb__vsock *)ctx)->transport_reset);
}

/* After the guest has been restored from saved state its connections are no more (5.10.6.7). */
int vdb__vsock_start_event(void *ctx, struct vdb_req *req)
{
	const struct virtio_vsock_event event = {.id = htole32(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET)};
	const struct packet p = packet_of(req);
	struct vdb__vsock *v = ctx;
	bool fits = p.room >= sizeof(event);

	if (fits) {
		put_bytes(&p, &event, sizeof(event));
		vdb__store(&v->transport_reset, 0u);
	} else {
		vdb__count(&v->stats.drops, 1);
	}
	vdb_req_complete(req, fits ? (int32_t)sizeof(event) : 0);
	return VDB_REQ_PENDING;
}
