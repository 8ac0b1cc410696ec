/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One guest image (guest/vsock.c) and one program of the host that exchange bytes, by the library's vsock, by
 * the kernel's vhost, or with a thread in the guest's place, by nothing but a socket: the limit.
 */
#ifndef BENCH_VSOCK_H
#define BENCH_VSOCK_H

#include "bench.h"

enum { VSOCK_SEND, VSOCK_RECEIVE, VSOCK_PING }; /* as the guest sees it */
enum { VSOCK_VDB, VSOCK_VHOST, VSOCK_SOCKET };

struct vsock_job {
	uint32_t work;    /* VSOCK_SEND, ... */
	uint32_t by;      /* VSOCK_VDB, ... */
	uint32_t size;    /* bytes of a packet, or of a system call */
	bool packed;      /* rings */
	bool shared;      /* socket: both on the loop's CPU, as loop and program are */
	uint32_t poll_ns; /* vdb: that the loop looks before it sleeps */
	bool count_calls; /* of the kernel, by the loop's thread; costs time */
};

/* Times are in ticks of the TSC. */
struct vsock_result {
	uint64_t completed, bytes, ran;
	uint64_t all; /* warm-up included: bytes that the guest's side sent */
	uint64_t rung, calls;
	uint64_t p50, p99;
};

#define VSOCK_POLL_NS 32768u /* as for disks and networks */
#define VSOCK_WARM_UP 5u     /* part of the time that it is measured for */

/* Each runs the job to its end, or dies. */
void vsock_vdb(const struct bench_options *o, const struct vsock_job *job, struct vsock_result *result);
void vsock_socket(const struct bench_options *o, const struct vsock_job *job, struct vsock_result *result);

/* ---- The program of the host: a process on the loop's CPU ---- */

struct vsock_peer;

/* To be started before there are threads. *fd: the other end of its socket; with vhost it listens instead,
 * and *fd is -1. */
struct vsock_peer *vsock_peer_start(const struct bench_options *o, const struct vsock_job *job, int *fd);
/* Waits for its end, which comes when the other side has ended; dies if not all of `sent` came. */
void vsock_peer_end(struct vsock_peer *peer, uint64_t sent);

#endif
