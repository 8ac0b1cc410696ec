/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets of the guest. The header is read once; what it says is checked against what is known here, and
 * what does not fit is answered by RST, or by nothing where there is nobody to answer (virtio 1.2, 5.10.6).
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "virtio/vsock.h"

/* As the guest wrote it, in the host's byte order. */
struct said {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port; /* the guest's, ours */
	uint32_t len, flags, buf_alloc, fwd_cnt;
	uint16_t type, op;
};

static void read_header(struct vdb_req *req, struct vdb__cursor *at, struct said *said)
{
	struct virtio_vsock_hdr h;
	char *to = (char *)&h;
	size_t left = sizeof(h);
	struct iovec piece;

	for (; left; left -= piece.iov_len, to += piece.iov_len) {
		piece = vdb__cursor_piece(at, req->iov, left);
		memcpy(to, piece.iov_base, piece.iov_len);
		vdb__cursor_pass(at, req->iov, piece.iov_len);
	}
	/* The guest may change it meanwhile; what counts is the copy, which nobody makes twice. */
	__asm__ __volatile__("" ::: "memory");
	*said = (struct said){
	        .src_cid = le64toh(h.src_cid),
	        .dst_cid = le64toh(h.dst_cid),
	        .src_port = le32toh(h.src_port),
	        .dst_port = le32toh(h.dst_port),
	        .len = le32toh(h.len),
	        .flags = le32toh(h.flags),
	        .buf_alloc = le32toh(h.buf_alloc),
	        .fwd_cnt = le32toh(h.fwd_cnt),
	        .type = le16toh(h.type),
	        .op = le16toh(h.op),
	};
}

/* ---- Answers ---- */

/* The guest is not listened to until it gives a buffer, or for so long. */
static void hold_back(struct vdb__vsock *v)
{
	v->replies_until =
	        vdb__vsock_now() + v->config.timeout_ms * (uint64_t)(1000000 / VDB__VSOCK_REPLIES_PART);
	if (!vdb__vsock_timer(v, v->replies_until))
		vdb__vsock_forget_replies(v);
}

/* There is room: no packet is taken without. */
static void reply_rst(struct vdb__vsock *v, const struct said *said)
{
	uint32_t at = (v->reply_head + v->reply_count) % VDB__VSOCK_REPLIES;

	if (said->op == VIRTIO_VSOCK_OP_RST) {
		vdb__vsock_misdeed(v, &v->stats.drops);
		return;
	}
	v->replies[at] = (struct vdb__vsock_reply){.src_cid = said->dst_cid,
	                                           .src_port = said->dst_port,
	                                           .dst_port = said->src_port,
	                                           .type = said->type};
	v->reply_count++;
	if (v->reply_count == VDB__VSOCK_REPLIES)
		hold_back(v);
	vdb__vsock_go_on(v);
}

static void violated(struct vdb__vconn *c)
{
	vdb__vsock_misdeed(c->vsock, &c->vsock->stats.violations);
	vdb__vconn_reset(c);
}

/* ---- Each operation. c is in the table, and settled afterwards ---- */

static void on_response(struct vdb__vconn *c)
{
	if (c->state == VDB__VCONN_ASKED && c->asked)
		vdb__vconn_opened(c);
	else
		violated(c);
}

static void on_rst(struct vdb__vconn *c)
{
	if (c->state == VDB__VCONN_ASKED)
		vdb__count(&c->vsock->stats.failed, 1);
	vdb__vconn_forget(c);
}

static void on_shutdown(struct vdb__vconn *c, const struct said *said)
{
	if (c->state == VDB__VCONN_ASKED)
		violated(c);
	else
		vdb__vconn_shutdown(c, said->flags);
}

/* Which a Unix socket has not: its reader would take it for the end. */
static bool is_empty_message(const struct vdb__vconn *c, const struct said *said)
{
	return c->seqpacket && !said->len && !c->begun && said->flags & VDB__VSOCK_EOM;
}

static void on_data(struct vdb__vconn *c, struct vdb_req *req, struct vdb__cursor *at,
                    const struct said *said)
{
	uint32_t len = said->len;
	int rc;

	if (c->state ==
	    VDB__VCONN_CLOSING) { /* it was told, or is about to be: as any closed socket answers */
		vdb__vconn_reset(c);
		return;
	}
	if (c->state != VDB__VCONN_OPEN || c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND ||
	    len > vdb__vsock_window(&c->credit) || is_empty_message(c, said)) {
		violated(c);
		return;
	}
	c->credit.got += len;
	vdb__count(&c->vsock->stats.bytes_to_host, len);
	rc = c->seqpacket ? vdb__vmessage_put(c, req->iov, at, len, said->flags & VDB__VSOCK_EOM)
	                  : vdb__vconn_put(c, req->iov, at, len);
	if (rc)
		vdb__vconn_reset(c);
	else
		vdb__vconn_credit(c);
}

