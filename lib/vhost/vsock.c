/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock (virtio 1.2, 5.10) by /dev/vhost-vsock: the kernel serves the queues for packets, nobody the
 * one for events, of which there are none. */
#include <endian.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <vdb/vhost_vsock.h>

#include "base/error.h"
#include "base/export.h"
#include "queue/chain.h"
#include "vhost/control.h"
#include "vhost/kernel.h"
#include "virtio/device.h"
#include "virtio/ready.h"

#define DEVICE_ID 19u
#define QUEUES 3u
#define SERVED 3u /* a bit for each: receive, transmit */
#define RETRY_MS 100u
#define SEQPACKET (1ull << 1) /* linux/virtio_vsock.h of older systems lacks it */

struct vsock {
	struct vdb__kernel kernel; /* first */
	struct vdb__vhost *vhost;
	struct vdb_backend *events;
	uint64_t cid;
};

/* ---- The kernel's part ---- */

static int set_cid(struct vdb__kernel *kernel)
{
	const struct vsock *vsock = (const struct vsock *)kernel;

	if (!ioctl(kernel->fd, VHOST_VSOCK_SET_GUEST_CID, &vsock->cid))
		return 0;
	if (errno == EADDRINUSE)
		return vdb__fail(EADDRINUSE, "vsock: CID %llu is another guest's; give one that is free",
		                 (unsigned long long)vsock->cid);
	return vdb__kernel_fail(kernel, "VHOST_VSOCK_SET_GUEST_CID");
}

static int run(struct vdb__kernel *kernel, bool on)
{
	int running = on;

	return ioctl(kernel->fd, VHOST_VSOCK_SET_RUNNING, &running)
	               ? vdb__kernel_fail(kernel, "VHOST_VSOCK_SET_RUNNING")
	               : 0;
}

static void free_vsock(struct vdb__kernel *kernel)
{
	struct vsock *vsock = (struct vsock *)kernel;

	vdb__kernel_close(kernel);
	vdb_backend_destroy(vsock->events);
	free(vsock);
}

static const struct vdb__kernel_ops kernel_ops = {
        .path = "/dev/vhost-vsock",
        .module = "vhost_vsock",
        .set_up = set_cid,
        .run = run,
        .destroy = free_vsock,
};

/* ---- The device ---- */

static void config_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
	const struct vsock *vsock = ctx;
	uint64_t cid = htole64(vsock->cid);

	memcpy(data, (const uint8_t *)&cid + offset, len);
}

static struct vdb_backend *backend_of(void *ctx, uint32_t index)
{
	(void)index;
	return ((struct vsock *)ctx)->events;
}

static int never(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	(void)req;
	return -EIO;
}

static uint32_t wants_none(void *ctx)
{
	(void)ctx;
	return 0;
}

static int make_events(struct vdb_backend **out)
{
	static const struct vdb_backend_ops ops = {
	        .size = sizeof(ops), .name = "vsock events", .start = never, .wants = wants_none};
	static const struct vdb_backend_info info = {.size = sizeof(info), .ops = 1u << 31};

	return vdb_backend_create(&ops, NULL, &info, out);
}

static int make_vsock(uint64_t cid, struct vsock **out)
{
	struct vsock *vsock = calloc(1, sizeof(*vsock));
	int rc;

	if (!vsock)
		return vdb__fail(ENOMEM, "vsock: no memory");
	vsock->kernel.peer.ops = &vdb__kernel_peer_ops;
	vsock->kernel.ops = &kernel_ops;
	vsock->kernel.name = "vsock";
	vsock->kernel.queues = SERVED;
	vsock->kernel.fd = -1;
	vsock->cid = cid;
	rc = make_events(&vsock->events);
	if (!rc)
		rc = vdb__kernel_open(&vsock->kernel);
	if (rc)
		free_vsock(&vsock->kernel);
	else
		*out = vsock;
	return rc;
}

static int make_device(struct vsock *vsock, struct vdb_virtio_config *at, struct vdb_virtio **out)
{
	static const struct vdb_virtio_ops ops = {.size = sizeof(ops),
	                                          .device_id = DEVICE_ID,
	                                          .name = "vhost-vsock",
	                                          .config_read = config_read,
	                                          .backend = backend_of};
	struct vdb__vhost *vhost = vsock->vhost;
	int rc;

	at->queues = QUEUES;
	at->config_len = sizeof(vsock->cid);
	at->features = vsock->kernel.features & SEQPACKET;
	at->flags = vdb__kernel_flags(&vsock->kernel, at->flags & ~VDB_VIRTIO_IN_ORDER);
	rc = vdb__virtio_create_remote(&ops, &vdb__framing_plain, vdb__vhost_remote(vhost), vsock, at, out);
	if (rc) {
		vdb__vhost_destroy(vhost);
		return rc;
	}
	rc = vdb__vhost_start(vhost);
	if (rc)
		vdb_virtio_destroy(*out, NULL, NULL);
	return rc;
}

static int check(const struct vdb_virtio_config *at, uint64_t cid)
{
	if (cid < 3 || cid >= UINT32_MAX)
		return vdb__fail(EINVAL, "vsock: CID %llu is reserved; give one from 3",
		                 (unsigned long long)cid);
	if (at->limit)
		return vdb__fail(EINVAL, "vsock: what the kernel serves cannot be limited here");
	return at->mem ? 0 : vdb__fail(EINVAL, "vsock: at->mem must be given");
}

VDB_EXPORT int vdb_vhost_vsock_create(const struct vdb_virtio_config *at, uint64_t cid,
                                      struct vdb_virtio **out)
{
	struct vdb__vhost_config control = {
	        .name = "vsock", .queues = QUEUES, .served = SERVED, .reconnect_ms = RETRY_MS};
	struct vdb_virtio *device = NULL;
	struct vdb_virtio_config own;
	struct vsock *vsock = NULL;
	int rc = vdb__virtio_at(&own, at, "vsock");

	if (!rc)
		rc = check(&own, cid);
	if (!rc)
		rc = make_vsock(cid, &vsock);
	if (rc)
		return rc;
	control.mem = own.mem;
	rc = vdb__vhost_create(&control, &vsock->kernel.peer, &vsock->vhost);
	if (!rc)
		rc = make_device(vsock, &own, &device);
	if (!rc)
		*out = device;
	return rc;
}
