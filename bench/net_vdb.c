/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library's network: one or two virtio-net devices behind mmio registers, on taps or a switch, and a loop
 * of their own. And what may be beside them: a disk, vsock.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "calls.h"
#include "disk.h"
#include "net.h"
#include "net_frames.h"
#include "said.h"
#include "vmm.h"

#define DEVICES 3u
#define QUEUE 256u /* as QEMU has it */
#define FILE_BYTES (64u << 20)
#define CID 3u

struct plug {
	struct vdb_virtio *device;
	struct vdb_virtio_mmio *mmio;
};

struct net {
	struct vmm m;
	struct vdb_loop *loop;
	struct vdb_switch *sw;
	struct vdb_cable *uplink;
	struct vdb_virtio_config at;
	struct plug plugs[DEVICES];
	uint32_t count;
};

static void make_loop(struct net *n, const struct bench_options *o, const struct net_job *job)
{
	const struct vdb_loop_config config = {.size = sizeof(config), .poll_ns = job->poll_ns};

	bench_must(vdb_loop_create(&config, &n->loop));
	bench_must(vdb_loop_start(n->loop, o->loop_cpu, "loop"));
}

/* ---- Devices ---- */

/* The next registers. */
static void plug_device(struct net *n, struct vdb_virtio *device)
{
	const struct vdb_virtio_mmio_config config = {.size = sizeof(config),
	                                              .gsi = VMM_GSI + n->count,
	                                              .base = VMM_DISK + n->count * NET_SLOT_BYTES};
	struct plug *plug = &n->plugs[n->count++];

	plug->device = device;
	bench_must(vdb_virtio_mmio_create(n->m.vm, device, &config, &plug->mmio));
}

static struct vdb_netdev *open_tap(unsigned i)
{
	const struct vdb_tap_config tap = {.size = sizeof(tap), .name = i ? NET_TAP_1 : NET_TAP_0};
	struct vdb_netdev *netdev;

	bench_must(vdb_netdev_tap(&tap, &netdev));
	return netdev;
}

static struct vdb_netdev *new_port(struct net *n)
{
	struct vdb_netdev *netdev;

	if (!n->sw)
		bench_must(vdb_switch_create(n->loop, NULL, &n->sw));
	bench_must(vdb_switch_port(n->sw, NULL, &netdev));
	return netdev;
}

static void make_uplink(struct net *n)
{
	const struct vdb_cable_config cable = {.size = sizeof(cable), .netdev = {new_port(n), open_tap(0)}};

	bench_must(vdb_cable_create(n->loop, &cable, &n->uplink));
	vdb_netdev_destroy(cable.netdev[0]);
	vdb_netdev_destroy(cable.netdev[1]);
}

static struct vdb_netdev *make_netdev(struct net *n, const struct net_job *job, unsigned i)
{
	return job->between == NET_SWITCH || job->between == NET_UPLINK ? new_port(n) : open_tap(i);
}

static void plug_nic(struct net *n, const struct net_job *job, unsigned i)
{
	struct vdb_net_config net = {.size = sizeof(net), .netdev = make_netdev(n, job, i)};
	struct vdb_virtio *device;

	net_mac(net.mac, (uint8_t)(NET_GUEST_0 + i));
	bench_must(vdb_net_create(&n->at, &net, &device));
	vdb_netdev_destroy(net.netdev);
	plug_device(n, device);
}

/* A file in the page cache: whatever else takes long, it is not a disk. One in memory, for which the kernel
 * takes a thread of its own each time, is for want of one. */
static struct vdb_backend *open_disk(const struct bench_options *o)
{
	const struct disk_job job = {.path = o->file, .bytes = FILE_BYTES};
	struct vdb_file_config file = {.size = sizeof(file)};
	struct vdb_backend *backend;
	char path[64];
	int fd;

	disk_ready(&job);
	fd = o->file ? disk_open(&job) : memfd_create("bench-disk", MFD_CLOEXEC);
	if (fd < 0 || (!o->file && ftruncate(fd, FILE_BYTES)))
		bench_die(BENCH_FAILED, "a file in memory: %s", strerror(errno));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	file.path = path;
	bench_must(vdb_backend_file(&file, &backend));
	close(fd);
	return backend;
}

