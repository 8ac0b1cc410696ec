/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both sides of the stress of vsock share: conversations. Each is one connection, with an end in the
 * guest that is played (vsock_guest.c) and one on the host (vsock_host.c), told apart by ports. What the ends
 * have of it is written here, so that a conversation that stands still can be told of.
 */
#ifndef VSOCK_TALK_H
#define VSOCK_TALK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#define TALKS 4096u /* at once */
#define NEVER UINT32_MAX
#define GUEST_LISTENS 0x10000000u /* a port of the guest's for each conversation that the host begins, */
#define GUEST_CALLS 0x20000000u   /* one for each that it begins itself, */
#define HOST_LISTENS 0x30000000u  /* and that one's at the host */
#define MOST_TALKS 0x08000000u

/* One end, which has `total` bytes to say. */
struct talk_end {
	uint32_t total, sent, got;
	uint32_t step; /* most bytes of one write or read */
	uint32_t rude; /* goes away when it has sent so many */
	bool ended;    /* the other end says no more */
	bool said_end; /* nor does this one */
	bool reset;    /* it was over before its end */
};

enum talk_guest {
	GUEST_NONE, /* has not heard of it */
	GUEST_ASKS, /* REQUEST has gone */
	GUEST_OPEN,
	GUEST_CLOSES, /* SHUTDOWN has gone: waits for RST */
	GUEST_GONE,
};

enum talk_host {
	HOST_WAITS, /* for the guest's connection */
	HOST_CALLS, /* not connected yet */
	HOST_HELLO, /* CONNECT has gone: waits for OK */
	HOST_OPEN,
	HOST_GONE,
};

struct talk {
	uint32_t id; /* of this and no other; slots are used again */
	bool used, by_guest, nobody;
	bool was_open; /* at both ends */
	struct talk_end guest, host;
	/* The guest's. */
	uint8_t guest_state; /* enum talk_guest */
	uint8_t peer_shut;
	double asked; /* then */
	uint32_t guest_port, host_port;
	uint32_t alloc, read, told;      /* its buffer; what its program has taken; fwd_cnt, as sent */
	uint32_t peer_alloc, peer_taken; /* credit from the device */
	/* The host's. */
	uint8_t host_state; /* enum talk_host */
	int fd;             /* -1: none */
	uint32_t line;      /* bytes of OK, so far */
	int offered;        /* atomic: the guest's connection + 1, from the loop's thread */
};

struct vsock_rig;

struct stress {
	struct vsock_rig *rig;
	struct sockaddr_un calls_to; /* the device's listening socket */
	socklen_t calls_to_len;
	struct talk talks[TALKS];
	uint32_t live[TALKS], nlive; /* slots in use */
	uint32_t next_id;
	uint64_t random;
	uint64_t progress; /* grows with whatever goes on */
	/* Counts. */
	uint64_t begun[2]; /* by the host, by the guest */
	uint64_t whole, refused, given_up, cut, to_guest, to_host, held_back;
};

double stress_now(void); /* seconds */
uint32_t stress_draw(struct stress *s, uint32_t below);
uint8_t talk_byte(const struct talk *t, bool to_guest, uint32_t at);
/* Aborts the program, and says why. */
_Noreturn void stress_wrong(const struct talk *t, const char *what);
/* NULL: there is no such conversation, any more. */
struct talk *stress_find(struct stress *s, uint32_t id);

/* ---- vsock_guest.c ---- */

struct played_guest;

struct played_guest *guest_make(struct stress *s);
void guest_free(struct played_guest *g);
void guest_call(struct played_guest *g, struct talk *t);
/* Rings and packets. */
void guest_drive(struct played_guest *g);
/* Its program. */
void guest_step(struct played_guest *g, struct talk *t);
void guest_tell(const struct played_guest *g, FILE *to);

/* ---- vsock_host.c ---- */

void host_step(struct stress *s, struct talk *t);
/* The guest calls; on the loop's thread. */
int host_answer(void *stress, uint32_t port);

#endif
