/* SPDX-License-Identifier: Apache-2.0 */
/* The device in front of a vhost-user back end: what it offers, and its config space. */
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "queue/chain.h"
#include "vhost/user.h"
#include "virtio/device.h"
#include "virtio/ready.h"

#define TIMEOUT_MS 10000u
#define MAX_CONFIG_LEN 3840u
/* virtio 1.2, 6: the others are the ring's, and the transport's. */
#define DEVICE_BITS (((1ull << 24) - 1) | ~((1ull << 50) - 1))

/* ---- Config space; under the device's lock ---- */

static void config_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
	struct vdb__user *user = ctx;

	pthread_mutex_lock(&user->lock);
	memcpy(data, user->config + offset, len);
	pthread_mutex_unlock(&user->lock);
}

/* What becomes of it is the back end's affair: it is asked again afterwards. */
static void config_write(void *ctx, uint32_t offset, const void *data, uint32_t len)
{
	struct vdb__user *user = ctx;

	if (!user->asked)
		return;
	pthread_mutex_lock(&user->lock);
	if (user->from >= user->to)
		memcpy(user->written, user->config, user->config_len);
	memcpy(user->written + offset, data, len);
	if (offset < user->from)
		user->from = offset;
	if (offset + len > user->to)
		user->to = offset + len;
	pthread_mutex_unlock(&user->lock);
	vdb__vhost_poke(user->vhost);
}

/* ---- Create ---- */

static int check_config(const struct vdb_vhost_user_config *config, const char *name)
{
	if (!config->device_id)
		return vdb__fail(EINVAL, "%s: device_id must be given", name);
	if (!config->path == (config->fd <= 0))
		return vdb__fail(EINVAL, "%s: give path, or fd, where its back end is%s", name,
		                 config->path ? "; not both" : "");
	if (config->reconnect_ms && !config->path)
		return vdb__fail(EINVAL, "%s: reconnect_ms needs a path", name);
	if (config->queues > VDB_VIRTIO_MAX_QUEUES)
		return vdb__fail(EINVAL, "%s: %u queues; at most %u", name, config->queues,
		                 VDB_VIRTIO_MAX_QUEUES);
	if (config->config_len > (config->config ? MAX_CONFIG_LEN : VDB__USER_CONFIG))
		return vdb__fail(EINVAL, "%s: config_len %u; at most %u, or %u where the back end has it",
		                 name, config->config_len, MAX_CONFIG_LEN, VDB__USER_CONFIG);
	if (config->config && !config->config_len)
		return vdb__fail(EINVAL, "%s: config without config_len", name);
	return config->reserved ? vdb__fail(EINVAL, "%s: reserved is not 0", name) : 0;
}

static int check_at(const struct vdb_virtio_config *at, const char *name)
{
	if (at->limit)
		return vdb__fail(EINVAL, "%s: what is served elsewhere cannot be limited here", name);
	return at->mem ? 0 : vdb__fail(EINVAL, "%s: at->mem must be given", name);
}

/* What else were found out in the first message, whose failure does not name the fd. */
static int take_socket(struct vdb__user *user, int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
		return vdb__fail_sys(errno, "%s: fd %d", user->name, fd);
	if (type != SOCK_STREAM)
		return vdb__fail(EPROTOTYPE, "%s: fd %d is not a stream socket", user->name, fd);
	user->sock = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return user->sock < 0 ? vdb__fail_sys(errno, "%s: fd %d", user->name, fd) : 0;
}

static int copy_texts(struct vdb__user *user, const struct vdb_vhost_user_config *config)
{
	if (config->path) {
		user->path = strdup(config->path);
		return user->path ? 0 : vdb__fail(ENOMEM, "%s: no memory", user->name);
	}
	return take_socket(user, config->fd);
}

static int make_config(struct vdb__user *user, const struct vdb_vhost_user_config *config)
{
	user->config_len = config->config_len;
	user->asked = config->config_len && !config->config;
	user->from = VDB__USER_CONFIG;
	user->config = calloc(1, config->config_len + 1);
	if (!user->config)
		return vdb__fail(ENOMEM, "%s: no memory", user->name);
	if (config->config)
		memcpy(user->config, config->config, config->config_len);
	return 0;
}

static int make_user(const struct vdb_vhost_user_config *config, const char *name, struct vdb__user **out)
{
	struct vdb__user *user = calloc(1, sizeof(*user));
	int rc;

	if (!user)
		return vdb__fail(ENOMEM, "%s: no memory", name);
	user->peer.ops = &vdb__user_peer_ops;
	user->name = name;
	user->timeout_ms = config->timeout_ms ? config->timeout_ms : TIMEOUT_MS;
	user->queues = config->queues;
	user->reconnects = config->reconnect_ms;
	user->sock = user->channel = user->inflight_fd = -1;
	pthread_mutex_init(&user->lock, NULL); /* default attributes: cannot fail */
	rc = make_config(user, config);
	if (!rc)
		rc = copy_texts(user, config);
	if (!rc)
		rc = vdb__user_connect(user);
	if (rc)
		vdb__user_destroy(user);
	else
		*out = user;
	return rc;
}

