/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a vsock device: what its files share. All of it is the loop's thread's, but what says
 * otherwise.
 *
 *     vsock.c         the device: config space, queues, create
 *     vsock_config.c  what the embedder gave, checked; the listening socket
 *     vsock_life.c    given to its loop, reset, taken from it
 *     vsock_tx.c      packets of the guest
 *     vsock_rx.c      packets for the guest, one for each of its buffers, fair between connections
 *     vsock_conn.c    a connection: its states, and its end
 *     vsock_table.c   connections by their ports
 *     vsock_listen.c  how connections come about: accept and CONNECT, connect
 *     vsock_host.c    connected sockets: readiness, bytes
 *     vsock_message.c what is different where messages stay whole: SEQPACKET
 *
 * A connection is two halves: the guest's (`state`, what it is still to be told) and the host's (an fd).
 * Either may end before the other; when both have, it is freed, by vdb__vconn_settle(), which everybody who
 * touched a connection calls last.
 */
#ifndef VDB_VIRTIO_VSOCK_H
#define VDB_VIRTIO_VSOCK_H

#include <linux/virtio_vsock.h>
#include <time.h>
#include <vdb/io.h>
#include <vdb/vsock.h>

#include "base/atomic.h"
#include "base/list.h"
#include "io/cursor.h"
#include "io/fifo.h"
#include "loop/caps.h"
#include "loop/source.h"
#include "virtio/vsock_credit.h"

enum {
	VDB__VSOCK_RX,
	VDB__VSOCK_TX,
	VDB__VSOCK_EVENT,
	VDB__VSOCK_QUEUES,
};

#define VDB__VSOCK_HOST 2u        /* CID */
#define VDB__VSOCK_PAYLOAD 65536u /* most of one packet to the guest */
/* Resets of what is no connection, that wait for a buffer: while there are so many nothing is taken from the
 * guest (5.10.6.1). A driver holds back likewise, by the size of its queue, and what it sends of its own
 * accord may stand before its answers: then each waits for the other. So this is not for long: when no buffer
 * has come for one of them within a part of the timeout they are forgotten. Who called has given up by then
 * (Linux: after two seconds), and who sent to a connection that is no more has been told of its end already.
 */
#define VDB__VSOCK_REPLIES 1024u
#define VDB__VSOCK_REPLIES_PART 10u
#define VDB__VSOCK_PIECES 32u        /* iovecs of one system call */
#define VDB__VSOCK_LINE 32u          /* of a host program: "CONNECT 4294967295\r\n" is 20 */
#define VDB__VSOCK_PORTS 0x40000000u /* the host's ends that nobody chose have numbers from here */
#define VDB__VSOCK_ANY_PORT UINT32_MAX
/* Not in linux/virtio_vsock.h of older systems. */
#define VDB__VSOCK_F_STREAM 0
#define VDB__VSOCK_F_SEQPACKET 1
#define VDB__VSOCK_STREAM 1u /* types of sockets */
#define VDB__VSOCK_SEQPACKET 2u
#define VDB__VSOCK_EOM 1u /* of RW packets: a message ends with it */

enum vdb__vconn_state {
	VDB__VCONN_HELLO, /* accepted on the host: which port? */
	VDB__VCONN_ASKED, /* the guest is asked, or is to be */
	VDB__VCONN_OPEN,
	VDB__VCONN_CLOSING, /* the host's half is no more: the guest is told by SHUTDOWN, answers by RST */
	VDB__VCONN_DYING,   /* the guest is to get an RST */
	VDB__VCONN_GONE,    /* for the guest: not in the table */
};

/* What the guest is still to be told. */
#define VDB__OWES_REQUEST 1u
#define VDB__OWES_RESPONSE 2u
#define VDB__OWES_RST 4u
#define VDB__OWES_SHUTDOWN 8u
#define VDB__OWES_ASK 16u    /* CREDIT_REQUEST */
#define VDB__OWES_CREDIT 32u /* CREDIT_UPDATE, or any other packet */
#define VDB__OWES_DATA 64u   /* the host's socket may have some */

/* The end of a host's message, for which the guest had no buffer yet. */
struct vdb__vsock_rest {
	uint8_t *data;
	uint32_t size, at, len; /* allocated; where it begins, bytes */
};

