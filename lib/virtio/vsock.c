/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock (5.10) in front of sockets of the host: the device. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "virtio/device.h"
#include "virtio/ready.h"
#include "virtio/vsock.h"

static void cancel_rx(void *ctx, struct vdb_req *req)
{
	((struct vdb__vsock *)ctx)->spare = NULL; /* it is the only one that waits */
	vdb_req_complete(req, -ECANCELED);
}

static int make_backends(struct vdb__vsock *v)
{
	static const struct vdb_backend_ops ops[VDB__VSOCK_QUEUES] = {
	        [VDB__VSOCK_RX] = {.size = sizeof(ops[0]),
	                           .name = "vsock rx",
	                           .start = vdb__vsock_start_rx,
	                           .wants = vdb__vsock_wants_rx,
	                           .cancel = cancel_rx},
	        [VDB__VSOCK_TX] = {.size = sizeof(ops[0]),
	                           .name = "vsock tx",
	                           .start = vdb__vsock_start_tx,
	                           .wants = vdb__vsock_wants_tx},
	        [VDB__VSOCK_EVENT] = {.size = sizeof(ops[0]),
	                              .name = "vsock events",
	                              .start = vdb__vsock_start_event,
	                              .wants = vdb__vsock_wants_event},
	};
	/* Its connections are of one loop. */
	static const struct vdb_backend_info info = {
	        .size = sizeof(info), .flags = VDB_BACKEND_FIXED, .ops = 1u << 31};
	int rc = 0;

	for (unsigned i = 0; i < VDB__VSOCK_QUEUES && !rc; i++)
		rc = vdb_backend_create(&ops[i], v, &info, &v->backends[i]);
	return rc;
}

/* ---- The device ---- */

static void config_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
	const struct vdb__vsock *v = ctx;
	const struct virtio_vsock_config config = {.guest_cid = htole64(v->config.cid)};

	memcpy(data, (const uint8_t *)&config + offset, len);
}

static struct vdb_backend *backend_of(void *ctx, uint32_t index)
{
	return ((struct vdb__vsock *)ctx)->backends[index];
}

/* Who takes neither means streams (5.10.3.1), and who takes only SEQPACKET may have them. */
static int negotiate(void *ctx, uint64_t features)
{
	struct vdb__vsock *v = ctx;

	vdb__store(&v->seqpacket, features >> VDB__VSOCK_F_SEQPACKET & 1 ? 1u : 0u);
	return 0;
}

/* No queue runs, and those that will are attached by posts behind this one. */
static void reset(void *ctx)
{
	struct vdb__vsock *v = ctx;

	vdb__store(&v->transport_reset, 0u);
	(void)vdb__vsock_wake(v, VDB__VSOCK_RESET);
}

/* What the guest was connected to it is not any more, and has to hear of it. */
static int restore(void *ctx, const void *buf, size_t len)
{
	struct vdb__vsock *v = ctx;

	(void)buf;
	if (len)
		return vdb__fail(EINVAL, "vsock: %zu bytes of state that are not known", len);
	vdb__store(&v->transport_reset, 1u);
	return 0;
}

/* No queue has it any more: the name is free at once, the rest is the loop's to let go. */
static void destroy(void *ctx)
{
	struct vdb__vsock *v = ctx;

	vdb__vsock_unlink(v);
	if (vdb__vsock_wake(v, VDB__VSOCK_LEAVE) & VDB__VSOCK_GONE)
		vdb__vsock_free(v);
}

static const struct vdb_virtio_ops vsock_ops = {
        .size = sizeof(vsock_ops),
        .device_id = 19,
        .name = "vsock",
        .config_read = config_read,
        .negotiate = negotiate,
        .backend = backend_of,
        .reset = reset,
        .restore = restore,
        .destroy = destroy,
};

/* ---- Creation ---- */

/* The loop has not heard of it. */
static void drop(struct vdb__vsock *v)
{
	vdb__vsock_unlink(v);
	vdb__vsock_free(v);
}

static int copy_path(struct vdb__vsock *v, const char *path)
{
	if (!path)
		return 0;
	v->config.path = strdup(path);
	return v->config.path ? 0 : vdb__fail(ENOMEM, "vsock: no memory");
}

static int acquire(struct vdb__vsock *v, const char *path)
{
	int rc = copy_path(v, path);

	if (!rc)
		rc = vdb__vsock_table_init(v);
	if (rc)
		return rc;
	v->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (v->epoll_fd < 0)
		return vdb__fail_sys(errno, "vsock: epoll_create1");
	rc = make_backends(v);
	if (!rc)
		rc = vdb__vsock_messages(v);
	return rc ? rc : vdb__vsock_listen(v);
}

