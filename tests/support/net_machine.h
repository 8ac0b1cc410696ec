/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM with a virtio-net device on a datagram socket, a loop on its own thread that serves it, and a peer at
 * the socket's other end: a thread that checks each frame and sends it back, turned over (net_frames.h). The
 * transport and the guest (kvm/guest/net.h) are the test's:
 *
 *     net_machine_open(&m);  net_machine_plug(&m);  a transport for m.device
 *     net_machine_ask(&m, &params);  LOAD_IMAGE(&m.f, ...);  net_machine_run(&m);
 *     the transport is destroyed;  net_machine_close(&m);
 */
#ifndef VDB_TEST_NET_MACHINE_H
#define VDB_TEST_NET_MACHINE_H

#include "../kvm/guest/net_abi.h"
#include "guest_image.h"
#include "run.h"

#define NET_RINGS_TRIED 4

struct net_machine {
	struct kvm_fixture f;
	struct vdb_loop *loop;
	struct vdb_virtio *device;
	struct net_params asked;
	int device_fd, peer_fd;
	pthread_t peer;
	uint64_t mirrored, mirrored_bytes; /* the peer's; after its end */
	char wrong[128];                   /* what it found wrong; "" */
};

/* Features of rings and of receive buffers: split and packed: bare, with all that saves work. */
extern const uint64_t net_machine_rings[NET_RINGS_TRIED];

void net_machine_open(struct net_machine *m);
void net_machine_close(struct net_machine *m);
void net_machine_plug(struct net_machine *m);
/* Tells the guest what to do: `rings` is an index of net_machine_rings, gsi for its interrupt controller. */
void net_machine_ask(struct net_machine *m, int rings, bool irq, uint32_t gsi);
/* Or that it waits for ever, with the vsock device at `vsock`, too. There is no peer then. */
void net_machine_ask_idle(struct net_machine *m, uint32_t vsock);
/* Runs vCPU 0 until the guest ends; fails the test unless both sides saw every frame as it should be. */
void net_machine_run(struct net_machine *m);

#endif
