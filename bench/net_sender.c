/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of op=receive. A sender that ran beside the receiver would share a CPU with it, and what is
 * measured were mostly the sender; so the tap's queue is filled first, and the time taken from then on.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "net_frames.h"
#include "tap.h"

#define BATCH 64u
#define BACKLOG 8192u
#define BACKLOG_BESIDE 18000u /* of which only a part is taken for each request of the disk */
#define BACKLOG_SEGMENTS 512u /* 32 MiB */

struct net_sender {
	const struct net_job *job;
	pthread_t thread;
	int orders, out, quit;
	uint64_t worst_ns; /* that a backlog took */
	struct virtio_net_hdr header;
	uint8_t frame[NET_FRAME_MAX];
};

uint32_t net_backlog(const struct net_job *job)
{
	if (job->disk)
		return BACKLOG_BESIDE;
	return job->segments ? BACKLOG_SEGMENTS : BACKLOG;
}

/* `type`: of frames to receive; 0: none. */
static int open_socket(uint16_t type, bool header)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
	                         .sll_protocol = htons(type),
	                         .sll_ifindex = (int)tap_index(NET_TAP_0)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || (header && setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on))) ||
	    bind(fd, (struct sockaddr *)&to, sizeof(to)))
		bench_die(errno == EPERM ? BENCH_SKIPPED : BENCH_FAILED, "a packet socket: %s",
		          strerror(errno));
	(void)setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on));
	return fd;
}

static void write_frame(struct net_sender *s)
{
	if (!s->job->segments) {
		net_header(s->frame, NET_GUEST_0, NET_NOBODY, NET_TYPE_DATA);
		return;
	}
	net_segments(s->frame, s->job->size, NET_GUEST_0, NET_NOBODY);
	s->header = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
	                                    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
	                                    .gso_size = 1448,
	                                    .hdr_len = NET_HEADER + NET_IP + NET_TCP,
	                                    .csum_start = NET_HEADER + NET_IP,
	                                    .csum_offset = 16};
}

static void send_backlog(struct net_sender *s, uint64_t count)
{
	struct iovec parts[] = {{&s->header, sizeof(s->header)}, {s->frame, s->job->size}};
	struct mmsghdr batch[BATCH] = {0};
	uint64_t start = bench_ns(), took;
	unsigned n;
	int sent;

	for (n = 0; n < BATCH; n++)
		batch[n].msg_hdr = (struct msghdr){.msg_iov = s->job->segments ? parts : parts + 1,
		                                   .msg_iovlen = s->job->segments ? 2 : 1};
	for (; count; count -= (unsigned)sent) {
		n = count < BATCH ? (unsigned)count : BATCH;
		sent = sendmmsg(s->out, batch, n, 0);
		if (sent <= 0)
			bench_die(BENCH_FAILED, "sending to a tap: %s", strerror(errno));
	}
	took = bench_ns() - start;
	s->worst_ns = took > s->worst_ns ? took : s->worst_ns;
}

static void *obey(void *arg)
{
	struct net_sender *s = arg;
	struct pollfd fds[] = {{.fd = s->orders, .events = POLLIN}, {.fd = s->quit, .events = POLLIN}};
	uint8_t order[128];

	for (;;) {
		if (poll(fds, 2, -1) < 0 || fds[1].revents)
			return NULL;
		if (recv(s->orders, order, sizeof(order), MSG_DONTWAIT) >= (ssize_t)NET_STAMPED)
			send_backlog(s, net_number(order));
	}
}

struct net_sender *net_sender_start(const struct net_job *job)
{
	struct net_sender *s = calloc(1, sizeof(*s));

	if (!s)
		bench_die(BENCH_FAILED, "no memory");
	s->job = job;
	s->orders = open_socket(NET_TYPE_ORDER, false);
	s->out = open_socket(0, job->segments);
	s->quit = eventfd(0, EFD_CLOEXEC);
	write_frame(s);
	if (s->quit < 0 || pthread_create(&s->thread, NULL, obey, s))
		bench_die(BENCH_FAILED, "no thread");
	return s;
}

void net_sender_stop(struct net_sender *s, const struct bench_options *o)
{
	if (eventfd_write(s->quit, 1))
		bench_die(BENCH_FAILED, "eventfd: %s", strerror(errno));
	pthread_join(s->thread, NULL);
	if (tap_dropped(NET_TAP_0))
		bench_die(BENCH_FAILED, "the tap dropped frames of a backlog");
	if (!o->quick && s->worst_ns > NET_WAIT_MS * 1000000ull)
		bench_die(BENCH_FAILED, "a backlog took %.1f ms, the guest waits %u: this host is busy",
		          (double)s->worst_ns / 1e6, NET_WAIT_MS);
	close(s->orders);
	close(s->out);
	close(s->quit);
	free(s);
}