/* It may send, or send again. */
static void credit_came(struct vdb__vconn *c)
{
	if (!c->stalled || !vdb__vsock_room(&c->credit))
		return;
	c->stalled = false;
	c->owes &= (uint8_t)~VDB__OWES_ASK;
	c->owes |= VDB__OWES_DATA;
}

static void on_packet(struct vdb__vconn *c, struct vdb_req *req, struct vdb__cursor *at,
                      const struct said *said)
{
	if (c->state == VDB__VCONN_DYING) { /* it will hear that it is over */
		if (said->op == VIRTIO_VSOCK_OP_RST)
			vdb__vconn_forget(c);
		return;
	}
	if (!vdb__vsock_peer_says(&c->credit, said->buf_alloc, said->fwd_cnt) &&
	    said->op != VIRTIO_VSOCK_OP_RST) {
		violated(c);
		return;
	}
	credit_came(c);
	switch (said->op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		on_response(c);
		break;
	case VIRTIO_VSOCK_OP_RST:
		on_rst(c);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		on_shutdown(c, said);
		break;
	case VIRTIO_VSOCK_OP_RW:
		on_data(c, req, at, said);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		if (c->state == VDB__VCONN_OPEN)
			c->owes |= VDB__OWES_CREDIT;
		break;
	default: /* REQUEST for what is one already, or nothing that is known */
		violated(c);
		break;
	}
}

static void on_request(struct vdb__vsock *v, const struct said *said)
{
	bool seqpacket = said->type == VDB__VSOCK_SEQPACKET;
	int fd = vdb__vsock_has_room(v) ? vdb__vsock_connect(v, said->dst_port, seqpacket) : -EMFILE;
	struct vdb__vconn *c = fd < 0 ? NULL : vdb__vconn_new(v, fd, seqpacket, VDB__VCONN_OPEN);

	if (!c) {
		vdb__count(&v->stats.refused_by_host, 1);
		if (v->tenant && !vdb__tenant_has_fd(v->tenant))
			vdb__count(&vdb__account(v->tenant)->stats.fds_refused, 1);
		reply_rst(v, said);
		return;
	}
	c->host_port = said->dst_port;
	c->guest_port = said->src_port;
	(void)vdb__vsock_peer_says(&c->credit, said->buf_alloc, 0);
	vdb__vconn_enter(c);
	c->owes = VDB__OWES_RESPONSE;
	vdb__count(&v->stats.opened_by_guest, 1);
	vdb__vconn_settle(c);
}

/* ---- Any packet ---- */

static bool knows_type(const struct vdb__vsock *v, uint16_t type)
{
	return type == VDB__VSOCK_STREAM || (type == VDB__VSOCK_SEQPACKET && vdb__load(&v->seqpacket));
}

static bool fits(const struct vdb__vconn *c, const struct said *said, uint64_t payload)
{
	return said->type == (c->seqpacket ? VDB__VSOCK_SEQPACKET : VDB__VSOCK_STREAM) &&
	       said->len == payload && (!payload || said->op == VIRTIO_VSOCK_OP_RW);
}

static void dispatch(struct vdb__vsock *v, struct vdb_req *req, struct vdb__cursor *at,
                     const struct said *said)
{
	uint64_t payload = req->readable - sizeof(struct virtio_vsock_hdr);
	struct vdb__vconn *c = NULL;

	if (said->dst_cid == VDB__VSOCK_HOST && knows_type(v, said->type))
		c = vdb__vsock_find(v, said->dst_port, said->src_port);
	if (c && fits(c, said, payload))
		on_packet(c, req, at, said);
	else if (c)
		violated(c);
	else if (said->op == VIRTIO_VSOCK_OP_REQUEST && !said->len && !payload &&
	         said->dst_cid == VDB__VSOCK_HOST && knows_type(v, said->type))
		on_request(v, said);
	else
		reply_rst(v, said);
	if (c)
		vdb__vconn_settle(c);
}

int vdb__vsock_start_tx(void *ctx, struct vdb_req *req)
{
	struct vdb__cursor at = {0, 0};
	struct vdb__vsock *v = ctx;
	struct said said = {0};

	vdb__count(&v->stats.packets_to_host, 1);
	vdb_req_charge(req, req->readable);
	if (req->readable >= sizeof(struct virtio_vsock_hdr))
		read_header(req, &at, &said);
	/* Who speaks for another is not answered: there is nobody who would understand. */
	if (said.src_cid == v->config.cid)
		dispatch(v, req, &at, &said);
	else
		vdb__vsock_misdeed(v, &v->stats.drops);
	vdb_req_complete(req, 0);
	return VDB_REQ_PENDING;
}

uint32_t vdb__vsock_wants_tx(void *ctx)
{
	return VDB__VSOCK_REPLIES - ((const struct vdb__vsock *)ctx)->reply_count;
}
