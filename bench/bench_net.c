/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same guest sends and receives the same frames in two VMMs. A case is VMM-RING-WORK-SIZE, and what
 * follows.
 *
 * VMM: vdb, the library; qemu, QEMU's microvm, virtio-net in its main loop; vhost, QEMU, virtio-net in the
 * kernel, where there is /dev/vhost-net.
 *
 * RING: split, packed; -plain: without EVENT_IDX.
 *
 * WORK: send, from the guest to a tap, whose host drops the frames; receive, from a tap whose queue is full
 * (net_sender.c); ping, echo requests to the host's IP stack, one at a time; pings, 64 at a time; send-uplink
 * and pings-uplink, the same through the library's switch and a cable to the tap; pair, from one device of
 * the guest to its other one, over a -switch (the library's), a -bridge (the kernel's, two taps), -sockets
 * (QEMU's dgram netdevs) or a -hub (QEMU's, within one process).
 *
 * SIZE: 64, 1500 (1514 bytes of frame), 64k (TCP: 45 segments of an Ethernet, if anybody segments it).
 *
 * -asleep, -calls: no polling; the system calls are counted (which takes time).
 *
 * Or it is one of these, on a split ring and a tap, the loop asleep when it can be:
 *
 * beside, beside-send, beside-receive: round trips of a disk, whose requests come one by one, alone, while
 * the guest floods transmit, while the host floods receive. The disk is -f FILE, in the page cache. Disk and
 * network are tenants of their own on one loop; with -poll it looks all the time.
 *
 * idle, idle-qemu: wake-ups of all threads of a VM that does nothing, with net and (idle) vsock.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "name.h"
#include "net.h"
#include "net_frames.h"
#include "said.h"
#include "tap.h"

static const struct {
	const char *name;
	void (*run)(const struct bench_options *o, const struct net_job *job, char *text);
	bool vhost;
} vmms[] = {{"vdb", net_vdb, false}, {"qemu", net_qemu, false}, {"vhost", net_qemu, true}};

static const struct {
	const char *name;
	uint32_t flags;
} rings[] = {{"split-plain", NET_PLAIN},
             {"split", 0},
             {"packed-plain", NET_PACKED | NET_PLAIN},
             {"packed", NET_PACKED}};

static const struct {
	const char *name, *op, *what;
	uint32_t between, depth;
	uint32_t frames; /* on the wire, for each that the guest counts */
} works[] = {
        {"send-uplink", "op=send", "guest to host, by a switch and its uplink", NET_UPLINK, 1, 1},
        {"pings-uplink", "op=ping", "guest to host and back by an uplink, 64 at a time", NET_UPLINK, 64, 2},
        {"send", "op=send", "guest to host", NET_TAP, 1, 1},
        {"receive", "op=receive", "host to guest", NET_TAP, 1, 1},
        {"pings", "op=ping", "guest to host and back, 64 at a time", NET_TAP, 64, 2},
        {"ping", "op=ping", "guest to host and back", NET_TAP, 1, 2},
        {"pair-switch", "op=pair", "device to device, the library's switch", NET_SWITCH, 192, 1},
        {"pair-bridge", "op=pair", "device to device, two taps and a bridge", NET_BRIDGE, 192, 1},
        {"pair-sockets", "op=pair", "device to device, datagram sockets", NET_SOCKETS, 192, 1},
        {"pair-hub", "op=pair", "device to device, a hub within the process", NET_HUB, 192, 1}};

static const struct {
	const char *name;
	uint32_t size;
	bool segments;
} sizes[] = {{"64", 64, false}, {"1500", 1514, false}, {"64k", 54 + 45 * 1448, true}};

/* What a case's name says, besides its job. */
struct named {
	struct net_job job;
	uint32_t frames;
	char what[160];
};

#define BESIDE "a disk's round trip"
#define BESIDE_TIMES 3u       /* as long as others: there are so few requests beside the backlogs */
#define LONG_POLL_NS 1000000u /* longer than the gap between two requests */

static const struct {
	const char *name, *op, *what;
	uint32_t poll_ns;
} besides[] = {{"beside", "op=beside", BESIDE ", alone", 0},
               {"beside-send", "op=beside flood=send", BESIDE " beside a guest that floods transmit", 0},
               {"beside-receive", "op=beside flood=receive", BESIDE " beside a host that floods receive", 0},
               {"beside-poll", "op=beside", BESIDE ", alone, the loop always looks", LONG_POLL_NS},
               {"beside-send-poll", "op=beside flood=send",
                BESIDE " beside flooding transmit, the loop always looks", LONG_POLL_NS},
               {"beside-receive-poll", "op=beside flood=receive",
                BESIDE " beside flooding receive, the loop always looks", LONG_POLL_NS}};

static const struct {
	const char *name, *what;
	void (*run)(const struct bench_options *o, const struct net_job *job, double *wakes);
	bool vsock;
} idles[] = {{"idle", "wake-ups a second of an idle VM with net and vsock, all threads", net_vdb_idle, true},
             {"idle-qemu", "wake-ups a second of an idle QEMU with net, all threads", net_qemu_idle, false}};

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static const char *vmm_name(size_t i)
{
	return vmms[i].name;
}