static void plug_disk(struct net *n, const struct bench_options *o)
{
	const struct vdb_blk_config blk = {.size = sizeof(blk), .at = &n->at, .backend = open_disk(o)};
	struct vdb_virtio *device;

	bench_must(vdb_blk_create(&blk, &device));
	vdb_backend_destroy(blk.backend);
	plug_device(n, device);
}

static int refuse(void *arg, uint32_t port)
{
	(void)arg;
	(void)port;
	return -ECONNREFUSED;
}

static void plug_vsock(struct net *n)
{
	const struct vdb_vsock_config vsock = {.size = sizeof(vsock), .cid = CID, .connect = refuse};
	struct vdb_virtio *device;

	bench_must(vdb_vsock_create(&n->at, &vsock, &device));
	plug_device(n, device);
}

/* ---- The whole ---- */

static void make(struct net *n, const struct bench_options *o, const struct net_job *job)
{
	*n = (struct net){0};
	vmm_create(&n->m);
	make_loop(n, o, job);
	n->at = (struct vdb_virtio_config){
	        .size = sizeof(n->at), .mem = n->m.mem, .loop = n->loop, .queue_size = QUEUE};
	plug_nic(n, job, 0);
	if (job->between == NET_UPLINK)
		make_uplink(n);
	else if (job->between != NET_TAP)
		plug_nic(n, job, 1);
	if (job->disk)
		plug_disk(n, o);
	if (job->vsock)
		plug_vsock(n);
}

static void cut_uplink(struct net *n)
{
	struct vdb_gate *gone;

	if (!n->uplink)
		return;
	gone = bench_gate();
	vdb_cable_destroy(n->uplink, bench_gate_open, vdb_gate_ref(gone));
	bench_gate_wait(gone);
}

static void unplug(struct net *n)
{
	cut_uplink(n);
	for (uint32_t i = 0; i < n->count; i++) {
		struct vdb_gate *gone = bench_gate();

		vdb_virtio_mmio_destroy(n->plugs[i].mmio);
		vdb_virtio_destroy(n->plugs[i].device, bench_gate_open, vdb_gate_ref(gone));
		bench_gate_wait(gone);
	}
	vdb_switch_destroy(n->sw);
	bench_must(vdb_loop_join(n->loop));
	bench_must(vdb_loop_destroy(n->loop));
	vmm_destroy(&n->m);
}

static void start(struct net *n, const struct bench_options *o, const struct net_job *job)
{
	char cmdline[NET_CMDLINE];

	net_cmdline(o, job, cmdline);
	vmm_start(&n->m, o, said_guest("bench_net_guest.elf"), cmdline);
}

void net_vdb(const struct bench_options *o, const struct net_job *job, char *text)
{
	struct calls calls = {.fd = -1};
	struct net n;

	make(&n, o, job);
	if (job->count_calls)
		calls_open(&calls, calls_thread("loop"));
	start(&n, o, job);
	snprintf(text, NET_TEXT, "%s", vmm_await(&n.m, o));
	*job->calls = calls_close(&calls);
	unplug(&n);
}

/* Until the guest has said something. */
static void hear(int fd)
{
	char byte = 0;

	while (byte != '\n')
		if (read(fd, &byte, 1) != 1)
			bench_die(BENCH_FAILED, "the guest says nothing");
}

void net_vdb_idle(const struct bench_options *o, const struct net_job *job, double *wakes)
{
	struct net n;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		bench_die(BENCH_FAILED, "pipe: %s", strerror(errno));
	make(&n, o, job);
	n.m.echo = ends[1];
	start(&n, o, job);
	hear(ends[0]);
	*wakes = net_wakes(o, getpid());
	bench_must(vdb_vm_stop(n.m.vm, NULL, NULL));
	unplug(&n);
	close(ends[0]);
	close(ends[1]);
}