struct vdb__vconn {
	struct vdb__vsock *vsock;
	struct vdb__vconn *chain; /* in the table */
	struct vdb__list all;
	struct vdb__list ready; /* owes something */
	struct vdb__list timed; /* has to end soon; in the order of `deadline` */
	uint64_t deadline;
	uint32_t host_port, guest_port;
	uint8_t state;      /* enum vdb__vconn_state */
	uint8_t owes;       /* VDB__OWES_* */
	bool asked;         /* REQUEST has gone out */
	bool stalled;       /* there may be data, but no credit */
	bool host_eof;      /* nothing more comes from the host, */
	bool host_deaf;     /* or is taken by it */
	uint8_t guest_shut; /* VIRTIO_VSOCK_SHUTDOWN_*, as the guest said */
	uint8_t host_shut;  /* as the guest is told */
	bool shut_down;     /* the host has been told that the guest has ended */
	bool seqpacket;     /* else a stream */
	bool begun;         /* a message of the guest's, of which the end is still to come */
	/* The host's socket. */
	int fd;            /* -1: closed */
	bool known, armed; /* to the epoll fd; for one event */
	uint32_t events;   /* which, while armed */
	uint32_t line_len;
	char line[VDB__VSOCK_LINE];
	struct vdb__fifo fifo; /* what the host has not taken yet; allocated when that first happens */
	uint64_t *ends; /* SEQPACKET: a bit for each byte of the fifo that is the last of its message */
	uint32_t whole; /* bytes of the fifo, up to the last that is; stream: unused */
	struct vdb__vsock_rest rest;
	uint32_t promised; /* of max_buffered */
	struct vdb__vsock_credit credit;
};

/* An RST for what is no connection. */
struct vdb__vsock_reply {
	uint64_t src_cid;
	uint32_t src_port, dst_port;
	uint16_t type;
};

/* A socket that host programs connect to. */
struct vdb__vsock_listener {
	int fd; /* -1: none */
	bool seqpacket;
	bool known, armed; /* as of a connection */
	bool over;         /* its owner has shut it down */
	uint64_t dev, ino; /* of the file that is ours to remove; 0: none */
};
enum { VDB__VSOCK_LISTENERS = 2 }; /* one for each type */

/* Why the post is on its way, or will never be any more: as of lanes. */
#define VDB__VSOCK_ATTACH 1u
#define VDB__VSOCK_RESET 2u
#define VDB__VSOCK_LEAVE 4u
#define VDB__VSOCK_DEAD 8u
#define VDB__VSOCK_GONE 16u

struct vdb__vsock {
	struct vdb_vsock_config config; /* path is our own copy */
	struct vdb_loop *loop;
	struct vdb_tenant *tenant; /* whose fds its connections are, referenced; NULL: nobody's */
	struct vdb__fd_wait fd_wait;
	struct vdb_backend *backends[VDB__VSOCK_QUEUES];
	uint32_t transport_reset; /* the guest is to be told: any thread sets it */
	uint32_t seqpacket;       /* the driver has agreed to it: as it said last */
	uint32_t message_max;     /* bytes of a message; 0: there are none */
	uint8_t *spill;           /* so many bytes of one that is being read */
	uint32_t why;             /* VDB__VSOCK_*, shared with other threads */
	struct vdb__post post;
	struct vdb__member as_member;
	bool member, closing, doomed, dead;

	struct vdb_req *spare;   /* a buffer of the guest's for which there was nothing after all */
	struct vdb__batch batch; /* when there is */
	struct vdb__vsock_reply replies[VDB__VSOCK_REPLIES];
	uint32_t reply_head, reply_count;
	uint64_t replies_until; /* they are too many, and forgotten then. 0: they are not */

	struct vdb__list all, ready, timed;
	struct vdb__vconn **table;
	unsigned table_bits;
	uint64_t table_key; /* odd and secret: the guest chooses what is looked up */
	uint32_t count;     /* connections */
	uint32_t next_port;
	uint64_t promised;       /* windows of all connections */
	struct vdb_timer *timer; /* NULL: not needed so far */
	uint64_t timer_at;       /* 0: not armed */

	/* The host's sockets. */
	struct vdb__vsock_listener listeners[VDB__VSOCK_LISTENERS];
	uint64_t listen_at; /* not before: the host was short of something. 0: at once */
	int epoll_fd;       /* over all of them: one poll of the loop's for all */
	struct vdb_io io;   /* that */
	bool polling;

	struct vdb_vsock_stats stats; /* written on the loop's thread only */
};

static inline uint64_t vdb__vsock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- vsock_config.c: any thread ---- */

