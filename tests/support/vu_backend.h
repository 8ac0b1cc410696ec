/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user back end for tests: listens at a socket, and serves an echo device's queues by the library's
 * own virtqueues and lanes, in the memory that the front end shows it. It can be bad on purpose.
 *
 *     vu_open(&vu);                      vu.path is where
 *     vu_spoil(&vu, VU_GET_VRING_BASE, VU_HANGS);
 *     vu_close(&vu);
 */
#ifndef VU_BACKEND_H
#define VU_BACKEND_H

#include <pthread.h>
#include <stdbool.h>
#include <vdb/vdb.h>

#include "virtio_echo.h"

#define VU_QUEUES 4u
#define VU_REGIONS 8u
#define VU_CONFIG 32u
#define VU_REQUESTS 64u

/* Requests that tests name. */
enum {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES = 2,
	VU_SET_OWNER = 3,
	VU_SET_MEM_TABLE = 5,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR = 9,
	VU_SET_VRING_BASE = 10,
	VU_GET_VRING_BASE = 11,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL = 13,
	VU_SET_VRING_ERR = 14,
	VU_GET_PROTOCOL_FEATURES = 15,
	VU_SET_PROTOCOL_FEATURES = 16,
	VU_GET_QUEUE_NUM = 17,
	VU_SET_VRING_ENABLE = 18,
	VU_SET_CHANNEL = 21,
	VU_GET_CONFIG = 24,
	VU_SET_CONFIG = 25,
	VU_GET_INFLIGHT_FD = 31,
	VU_SET_INFLIGHT_FD = 32,
	VU_RESET_DEVICE = 34,
	VU_SET_STATUS = 39,
	VU_GET_STATUS = 40,
};

/* Protocol features, by bit. */
enum {
	VU_P_MQ,
	VU_P_REPLY_ACK = 3,
	VU_P_CHANNEL = 5,
	VU_P_CONFIG = 9,
	VU_P_INFLIGHT = 12,
	VU_P_RESET_DEVICE = 13,
	VU_P_STATUS = 16
};
#define VU_ALL                                                                                   \
	(1ull << VU_P_MQ | 1ull << VU_P_REPLY_ACK | 1ull << VU_P_CHANNEL | 1ull << VU_P_CONFIG | \
	 1ull << VU_P_INFLIGHT | 1ull << VU_P_RESET_DEVICE | 1ull << VU_P_STATUS)

/* Instead of an answer to a request. */
enum vu_fault {
	VU_GOOD,
	VU_DIES,     /* closes its socket */
	VU_HANGS,    /* says nothing until the front end hangs up */
	VU_BABBLES,  /* answers with bytes that are no message */
	VU_MISTAKES, /* answers another request */
	VU_SHORT,    /* a header whose payload never comes, then the end */
	VU_HUGE,     /* says that its payload has a megabyte */
	VU_GIVES,    /* the answer, and three fds */
	VU_FLOODS,   /* the answer, and thirty fds */
	VU_REFUSES,  /* an acknowledgement that says no; or an answer of no use */
	VU_FAULTS,
	VU_HURRIES = VU_FAULTS, /* not bad: says that its config space is another, then answers */
	VU_CHATTERS,            /* says that without end, and never answers */
};

struct vu_ring {
	uint32_t entries, base, left;
	uint64_t desc, avail, used; /* the front end's addresses */
	int kick, call, err;
	struct vdb_lane *lane;
};

struct vu_region {
	uint64_t gpa, len, address;
};

struct vu_backend {
	char path[108];
	/* What it offers; set before the front end connects. */
	uint64_t features, protocol;
	uint32_t queues;
	uint8_t config[VU_CONFIG]; /* served through config_lock */
	pthread_mutex_t config_lock;
	bool idle; /* atomic: rings are not served */
	/* How it is bad; once. */
	uint32_t fault_at, fault;                 /* atomic */
	uint32_t hangs;                           /* atomic: VU_HANGS, begun */
	uint32_t faults;                          /* atomic: done */
	uint32_t connections, asked[VU_REQUESTS]; /* atomic */
	uint32_t regions_now;                     /* atomic */
	uint64_t status, agreed;                  /* atomic: features */

	int listener, quit_fd, drop_fd;
	pthread_t thread;
	/* The thread's. */
	int sock, channel;
	uint64_t protocol_now;
	struct vdb_mem *mem;
	struct vdb_loop *loop;
	struct virtio_echo echo;
	struct vu_region region[VU_REGIONS];
	uint32_t regions;
	struct vu_ring ring[VU_QUEUES];
};

/* What is not set in `vu` (zeroed by the caller) is: all features, VU_QUEUES. */
void vu_open(struct vu_backend *vu);
void vu_close(struct vu_backend *vu);

/* At the next such request. */
void vu_spoil(struct vu_backend *vu, uint32_t request, enum vu_fault fault);
/* Hangs up now; the next front end is welcome. Does not wait. */
void vu_drop(struct vu_backend *vu);
/* Waits until it has forgotten all front ends that are gone. There must be no other. */
void vu_settle(struct vu_backend *vu);
/* Nobody listens any more at its path, until it does again. */
void vu_leave(struct vu_backend *vu);
void vu_return(struct vu_backend *vu);
/* Changes its config space and says so. */
void vu_renew(struct vu_backend *vu, uint32_t offset, uint8_t value);
/* Says on its channel what nobody knows, with an fd: waits for the answer, and returns that. */
uint64_t vu_babble(struct vu_backend *vu);
/* Writes to the err fd of a ring. */
void vu_give_up(struct vu_backend *vu, uint32_t ring);

#endif