static int make(const struct vdb_vsock_config *config, const struct vdb_virtio_config *at,
                struct vdb__vsock **out)
{
	struct vdb__vsock *v = calloc(1, sizeof(*v));
	int rc;

	if (!v)
		return vdb__fail(ENOMEM, "vsock: no memory");
	v->config = *config;
	v->config.path = NULL;
	v->loop = at->loop;
	v->tenant = at->tenant;
	if (v->tenant)
		vdb__tenant_ref(v->tenant);
	vdb__vsock_listen_init(v);
	vdb__vsock_set_up(v);
	rc = acquire(v, config->path);
	if (rc)
		drop(v);
	else
		*out = v;
	return rc;
}

static int take_configs(struct vdb_virtio_config *own, const struct vdb_virtio_config *at,
                        struct vdb_vsock_config *own_config, const struct vdb_vsock_config *config)
{
	int rc = vdb__virtio_at(own, at, "vsock");

	if (!rc && !config)
		rc = vdb__fail(EINVAL, "vsock: a config must be given");
	if (!rc && !own->loop)
		rc = vdb__fail(EINVAL, "vsock: its connections belong to one loop; give that, not loops");
	if (!rc)
		rc = vdb__config_take(own_config, sizeof(*own_config), config, "vsock config");
	if (!rc)
		rc = vdb__vsock_check(own_config);
	return rc ? rc : vdb__vsock_defaults(own_config);
}

VDB_EXPORT int vdb_vsock_create(const struct vdb_virtio_config *at, const struct vdb_vsock_config *config,
                                struct vdb_virtio **out)
{
	struct vdb_virtio_config own;
	struct vdb_vsock_config own_config;
	struct vdb__vsock *v = NULL;
	int rc = take_configs(&own, at, &own_config, config);

	if (!rc)
		rc = make(&own_config, &own, &v);
	if (rc)
		return rc;
	own.features = 1ull << VDB__VSOCK_F_STREAM;
	if (own_config.flags & VDB_VSOCK_SEQPACKET)
		own.features |= 1ull << VDB__VSOCK_F_SEQPACKET;
	own.queues = VDB__VSOCK_QUEUES;
	own.config_len = sizeof(struct virtio_vsock_config);
	rc = vdb_virtio_create(&vsock_ops, v, &own, out);
	if (rc)
		drop(v);
	else
		(void)vdb__vsock_wake(v, VDB__VSOCK_ATTACH);
	return rc;
}

VDB_EXPORT int vdb_vsock_stats(struct vdb_virtio *device, struct vdb_vsock_stats *stats)
{
	struct vdb__vsock *v = vdb__virtio_ctx(device, &vsock_ops);
	const struct vdb_vsock_stats *s;
	struct vdb_vsock_stats copy;

	if (!v)
		return -EINVAL;
	s = &v->stats;
	copy = (struct vdb_vsock_stats){
	        .connections = vdb__load(&s->connections),
	        .opened_by_host = vdb__load(&s->opened_by_host),
	        .opened_by_guest = vdb__load(&s->opened_by_guest),
	        .refused_by_host = vdb__load(&s->refused_by_host),
	        .failed = vdb__load(&s->failed),
	        .bytes_to_host = vdb__load(&s->bytes_to_host),
	        .bytes_to_guest = vdb__load(&s->bytes_to_guest),
	        .packets_to_host = vdb__load(&s->packets_to_host),
	        .packets_to_guest = vdb__load(&s->packets_to_guest),
	        .resets = vdb__load(&s->resets),
	        .credit_stalls = vdb__load(&s->credit_stalls),
	        .host_stalls = vdb__load(&s->host_stalls),
	        .buffered = vdb__load(&s->buffered),
	        .drops = vdb__load(&s->drops),
	        .violations = vdb__load(&s->violations),
	        .timeouts = vdb__load(&s->timeouts),
	        .accept_errors = vdb__load(&s->accept_errors),
	        .messages_to_host = vdb__load(&s->messages_to_host),
	        .messages_to_guest = vdb__load(&s->messages_to_guest),
	        .messages_too_long = vdb__load(&s->messages_too_long),
	};
	return vdb__stats_give(stats, &copy, sizeof(copy), "vsock stats");
}