int vdb__vsock_check(const struct vdb_vsock_config *config);
/* What is 0 gets its default; -EINVAL if they do not fit together. */
VDB_MUST_CHECK int vdb__vsock_defaults(struct vdb_vsock_config *config);
/* The listening sockets, made or taken; none if none was asked for. */
int vdb__vsock_listen(struct vdb__vsock *v);
/* How long messages may be, and where they are put together; nothing if there are to be none. */
int vdb__vsock_messages(struct vdb__vsock *v);
/* Removes their files, if those are still ours. */
void vdb__vsock_unlink(const struct vdb__vsock *v);

/* ---- vsock_life.c ---- */

/* Any thread: the loop's will see why. Returns why it was to be woken already. */
uint32_t vdb__vsock_wake(struct vdb__vsock *v, uint32_t why);
void vdb__vsock_set_up(struct vdb__vsock *v);
/* Nobody else has it. */
void vdb__vsock_free(struct vdb__vsock *v);
/* The poll has ended: perhaps that was the last thing to wait for. */
void vdb__vsock_settled(struct vdb__vsock *v);
/* Calls vdb__vsock_timeout() then, at the latest. False: no memory for a timer. */
bool vdb__vsock_timer(struct vdb__vsock *v, uint64_t at);

/* ---- vsock_rx.c ---- */

/* Something is owed: as soon as there is a buffer. */
void vdb__vsock_go_on(struct vdb__vsock *v);
void vdb__vsock_batch(struct vdb__batch *batch);

/* The resets of what is no connection have waited too long. */
void vdb__vsock_forget_replies(struct vdb__vsock *v);

/* Backends: one queue each. */
int vdb__vsock_start_rx(void *ctx, struct vdb_req *req);
uint32_t vdb__vsock_wants_rx(void *ctx);
int vdb__vsock_start_event(void *ctx, struct vdb_req *req);
uint32_t vdb__vsock_wants_event(void *ctx);

/* ---- vsock_tx.c ---- */

int vdb__vsock_start_tx(void *ctx, struct vdb_req *req);
uint32_t vdb__vsock_wants_tx(void *ctx);

/* ---- vsock_table.c ---- */

int vdb__vsock_table_init(struct vdb__vsock *v);
struct vdb__vconn *vdb__vsock_find(const struct vdb__vsock *v, uint32_t host_port, uint32_t guest_port);
/* With its ports; they are free. */
void vdb__vconn_enter(struct vdb__vconn *c);
void vdb__vconn_leave(struct vdb__vconn *c);
/* A port for the host's end of a connection to `guest_port`. */
uint32_t vdb__vsock_free_port(struct vdb__vsock *v, uint32_t guest_port);

/* ---- vsock_conn.c ---- */

/* There is room for another. */
static inline bool vdb__vsock_has_room(const struct vdb__vsock *v)
{
	return v->count < v->config.max_connections && (!v->tenant || vdb__tenant_has_fd(v->tenant));
}

/* Told of the VM, too: the guest sent what makes no sense, or is against the rules. */
static inline void vdb__vsock_misdeed(struct vdb__vsock *v, uint64_t *counter)
{
	vdb__count(counter, 1);
	if (v->tenant)
		vdb__count(&vdb__account(v->tenant)->stats.dropped, 1);
}

/* fd becomes its own, also if it fails (NULL: no memory, or no promise of it). There must be room. */
struct vdb__vconn *vdb__vconn_new(struct vdb__vsock *v, int fd, bool seqpacket, enum vdb__vconn_state state);
/* Whatever was done to it: to be called last. It may be gone afterwards. */
void vdb__vconn_settle(struct vdb__vconn *c);
/* The guest gets an RST, if it has heard of the connection; the host's half ends. */
void vdb__vconn_reset(struct vdb__vconn *c);
/* The guest knows nothing of it any more; what it has sent still goes to the host. */
void vdb__vconn_forget(struct vdb__vconn *c);
/* From now on it has to end within the timeout. */
void vdb__vconn_hurry(struct vdb__vconn *c);
/* The guest has answered. */
void vdb__vconn_opened(struct vdb__vconn *c);
/* The host reads, and writes, no more. */
void vdb__vconn_host_gone(struct vdb__vconn *c);
void vdb__vconn_host_eof(struct vdb__vconn *c);
/* The guest has said SHUTDOWN. */
void vdb__vconn_shutdown(struct vdb__vconn *c, uint32_t flags);
/* All that has to end by now. */
void vdb__vsock_timeout(struct vdb__vsock *v);
/* All of them, and what they owe. */
void vdb__vsock_drop_all(struct vdb__vsock *v);