static const char *ring_name(size_t i)
{
	return rings[i].name;
}

static const char *work_name(size_t i)
{
	return works[i].name;
}

static const char *size_name(size_t i)
{
	return sizes[i].name;
}

static bool possible(const struct net_job *job)
{
	bool ours = job->run == net_vdb;

	switch (job->between) {
	case NET_SWITCH:
		return ours;
	case NET_UPLINK:
		return ours && !job->segments;
	case NET_SOCKETS:
	case NET_HUB:
		return !ours && !job->vhost && !job->segments;
	default:
		return !job->segments || strcmp(job->op, "op=ping") != 0;
	}
}

static bool understand(const char *name, struct named *n)
{
	const char *at = name;
	size_t vmm, ring, work, size;
	bool asleep;

	if (!name_find(&at, vmm_name, ROWS(vmms), &vmm) || !name_find(&at, ring_name, ROWS(rings), &ring) ||
	    !name_find(&at, work_name, ROWS(works), &work) || !name_find(&at, size_name, ROWS(sizes), &size))
		return false;
	n->job = (struct net_job){
	        .run = vmms[vmm].run,
	        .vhost = vmms[vmm].vhost,
	        .ring = rings[ring].flags,
	        .between = works[work].between,
	        .op = works[work].op,
	        .size = sizes[size].size,
	        .segments = sizes[size].segments,
	        .depth = sizes[size].segments && works[work].depth > 8 ? 8 : works[work].depth,
	};
	asleep = name_step(&at, "asleep");
	n->job.poll_ns = asleep ? 0 : NET_POLL_NS;
	n->job.count_calls = name_step(&at, "calls");
	n->frames = works[work].frames;
	snprintf(n->what, sizeof(n->what), "%s, %u-byte frames: %s, %s%s", works[work].what, n->job.size,
	         vmms[vmm].name, rings[ring].name, asleep ? ", loop asleep" : "");
	return !*at && possible(&n->job) && (!asleep || n->job.run == net_vdb);
}

/* ---- Running one ---- */

static void make_network(const struct net_job *job)
{
	tap_namespace();
	if (job->between == NET_TAP || job->between == NET_UPLINK || job->between == NET_BRIDGE)
		tap_make(NET_TAP_0, NET_HOST);
	if (job->between == NET_TAP || job->between == NET_UPLINK)
		tap_address(NET_TAP_0);
	if (job->between == NET_BRIDGE) {
		tap_make(NET_TAP_1, NET_HOST + 1);
		tap_bridge("bench-bridge", NET_TAP_0, NET_TAP_1);
	}
	if (job->vhost && access("/dev/vhost-net", R_OK | W_OK))
		bench_die(BENCH_SKIPPED, "no /dev/vhost-net here");
}

/* What the guest sent has come out of the tap, each frame. */
static void compare_sent(const struct net_job *job, uint64_t all)
{
	uint64_t received = tap_received(NET_TAP_0);

	if (!strcmp(job->op, "op=send") && received != all)
		bench_die(BENCH_FAILED, "the guest sent %llu frames, and %llu came out",
		          (unsigned long long)all, (unsigned long long)received);
}

static void run(const struct bench_options *o, const struct net_job *job, char *text)
{
	struct net_sender *sender = NULL;

	make_network(job);
	if (strstr(job->op, "receive"))
		sender = net_sender_start(job);
	job->run(o, job, text);
	if (sender)
		net_sender_stop(sender, o);
}

/* A switch drops what there is no room for: what came out counts. */
static double came_out(const struct net_job *job, uint64_t all)
{
	if (job->between != NET_UPLINK || strcmp(job->op, "op=send") != 0)
		return 1;
	return (double)tap_received(NET_TAP_0) / (double)all;
}

static void report(const struct bench_options *o, const char *name, const struct named *n, const char *text,
                   uint64_t calls)
{
	const struct bench_case c = {.name = name};
	const char *done = said_done(text);
	uint64_t completed = said_number(done, " completed="), all = said_number(done, " all=");
	double seconds = bench_ticks_to_ns((double)said_number(done, " ran=")) / 1e9, part;

	if (said_number(done, " wrong=") || !completed || seconds <= 0)
		bench_die(BENCH_FAILED, "it went wrong: %s", text);
	if (n->job.between == NET_TAP)
		compare_sent(&n->job, all);
	if (n->job.count_calls) {
		bench_row(o, &c, "calls", (double)calls / (double)(all * n->frames), "", n->what);
		return;
	}
	part = came_out(&n->job, all);
	bench_row(o, &c, "rate", (double)completed * part / seconds, "1/s", n->what);
	bench_row(o, &c, "bytes", (double)said_number(done, " bytes=") * part / seconds / 1e6, "MB/s",
	          "  their bytes");
	bench_row(o, &c, "rung", (double)said_number(done, " rung=") / (double)all, "",
	          "  doorbells rung, per frame");
	if (part < 1)
		bench_row(o, &c, "lost", 1 - part, "", "  of them dropped by the switch");
	if (!strncmp(n->job.op, "op=pair", 7))
		bench_row(o, &c, "lost", (double)said_number(done, " lost=") / (double)all, "",
		          "  of them lost on the way");
	if (strcmp(n->job.op, "op=ping") != 0 || n->job.depth > 1)
		return;
	bench_row(o, &c, "p50", bench_ticks_to_ns((double)said_number(done, " p50=")), "ns",
	          "  round trip, p50");
	bench_row(o, &c, "p99", bench_ticks_to_ns((double)said_number(done, " p99=")), "ns",
	          "  round trip, p99");
}