/* The ring's features are those that both sides have. */
static uint32_t flags_for(uint64_t features, uint32_t flags)
{
	if (!(features & VDB__USER_BIT(VIRTIO_F_RING_PACKED)))
		flags |= VDB_VIRTIO_NO_PACKED;
	if (!(features & VDB__USER_BIT(VIRTIO_RING_F_EVENT_IDX)))
		flags |= VDB_VIRTIO_NO_EVENT_IDX;
	if (!(features & VDB__USER_BIT(VIRTIO_RING_F_INDIRECT_DESC)))
		flags |= VDB_VIRTIO_NO_INDIRECT;
	if (!(features & VDB__USER_BIT(VDB__USER_F_RING_RESET)))
		flags |= VDB_VIRTIO_NO_RING_RESET;
	if (!(features & VDB__USER_BIT(VIRTIO_F_IN_ORDER)))
		flags &= ~VDB_VIRTIO_IN_ORDER;
	return flags;
}

static void fill(struct vdb_virtio_config *at, const struct vdb_vhost_user_config *config,
                 struct vdb__user *user)
{
	at->features = user->features & DEVICE_BITS & (config->features ? config->features : ~0ull);
	at->flags = flags_for(user->features, at->flags);
	if (!user->queues)
		user->queues = user->has_queues;
	at->queues = user->queues;
	at->config_len = user->config_len;
	if (!at->queue_size)
		at->queue_size = VDB__VIRTIO_QUEUE_SIZE;
	user->entries = at->queue_size;
}

/* What was offered, another back end must have, too. */
static int make_device(struct vdb__user *user, uint32_t device_id, const struct vdb_virtio_config *at,
                       struct vdb_virtio **out)
{
	const struct vdb_virtio_ops ops = {
	        .size = sizeof(ops),
	        .device_id = device_id,
	        .name = user->name,
	        .config_read = config_read,
	        .config_write = config_write,
	};
	struct vdb__vhost *vhost = user->vhost;
	struct vdb_virtio_info info = {.size = sizeof(info)};
	int rc =
	        vdb__virtio_create_remote(&ops, &vdb__framing_plain, vdb__vhost_remote(vhost), user, at, out);

	if (rc) {
		vdb__vhost_destroy(vhost);
		return rc;
	}
	(void)!vdb_virtio_query(*out, &info);
	user->needed = info.offered;
	if (user->renewed)
		vdb__vhost_poke(vhost);
	rc = vdb__vhost_start(vhost);
	if (rc)
		vdb_virtio_destroy(*out, NULL, NULL);
	return rc;
}

static int create(const struct vdb_vhost_user_config *config, const char *name, struct vdb_virtio_config *at,
                  struct vdb_virtio **out)
{
	struct vdb__vhost_config control = {
	        .name = name, .mem = at->mem, .served = ~0ull, .reconnect_ms = config->reconnect_ms};
	struct vdb_virtio *device;
	struct vdb__user *user = NULL;
	int rc = make_user(config, name, &user);

	if (rc)
		return rc;
	fill(at, config, user);
	control.queues = user->queues;
	rc = vdb__vhost_create(&control, &user->peer, &user->vhost);
	if (!rc)
		rc = make_device(user, config->device_id, at, &device);
	if (!rc)
		*out = device;
	return rc;
}

VDB_EXPORT int vdb_vhost_user_create(const struct vdb_vhost_user_config *config, struct vdb_virtio **out)
{
	struct vdb_vhost_user_config own;
	struct vdb_virtio_config at;
	const char *name;
	int rc = vdb__config_take(&own, sizeof(own), config, "vhost-user config");

	if (rc)
		return rc;
	name = own.name ? own.name : "vhost-user";
	rc = check_config(&own, name);
	if (!rc)
		rc = vdb__virtio_at(&at, own.at, name);
	if (!rc)
		rc = check_at(&at, name);
	return rc ? rc : create(&own, name, &at, out);
}

/* ---- Questions ---- */

VDB_EXPORT int vdb_vhost_user_query(struct vdb_virtio *device, struct vdb_vhost_user_info *info)
{
	struct vdb__remote *remote = vdb__virtio_remote(device);
	struct vdb__user *user = (struct vdb__user *)vdb__vhost_peer(remote, &vdb__user_peer_ops);
	struct vdb_vhost_user_info own = {0};
	struct vdb__vhost_state state;

	if (!user)
		return vdb__fail(EINVAL, "virtio '%s': has no vhost-user back end", vdb__virtio_name(device));
	vdb__vhost_query(remote, &state);
	own.connected = state.up;
	own.lost = state.lost;
	memcpy(own.why, state.why, sizeof(own.why));
	pthread_mutex_lock(&user->lock);
	own.features = user->in_use;
	pthread_mutex_unlock(&user->lock);
	return vdb__stats_give(info, &own, sizeof(own), "vhost-user info");
}
