/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that drives virtio-net, whatever its transport: what net_abi.h asks for. */
#ifndef TESTS_NET_H
#define TESTS_NET_H

#include "net_abi.h"
#include "nic.h"
#include "virtio_mmio.h"
#include "vsock_idle.h"

#define NET_DEVICE 1u

static struct net_params *const net = (struct net_params *)NET_PARAMS;
static struct nic nic;

_Noreturn static inline void net_end(uint32_t status)
{
	net->irqs = guest_irqs;
	guest_out32(NET_PORT, status);
	__asm__ __volatile__("ud2");
	__builtin_unreachable();
}

static inline void net_open(struct virtio *dev)
{
	if (dev->id != NET_DEVICE)
		net_end(NET_NOT_FOUND);
	nic = (struct nic){.dev = *dev,
	                   .tx_step = NET_TX_STEP,
	                   .rx_step = net->rx_step,
	                   .tx_buffers = (uint8_t *)NET_BUFFERS,
	                   .rx_buffers = (uint8_t *)NET_BUFFERS + NET_QUEUE * NET_TX_STEP,
	                   .whole = (uint8_t *)NET_WHOLE,
	                   .size = NET_QUEUE,
	                   .vector = 1};
	if (nic_open(&nic, net->features, (uint8_t *)NET_RINGS))
		net_end(NET_REFUSED);
	net->negotiated = nic.dev.features;
	nic_give(&nic);
}

static inline void net_check(uint64_t expected)
{
	const struct nic_got *got = &nic.got;

	net->number = net_number(got->copy);
	net->expected = expected;
	net->len = got->len;
	if (nic.wrong)
		net_end(NET_USED_WRONG);
	if (net->number != expected || got->len != net_some_len(expected, net->longest) ||
	    !net_good(got->copy, got->len, 0xff))
		net_end(NET_DATA_WRONG);
	net->bytes += got->len;
	net->done++;
}

static inline uint64_t net_send(uint64_t number)
{
	for (; number < net->frames && number - net->done < net->depth && nic_frame(&nic); number++) {
		uint32_t len = net_some_len(number, net->longest);

		net_header(nic_frame(&nic), NET_NOBODY, NET_GUEST_0, NET_TYPE_DATA);
		net_fill(nic_frame(&nic), len, number, 0);
		nic_send(&nic, len, 0);
	}
	nic_publish(&nic, &nic.tx);
	return number;
}

/* Until the device has used something. Either queue may be what the guest waits for. */
static inline void net_wait(void)
{
	uint64_t seen = guest_irqs;

	if (!net->irq) {
		guest_pause();
		return;
	}
	if (virtq_arm(&nic.rx) || virtq_arm(&nic.tx))
		return;
	guest_wait(seen);
	nic.dev.ops->interrupt(&nic.dev);
}

static inline void net_idle(void)
{
	static struct virtio vsock;

	if (net->vsock &&
	    (!virtio_mmio_find(&vsock, net->vsock) || !vsock_idle_open(&vsock, (uint8_t *)NET_VSOCK)))
		net_end(NET_REFUSED);
	(void)virtq_arm(&nic.rx);
	(void)virtq_arm(&nic.tx);
	guest_out32(NET_PORT, NET_IDLE);
	for (;;)
		guest_wait(guest_irqs);
}

static inline void net_run(struct virtio *dev)
{
	uint64_t number = 0;
	uint32_t moved;

	net_open(dev);
	if (net->idle)
		net_idle();
	while (net->done < net->frames) {
		moved = nic_sent(&nic);
		number = net_send(number);
		for (; net->done < number && nic_next(&nic); moved++) {
			net_check(net->done);
			nic_give(&nic);
		}
		if (!moved)
			net_wait();
	}
	while (nic.tx.free < nic.tx.size)
		if (!nic_sent(&nic))
			net_wait();
	virtio_reset(&nic.dev);
	net_end(NET_OK);
}

#endif