/* ---- vsock_listen.c ---- */

/* Accepts, if there is room for more, when somebody comes. */
void vdb__vsock_watch_listener(struct vdb__vsock *v);
void vdb__vsock_close_listener(struct vdb__vsock *v);
void vdb__vsock_listen_init(struct vdb__vsock *v);
/* Somebody has come. */
void vdb__vsock_accept(struct vdb__vsock *v, struct vdb__vsock_listener *listener, uint32_t events);
/* A host program has said something, which should be its CONNECT. */
void vdb__vconn_hello(struct vdb__vconn *c);
/* The host's end for a guest that connects to `port`: an fd, or -errno. */
int vdb__vsock_connect(struct vdb__vsock *v, uint32_t port, bool seqpacket);

/* ---- vsock_host.c ---- */

/* Waits for any of the sockets: once, and then for ever. */
void vdb__vsock_poll(struct vdb__vsock *v);
/* What this connection can use is waited for, and nothing else. False: the host cannot. */
bool vdb__vconn_watch(struct vdb__vconn *c);
void vdb__vconn_close_fd(struct vdb__vconn *c);
/* `len` bytes of the guest's, from `at` on: to the host, or kept. -ENOMEM. A host that has gone is no error
 * here. */
int vdb__vconn_put(struct vdb__vconn *c, const struct iovec *iov, struct vdb__cursor *at, uint32_t len);
/* What of the host's data fits into these: bytes, 0 (its end), or -errno. -EMSGSIZE: a message does not. */
ssize_t vdb__vconn_get(struct vdb__vconn *c, struct iovec *iov, unsigned niov);
/* To the host, as much as it takes: bytes, or -errno. */
ssize_t vdb__vconn_send(struct vdb__vconn *c, struct iovec *iov, unsigned niov);
/* The pieces of the next *len bytes, as many as fit into VDB__VSOCK_PIECES; returns their number, and bytes
 * in *len. */
unsigned vdb__vconn_pieces(const struct iovec *iov, struct vdb__cursor at, struct iovec *to, uint32_t *len);
/* Into the FIFO, where there is room within the window. -ENOMEM. */
int vdb__vconn_keep(struct vdb__vconn *c, const struct iovec *iov, struct vdb__cursor *at, uint32_t len);
/* The host takes no more: neither this nor what was kept. */
void vdb__vconn_deafen(struct vdb__vconn *c, uint32_t lost);
/* `n` bytes of the FIFO have gone to the host. */
void vdb__vconn_flushed(struct vdb__vconn *c, uint32_t n);
/* False: the host does not take even that. */
bool vdb__vconn_say_ok(struct vdb__vconn *c);
/* The host is told that the guest has ended, when what that had sent has been taken. */
void vdb__vconn_end_host(struct vdb__vconn *c);
/* The guest hears of the room that there is again, if it should. */
static inline void vdb__vconn_credit(struct vdb__vconn *c)
{
	bool must = c->seqpacket ? vdb__vsock_must_tell_early(&c->credit) : vdb__vsock_must_tell(&c->credit);

	if (must && c->state == VDB__VCONN_OPEN)
		c->owes |= VDB__OWES_CREDIT;
}
/* Bytes of the FIFO that the host may have: but those of a message that has not ended. */
static inline size_t vdb__vconn_pending(const struct vdb__vconn *c)
{
	return c->seqpacket ? c->whole : c->fifo.count;
}

/* ---- vsock_message.c ---- */

/* Whether a socket of this host takes messages of so many bytes: it can be made to, or -errno. */
int vdb__vsock_widen(int fd, uint32_t bytes);
/* As vdb__vconn_put(), of a message that ends with these bytes, or goes on. */
int vdb__vmessage_put(struct vdb__vconn *c, const struct iovec *iov, struct vdb__cursor *at, uint32_t len,
                      bool end);
/* What was kept, as much as the host takes now. */
void vdb__vmessage_flush(struct vdb__vconn *c);
/* As vdb__vconn_get(), of the next message or what is left of the last; *end: that is all of it. `iov` has
 * room for one more. */
ssize_t vdb__vmessage_get(struct vdb__vconn *c, struct iovec *iov, unsigned niov, bool *end);
/* One that was begun will not end. */
void vdb__vmessage_drop(struct vdb__vconn *c);
/* The socket is closed. */
void vdb__vmessage_free(struct vdb__vconn *c);

#endif
