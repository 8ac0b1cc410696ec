/* SPDX-License-Identifier: Apache-2.0 */
/* --net: a network card, and what it is connected to. */
#ifndef TINYVMM_NET_H
#define TINYVMM_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "limits.h"

#define NET_MAX 8u

struct device;
struct run;
struct run_options;
struct vdb_limit;
struct vdb_netdev;

enum net_kind {
	NET_NONE,
	NET_TAP,
	NET_USER, /* passt */
};

struct net {
	enum net_kind kind;
	char tap[64]; /* "": the kernel names it; longer than a name may be, which the library says */
	bool up;      /* bring the tap up */
	char id[32];  /* for messages and statistics */
	uint8_t mac[6];
	uint32_t queues;
	uint32_t mtu; /* 0: the tap's, or what passt says */
	bool vhost;   /* the kernel moves its packets */
	bool packed;
	bool packed_given;
	struct rates rates;
	struct vdb_netdev *netdev;
	struct vdb_limit *limit; /* NULL: none */
};

/* Takes the text behind the --net number `number`. 0, or -1 after a complaint. */
int net_parse(struct net *net, const char *text, uint32_t number);

/* What it is connected to must be there before the VM is. 0, or -1 after a complaint. */
int net_open(struct net *net);
void net_close(struct net *net);

/* As devices.c makes devices. */
uint32_t net_count(const struct run_options *options);
int net_create(struct run *run, struct device *device, uint32_t index);

#endif
