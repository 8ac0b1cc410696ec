/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's network: virtio-net behind the mmio registers of a microvm. Its data path runs in the main loop,
 * which is pinned where our loop is.
 */
#include <stdio.h>

#include "calls.h"
#include "net.h"
#include "net_frames.h"
#include "qemu.h"
#include "said.h"

static const char properties[] = "packed=on,event_idx=on,mrg_rxbuf=on,rx_queue_size=256,tx_queue_size=256";

/* What device i is connected to. */
static void describe_link(const struct net_job *job, unsigned i, char *text, size_t room)
{
	switch (job->between) {
	case NET_SOCKETS:
		snprintf(text, room,
		         "dgram,id=net%u,local.type=inet,local.host=127.0.0.1,local.port=%u,"
		         "remote.type=inet,remote.host=127.0.0.1,remote.port=%u",
		         i, 7000 + i, 7001 - i);
		return;
	case NET_HUB:
		snprintf(text, room, "hubport,id=net%u,hubid=0", i);
		return;
	default:
		snprintf(text, room, "tap,id=net%u,ifname=%s,script=no,downscript=no,vhost=%s", i,
		         i ? NET_TAP_1 : NET_TAP_0, job->vhost ? "on" : "off");
		return;
	}
}

/* Started, and stopped still. */
static void start(struct qemu *q, const struct bench_options *o, const struct net_job *job)
{
	char cmdline[NET_CMDLINE], netdev[2][256], device[2][256];
	const char *options[] = {"-netdev", netdev[0], "-device", device[0], "-netdev",
	                         netdev[1], "-device", device[1], NULL};

	for (unsigned i = 0; i < 2; i++) {
		describe_link(job, i, netdev[i], sizeof(netdev[i]));
		snprintf(device[i], sizeof(device[i]),
		         "virtio-net-device,netdev=net%u,mac=02:56:44:42:00:0%u,%s", i, NET_GUEST_0 + i,
		         properties);
	}
	if (job->between == NET_TAP)
		options[4] = NULL;
	net_cmdline(o, job, cmdline);
	qemu_start(q, said_guest("bench_net_guest.elf"), cmdline, options);
	qemu_pin(q, o);
	qemu_pin_main(q, o);
}

void net_qemu(const struct bench_options *o, const struct net_job *job, char *text)
{
	struct calls calls = {.fd = -1};
	struct qemu q;

	start(&q, o, job);
	if (job->count_calls)
		calls_open(&calls, q.pid);
	qemu_go(&q);
	qemu_finish(&q, text, NET_TEXT, said_patience(o));
	*job->calls = calls_close(&calls);
}

void net_qemu_idle(const struct bench_options *o, const struct net_job *job, double *wakes)
{
	struct qemu q;

	start(&q, o, job);
	qemu_go(&q);
	qemu_hear(&q, "idle", said_patience(o));
	*wakes = net_wakes(o, q.pid);
	qemu_kill(&q);
}
