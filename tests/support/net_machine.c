/* SPDX-License-Identifier: Apache-2.0 */
#include "net_machine.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vdb/netsock.h>

#include "../../examples/guest/net_frames.h"
#include "arena.h"
#include "engine.h"

#define FRAMES 3000u
#define DEPTH 24u
#define LONGEST 1514u
#define BIT(feature) (1ull << (feature))
#define MERGE BIT(VIRTIO_NET_F_MRG_RXBUF)

const uint64_t net_machine_rings[NET_RINGS_TRIED] = {
        0,
        BIT(VIRTIO_RING_F_EVENT_IDX) | MERGE,
        BIT(VIRTIO_F_RING_PACKED) | MERGE,
        BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX),
};

static struct net_params *params_of(const struct net_machine *m)
{
	return (struct net_params *)(void *)(m->f.ram + NET_PARAMS);
}

/* ---- The peer ---- */

static bool check(struct net_machine *m, const uint8_t *frame, uint32_t len)
{
	uint64_t number = m->mirrored;

	if (len >= NET_STAMPED && len == net_some_len(number, m->asked.longest) &&
	    net_number(frame) == number && frame[5] == NET_NOBODY && frame[11] == NET_GUEST_0 &&
	    net_good(frame, len, 0))
		return true;
	snprintf(m->wrong, sizeof(m->wrong), "frame %llu of %u bytes came when %llu of %u was due",
	         len >= NET_STAMPED ? (unsigned long long)net_number(frame) : 0ull, len,
	         (unsigned long long)number, net_some_len(number, m->asked.longest));
	return false;
}

/* Until the socket is shut down. */
static void *mirror(void *arg)
{
	static uint8_t frame[NET_FRAME_MAX + 1];
	struct net_machine *m = arg;
	ssize_t len;

	while ((len = recv(m->peer_fd, frame, sizeof(frame), 0)) > 0) {
		if (!check(m, frame, (uint32_t)len))
			break;
		net_header(frame, NET_GUEST_0, NET_NOBODY, NET_TYPE_DATA);
		net_fill(frame, (uint32_t)len, m->mirrored, 0xff);
		if (send(m->peer_fd, frame, (size_t)len, MSG_NOSIGNAL) != len) {
			snprintf(m->wrong, sizeof(m->wrong), "send: %s", strerror(errno));
			break;
		}
		m->mirrored++;
		m->mirrored_bytes += (uint64_t)len;
	}
	/* What went wrong shall not leave the guest waiting. */
	if (*m->wrong)
		must(vdb_vm_stop(m->f.vm, NULL, NULL));
	return NULL;
}

/* ---- The machine ---- */

void net_machine_open(struct net_machine *m)
{
	struct vdb_loop_config config = test_loop_config();
	int fds[2];

	memset(m, 0, sizeof(*m));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	m->device_fd = fds[0];
	m->peer_fd = fds[1];
	kvm_fixture_make(&m->f, NULL, 1);
	must(vdb_loop_create(&config, &m->loop));
	must(vdb_loop_start(m->loop, -1, NULL));
	arena_begin_case(m->loop);
}

static void end_peer(struct net_machine *m)
{
	shutdown(m->peer_fd, SHUT_RDWR);
	pthread_join(m->peer, NULL);
	m->peer = 0;
}

void net_machine_close(struct net_machine *m)
{
	uint32_t gone = 0;

	if (m->peer)
		end_peer(m);
	vdb_virtio_destroy(m->device, count_done, &gone);
	wait_for32(&gone, 1);
	arena_end_case(m->loop);
	must(vdb_loop_join(m->loop));
	must(vdb_loop_destroy(m->loop));
	kvm_fixture_end(&m->f);
	close(m->device_fd);
	close(m->peer_fd);
}

void net_machine_plug(struct net_machine *m)
{
	const struct vdb_net_socket_config socket = {.size = sizeof(socket), .fd = m->device_fd};
	const struct vdb_virtio_config at = {.size = sizeof(at), .mem = m->f.mem, .loop = m->loop};
	struct vdb_net_config net = {.size = sizeof(net)};

	net_mac(net.mac, NET_GUEST_0);
	must(vdb_netdev_dgram(&socket, &net.netdev));
	must(vdb_net_create(&at, &net, &m->device));
	vdb_netdev_destroy(net.netdev);
}

void net_machine_ask(struct net_machine *m, int rings, bool irq, uint32_t gsi)
{
	uint64_t features = net_machine_rings[rings] | BIT(VIRTIO_NET_F_MAC);

	/* Merged buffers are short, so that most frames take several. */
	m->asked = (struct net_params){.features = features,
	                               .irq = irq,
	                               .gsi = gsi,
	                               .frames = FRAMES,
	                               .depth = DEPTH,
	                               .longest = LONGEST,
	                               .rx_step = features & MERGE ? 512 : 2048};
	*params_of(m) = m->asked;
	ck_assert_int_eq(pthread_create(&m->peer, NULL, mirror, m), 0);
}

void net_machine_ask_idle(struct net_machine *m, uint32_t vsock)
{
	*params_of(m) = (struct net_params){.features = BIT(VIRTIO_RING_F_EVENT_IDX) | MERGE,
	                                    .irq = 1,
	                                    .gsi = 5,
	                                    .longest = LONGEST,
	                                    .rx_step = 2048,
	                                    .idle = 1,
	                                    .vsock = vsock};
}

void net_machine_run(struct net_machine *m)
{
	const struct net_params *params = params_of(m);
	struct vdb_virtio_info info = {.size = sizeof(info)};

	kvm_fixture_run(&m->f, 0);
	end_peer(m);
	ck_assert_msg(!*m->wrong, "the peer: %s", m->wrong);
	ck_assert_uint_eq(m->f.reports, 1);
	ck_assert_msg(m->f.report[0] == NET_OK,
	              "the guest reports %#x: frame %llu of %u bytes came when %llu was due", m->f.report[0],
	              (unsigned long long)params->number, params->len, (unsigned long long)params->expected);
	ck_assert_uint_eq(params->negotiated, m->asked.features | BIT(VIRTIO_F_VERSION_1));
	ck_assert_uint_eq(params->done, FRAMES);
	ck_assert_uint_eq(m->mirrored, FRAMES);
	ck_assert_uint_eq(params->bytes, m->mirrored_bytes);
	ck_assert_uint_eq(params->irqs > 0, m->asked.irq);
	must(vdb_virtio_query(m->device, &info));
	ck_assert_uint_eq(info.status, 0);
	ck_assert_uint_eq(info.broken, 0);
}
