/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the vhost-user front end: what its files share. What the control thread says to the back end
 * and hears from it is user_peer.c, on top of single messages and their answers, user_talk.c; user.c is the
 * device in front.
 */
#ifndef VDB_VHOST_USER_INSIDE_H
#define VDB_VHOST_USER_INSIDE_H

#include <pthread.h>
#include <vdb/vhost_user.h>

#include "vhost/control.h"
#include "vhost/wire.h"

#define VDB__USER_REGIONS 8u
#define VDB__USER_CONFIG 256u

#define VDB__USER_F_RING_RESET 40 /* linux/virtio_config.h of older systems lacks it */
#define VDB__USER_BIT(n) (1ull << (n))
#define VDB__USER_F_PROTOCOL 30 /* of the features: there are protocol features */

enum vdb__user_protocol {
	VDB__USER_P_MQ = 0,
	VDB__USER_P_REPLY_ACK = 3,
	VDB__USER_P_CHANNEL = 5,
	VDB__USER_P_CONFIG = 9,
	VDB__USER_P_INFLIGHT = 12,
	VDB__USER_P_RESET_DEVICE = 13,
	VDB__USER_P_STATUS = 16,
};

enum vdb__user_request {
	VDB__USER_GET_FEATURES = 1,
	VDB__USER_SET_FEATURES = 2,
	VDB__USER_SET_OWNER = 3,
	VDB__USER_SET_MEM_TABLE = 5,
	VDB__USER_SET_VRING_NUM = 8,
	VDB__USER_SET_VRING_ADDR = 9,
	VDB__USER_SET_VRING_BASE = 10,
	VDB__USER_GET_VRING_BASE = 11,
	VDB__USER_SET_VRING_KICK = 12,
	VDB__USER_SET_VRING_CALL = 13,
	VDB__USER_SET_VRING_ERR = 14,
	VDB__USER_GET_PROTOCOL_FEATURES = 15,
	VDB__USER_SET_PROTOCOL_FEATURES = 16,
	VDB__USER_GET_QUEUE_NUM = 17,
	VDB__USER_SET_VRING_ENABLE = 18,
	VDB__USER_SET_CHANNEL = 21,
	VDB__USER_GET_CONFIG = 24,
	VDB__USER_SET_CONFIG = 25,
	VDB__USER_GET_INFLIGHT_FD = 31,
	VDB__USER_SET_INFLIGHT_FD = 32,
	VDB__USER_RESET_DEVICE = 34,
	VDB__USER_SET_STATUS = 39,
	VDB__USER_GET_STATUS = 40,
};

/* What comes on the back end's own channel. */
#define VDB__USER_CHANNEL_CONFIG_CHANGE 2u

struct vdb__user_state {
	uint32_t index, num;
};

struct vdb__user_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};

struct vdb__user_memory {
	uint32_t count, padding;
	struct {
		uint64_t gpa, len, address, offset;
	} region[VDB__USER_REGIONS];
};
_Static_assert(sizeof(struct vdb__user_memory) <= VDB__WIRE_PAYLOAD, "no room for it");

struct vdb__user_config {
	uint32_t offset, len, flags;
	uint8_t bytes[VDB__USER_CONFIG];
};
_Static_assert(sizeof(struct vdb__user_config) <= VDB__WIRE_PAYLOAD, "no room for it");

struct vdb__user_inflight {
	uint64_t len, offset;
	uint16_t queues, entries;
	uint32_t padding;
};

struct vdb__user {
	struct vdb__peer peer; /* first */
	struct vdb__vhost *vhost;
	const char *name;
	char *path; /* NULL: the socket was given */
	uint32_t timeout_ms;
	uint32_t queues, entries; /* entries: the most of a queue */
	bool reconnects;

	/* The control thread's; before it runs, whose the peer is. */
	int sock;
	int channel; /* our end; -1: none */
	uint64_t features, protocol;
	uint64_t needed; /* features that it must have when it comes back */
	uint32_t has_queues;
	int inflight_fd; /* -1: none, or not yet */
	struct vdb__user_inflight inflight;
	bool renewed; /* the back end says that its config space is another */

	/* Config space. */
	bool asked; /* it is the back end's */
	uint32_t config_len;
	pthread_mutex_t lock;
	uint8_t *config;                   /* locked */
	uint8_t written[VDB__USER_CONFIG]; /* locked: what the driver has written, */
	uint32_t from, to;                 /* locked: and where; from >= to: nowhere */
	uint64_t in_use;                   /* locked: protocol, for others */
};

extern const struct vdb__peer_ops vdb__user_peer_ops;

/* ---- user_talk.c: -errno after which nothing more can be said ---- */

/* Says it; where it is acknowledged, waits for that. The fds stay the caller's. */
int vdb__user_say(struct vdb__user *user, uint32_t request, const void *payload, uint32_t len, const int *fds,
                  uint32_t nfds);
static inline int vdb__user_say64(struct vdb__user *user, uint32_t request, uint64_t value)
{
	return vdb__user_say(user, request, &value, sizeof(value), NULL, 0);
}

/* Asks, and takes an answer of exactly `len` bytes; `fd`: the one fd that must come with it (NULL: none is
 * wanted). */
int vdb__user_ask(struct vdb__user *user, uint32_t request, const void *payload, uint32_t payload_len,
                  void *answer, uint32_t len, int *fd);
int vdb__user_ask64(struct vdb__user *user, uint32_t request, uint64_t *value);

/* Takes what has come on the channel: one message. */
int vdb__user_channel(struct vdb__user *user, uint64_t deadline);

/* ---- user_peer.c ---- */

/* The first time: finds out what the back end is. */
int vdb__user_connect(struct vdb__user *user);
int vdb__user_read_config(struct vdb__user *user, uint8_t *to);
/* Closes everything. NULL is fine. */
void vdb__user_destroy(struct vdb__user *user);

static inline bool vdb__user_has(const struct vdb__user *user, enum vdb__user_protocol feature)
{
	return user->protocol >> feature & 1;
}

#endif