static void run_named(const struct bench_options *o, const char *name)
{
	char text[NET_TEXT];
	uint64_t calls = 0;
	struct named n = {0};

	if (!understand(name, &n))
		return;
	n.job.calls = &calls;
	run(o, &n.job, text);
	report(o, name, &n, text, calls);
}

/* ---- The other cases ---- */

static struct net_job on_tap(const char *op, uint64_t *calls)
{
	return (struct net_job){
	        .run = net_vdb, .between = NET_TAP, .op = op, .size = 64, .depth = 1, .calls = calls};
}

static void run_beside(const struct bench_options *o, size_t i)
{
	const struct bench_case c = {.name = besides[i].name};
	struct bench_options longer = *o;
	uint64_t calls = 0;
	struct net_job job = on_tap(besides[i].op, &calls);
	char text[NET_TEXT];
	const char *done;

	job.disk = true;
	job.poll_ns = besides[i].poll_ns;
	longer.ms *= BESIDE_TIMES;
	run(&longer, &job, text);
	done = said_done(text);
	if (said_number(done, " wrong=") || !said_number(done, " completed="))
		bench_die(BENCH_FAILED, "it went wrong: %s", text);
	bench_row(o, &c, "p50", bench_ticks_to_ns((double)said_number(done, " p50=")), "ns", besides[i].what);
	bench_row(o, &c, "p99", bench_ticks_to_ns((double)said_number(done, " p99=")), "ns", "  p99");
	if (strstr(job.op, "flood"))
		bench_row(o, &c, "flood",
		          (double)said_number(done, " all=") / (double)said_number(done, " completed="), "",
		          "  frames of the flood for each request of the disk");
}

static void run_idle(const struct bench_options *o, size_t i)
{
	const struct bench_case c = {.name = idles[i].name};
	uint64_t calls = 0;
	struct net_job job = on_tap("op=idle", &calls);
	double wakes = 0;

	job.vsock = idles[i].vsock;
	make_network(&job);
	idles[i].run(o, &job, &wakes);
	bench_row(o, &c, "wakes", wakes, "1/s", idles[i].what);
}

static const char *beside_name(size_t i)
{
	return besides[i].name;
}

static const char *idle_name(size_t i)
{
	return idles[i].name;
}

static bool exactly(const char *text, const char *(*name)(size_t), size_t rows, size_t *index)
{
	for (*index = 0; *index < rows; ++*index)
		if (!strcmp(text, name(*index)))
			return true;
	return false;
}

/* Does it, or with `try` only says whether there is such a case. */
static bool run_case(const struct bench_options *o, const char *name, bool try)
{
	struct named n = {0};
	size_t i;

	if (exactly(name, beside_name, ROWS(besides), &i)) {
		if (!try)
			run_beside(o, i);
		return true;
	}
	if (exactly(name, idle_name, ROWS(idles), &i)) {
		if (!try)
			run_idle(o, i);
		return true;
	}
	if (!understand(name, &n))
		return false;
	if (!try)
		run_named(o, name);
	return true;
}

static void usage(void)
{
	printf("usage: bench_net [OPTION...] CASE...\n");
	bench_usage();
	printf("CASE: VMM-RING-WORK-SIZE[-asleep][-calls], or");
	for (size_t i = 0; i < ROWS(besides); i++)
		printf(" %s,", besides[i].name);
	printf(" %s, %s\nVMM: vdb, qemu, vhost\nRING: split, split-plain, packed, packed-plain\n"
	       "SIZE: 64, 1500, 64k\nWORK:",
	       idles[0].name, idles[1].name);
	for (size_t i = 0; i < ROWS(works); i++)
		printf(" %s (%s)%s", works[i].name, works[i].what, i + 1 < ROWS(works) ? "," : "\n");
}

int main(int argc, char **argv)
{
	struct bench_options o;
	bool good = bench_options(argc, argv, "net", &o) && *o.cases;

	for (char **name = o.cases; good && *name; name++)
		good = run_case(&o, *name, true);
	if (!good) {
		usage();
		return 2;
	}
	for (char **name = o.cases; *name; name++)
		(void)run_case(&o, *name, false);
	return 0;
}
