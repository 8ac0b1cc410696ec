/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One guest image (guest/net.c) that sends and receives frames, in two VMMs: ours, made of the library, and
 * QEMU. A job says what it does and what its devices are connected to, a result how it went.
 */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <sys/types.h>

#include "bench.h"

#define NET_PACKED (1u << 0) /* rings */
#define NET_PLAIN (1u << 1)  /* without EVENT_IDX, which QEMU's split ring is faster without */

/* What is between the two devices of op=pair; others have one device on a tap, or on a switch with a tap as
 * its uplink. */
enum { NET_TAP, NET_UPLINK, NET_SWITCH, NET_BRIDGE, NET_SOCKETS, NET_HUB };

#define NET_TAP_0 "bench-tap0"
#define NET_TAP_1 "bench-tap1"
#define NET_SLOT_BYTES 0x1000u /* of our devices' registers, one behind the other */

struct net_job {
	void (*run)(const struct bench_options *o, const struct net_job *job, char *text);
	uint32_t ring;    /* NET_PACKED, ... */
	uint32_t between; /* NET_TAP, ... */
	const char *op;   /* as the guest's command line has it */
	uint32_t size;    /* bytes of a frame */
	uint32_t depth;
	bool segments;    /* larger than an Ethernet's: TCP that is segmented by whoever must */
	bool vhost;       /* QEMU: the kernel serves the queues */
	uint32_t poll_ns; /* vdb: that the loop looks before it sleeps */
	bool count_calls; /* of the kernel, by the thread that serves; costs time */
	uint64_t *calls;  /* 0, or with it: how many */
	bool disk;        /* vdb: o->file, or without one a file in memory */
	bool vsock;       /* vdb */
};

#define NET_TEXT 512
#define NET_CMDLINE 512
#define NET_WARM_UP 5u     /* part of the time that it is measured for */
#define NET_WAIT_MS 60u    /* within which a backlog is there */
#define NET_GAP_US 200u    /* between two requests of op=beside */
#define NET_POLL_NS 32768u /* as for disks; QEMU's main loop does not look */

/* Each runs the job to its end or dies; what the guest said is in `text`, NET_TEXT bytes. */
void net_vdb(const struct bench_options *o, const struct net_job *job, char *text);
void net_qemu(const struct bench_options *o, const struct net_job *job, char *text);

/* The guest is idle: how often any thread of the VMM wakes up in a second. */
void net_vdb_idle(const struct bench_options *o, const struct net_job *job, double *wakes);
void net_qemu_idle(const struct bench_options *o, const struct net_job *job, double *wakes);
/* Of the threads of `pid`, but the calling one; takes its time. */
double net_wakes(const struct bench_options *o, pid_t pid);

void net_cmdline(const struct bench_options *o, const struct net_job *job, char line[NET_CMDLINE]);

/* ---- The backlogs that the guest orders ---- */

/* A thread that sends as many frames as each order says (NET_TYPE_ORDER) to the guest behind NET_TAP_0: and
 * is at rest before the guest takes them. */
struct net_sender;
struct net_sender *net_sender_start(const struct net_job *job);
/* Dies if a backlog was not complete or, unless it is but a smoke test, late. */
void net_sender_stop(struct net_sender *sender, const struct bench_options *o);

/* Frames of a backlog of this job. */
uint32_t net_backlog(const struct net_job *job);

#endif
