/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said to a vhost-user back end, in its order:
 *
 *     connect   features, protocol features, queues, channel, owner, config space
 *     features  SET_FEATURES, status, the table of what is in flight
 *     memory    SET_MEM_TABLE
 *     start     SET_VRING_*, ENABLE         stop   GET_VRING_BASE
 *     ready     status: DRIVER_OK           reset  RESET_DEVICE, or status 0
 */
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/error.h"
#include "vhost/user.h"

#define STATUS_AGREED (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define NO_FD 0x100u

static struct vdb__user *user_of(struct vdb__peer *peer)
{
	return (struct vdb__user *)peer;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- Connect ---- */

static uint64_t known_protocol(const struct vdb__user *user)
{
	uint64_t known = VDB__USER_BIT(VDB__USER_P_MQ) | VDB__USER_BIT(VDB__USER_P_REPLY_ACK) |
	                 VDB__USER_BIT(VDB__USER_P_RESET_DEVICE) | VDB__USER_BIT(VDB__USER_P_STATUS);

	if (user->asked)
		known |= VDB__USER_BIT(VDB__USER_P_CONFIG) | VDB__USER_BIT(VDB__USER_P_CHANNEL);
	if (user->reconnects)
		known |= VDB__USER_BIT(VDB__USER_P_INFLIGHT);
	return known;
}

/* Until it is agreed there are no acknowledgements. */
static int agree_protocol(struct vdb__user *user)
{
	uint64_t offered;
	int rc = vdb__user_ask64(user, VDB__USER_GET_PROTOCOL_FEATURES, &offered);

	if (rc)
		return rc;
	offered &= known_protocol(user);
	rc = vdb__user_say64(user, VDB__USER_SET_PROTOCOL_FEATURES, offered);
	user->protocol = offered;
	return rc;
}

static int agree(struct vdb__user *user)
{
	int rc = vdb__user_ask64(user, VDB__USER_GET_FEATURES, &user->features);

	if (!rc && user->features & VDB__USER_BIT(VDB__USER_F_PROTOCOL))
		rc = agree_protocol(user);
	return rc;
}

static int ask_queues(struct vdb__user *user)
{
	uint64_t queues;
	int rc;

	if (!vdb__user_has(user, VDB__USER_P_MQ)) {
		if (!user->queues)
			return vdb__fail(
			        EPROTO, "%s: the back end does not say how many queues it has; do it instead",
			        user->name);
		user->has_queues = user->queues;
		return 0;
	}
	rc = vdb__user_ask64(user, VDB__USER_GET_QUEUE_NUM, &queues);
	user->has_queues = queues < VDB_VIRTIO_MAX_QUEUES ? (uint32_t)queues : VDB_VIRTIO_MAX_QUEUES;
	return rc;
}

static int open_channel(struct vdb__user *user)
{
	int pair[2], rc;

	if (!vdb__user_has(user, VDB__USER_P_CHANNEL))
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return vdb__fail_sys(errno, "%s: socketpair", user->name);
	user->channel = pair[0];
	rc = vdb__user_say(user, VDB__USER_SET_CHANNEL, NULL, 0, &pair[1], 1);
	close(pair[1]);
	return rc;
}

int vdb__user_read_config(struct vdb__user *user, uint8_t *to)
{
	struct vdb__user_config config = {.len = user->config_len};
	uint32_t len = (uint32_t)offsetof(struct vdb__user_config, bytes) + config.len;
	int rc;

	if (!vdb__user_has(user, VDB__USER_P_CONFIG))
		return vdb__fail(EPROTO, "%s: the back end has no config space (PROTOCOL_F_CONFIG); give one",
		                 user->name);
	rc = vdb__user_ask(user, VDB__USER_GET_CONFIG, &config, len, &config, len, NULL);
	if (!rc && config.len != user->config_len)
		rc = vdb__fail(EPROTO, "%s: the back end has %u bytes of config space, not %u", user->name,
		               config.len, user->config_len);
	if (!rc)
		memcpy(to, config.bytes, user->config_len);
	return rc;
}

static int renew_config(struct vdb__user *user)
{
	uint8_t bytes[VDB__USER_CONFIG];
	bool differs;
	int rc = vdb__user_read_config(user, bytes);

	if (rc)
		return rc;
	pthread_mutex_lock(&user->lock);
	differs = memcmp(user->config, bytes, user->config_len) != 0;
	memcpy(user->config, bytes, user->config_len);
	pthread_mutex_unlock(&user->lock);
	if (differs && user->vhost)
		vdb_virtio_config_changed(vdb__vhost_remote(user->vhost)->device);
	return 0;
}

static int check(const struct vdb__user *user)
{
	if (!(user->features & VDB__USER_BIT(VIRTIO_F_VERSION_1)))
		return vdb__fail(EPROTO, "%s: the back end knows legacy drivers only (no VERSION_1)",
		                 user->name);
	if (user->needed & ~user->features)
		return vdb__fail(EPROTO,
		                 "%s: the back end that has come lacks features %#llx of the last one",
		                 user->name, (unsigned long long)(user->needed & ~user->features));
	if (user->has_queues < user->queues || !user->has_queues)
		return vdb__fail(EPROTO, "%s: the back end has %u queues, %u are needed", user->name,
		                 user->has_queues, user->queues);
	return 0;
}

static int handshake(struct vdb__user *user)
{
	int rc = agree(user);

	if (!rc)
		rc = ask_queues(user);
	if (!rc)
		rc = check(user);
	if (!rc)
		rc = open_channel(user);
	if (!rc)
		rc = vdb__user_say(user, VDB__USER_SET_OWNER, NULL, 0, NULL, 0);
	if (!rc && user->asked)
		rc = renew_config(user);
	pthread_mutex_lock(&user->lock);
	user->in_use = user->protocol;
	pthread_mutex_unlock(&user->lock);
	return rc;
}

static void disconnect(struct vdb__peer *peer)
{
	struct vdb__user *user = user_of(peer);

	close_fd(&user->sock);
	close_fd(&user->channel);
}

int vdb__user_connect(struct vdb__user *user)
{
	int rc;

	user->protocol = 0;
	if (user->path) {
		rc = vdb__wire_connect(user->name, user->path, vdb__wire_deadline(user->timeout_ms));
		if (rc < 0)
			return rc;
		user->sock = rc;
	}
	rc = handshake(user);
	if (rc)
		disconnect(&user->peer);
	return rc;
}

static int connect_again(struct vdb__peer *peer)
{
	return vdb__user_connect(user_of(peer));
}

/* ---- A driver's life ---- */

static int set_status(struct vdb__user *user, uint64_t status)
{
	return vdb__user_say64(user, VDB__USER_SET_STATUS, status);
}

static int agree_status(struct vdb__user *user)
{
	uint64_t status = 0;
	int rc = set_status(user, STATUS_AGREED);

	if (!rc)
		rc = vdb__user_ask64(user, VDB__USER_GET_STATUS, &status);
	if (!rc && !(status & VIRTIO_CONFIG_S_FEATURES_OK))
		rc = vdb__fail(EREMOTEIO, "%s: the back end does not accept the driver's features",
		               user->name);
	return rc;
}

/* It is not mapped here, only kept for the next back end. */
static int ask_inflight(struct vdb__user *user)
{
	struct vdb__user_inflight wanted = {.queues = (uint16_t)user->queues,
	                                    .entries = (uint16_t)user->entries},
	                          got;
	struct stat st;
	int rc = vdb__user_ask(user, VDB__USER_GET_INFLIGHT_FD, &wanted, sizeof(wanted), &got, sizeof(got),
	                       &user->inflight_fd);

	if (rc)
		return rc;
	if (!got.len || fstat(user->inflight_fd, &st) || got.offset > (uint64_t)st.st_size ||
	    got.len > (uint64_t)st.st_size - got.offset) {
		close_fd(&user->inflight_fd);
		return vdb__fail(EPROTO, "%s: the back end's table of what is in flight is not in its file",
		                 user->name);
	}
	wanted.len = got.len;
	wanted.offset = got.offset;
	user->inflight = wanted;
	return 0;
}

static int share_inflight(struct vdb__user *user)
{
	int rc = user->inflight_fd < 0 ? ask_inflight(user) : 0;

	return rc ? rc
	          : vdb__user_say(user, VDB__USER_SET_INFLIGHT_FD, &user->inflight, sizeof(user->inflight),
	                          &user->inflight_fd, 1);
}

static int features(struct vdb__peer *peer, uint64_t accepted)
{
	struct vdb__user *user = user_of(peer);
	uint64_t all = accepted | (user->features & VDB__USER_BIT(VDB__USER_F_PROTOCOL));
	int rc = vdb__user_say64(user, VDB__USER_SET_FEATURES, all);

	if (!rc && vdb__user_has(user, VDB__USER_P_STATUS))
		rc = agree_status(user);
	if (!rc && vdb__user_has(user, VDB__USER_P_INFLIGHT))
		rc = share_inflight(user);
	return rc;
}

/* Messages are taken in their order: an answer tells of those before, where nothing acknowledges them. */
static int await_taken(struct vdb__user *user)
{
	uint64_t features;

	return vdb__user_has(user, VDB__USER_P_REPLY_ACK)
	               ? 0
	               : vdb__user_ask64(user, VDB__USER_GET_FEATURES, &features);
}

static int memory(struct vdb__peer *peer, const struct vdb__peer_memory *memory)
{
	struct vdb__user *user = user_of(peer);
	struct vdb__user_memory table = {.count = memory->count};
	int fds[VDB__USER_REGIONS], rc;

	for (uint32_t i = 0; i < memory->count; i++) {
		table.region[i].gpa = memory->region[i].gpa;
		table.region[i].len = memory->region[i].len;
		table.region[i].address = memory->region[i].host;
		table.region[i].offset = memory->region[i].offset;
		fds[i] = memory->region[i].fd;
	}
	rc = vdb__user_say(user, VDB__USER_SET_MEM_TABLE, &table,
	                   (uint32_t)(offsetof(struct vdb__user_memory, region) +
	                              memory->count * sizeof(table.region[0])),
	                   fds, memory->count);
	return rc ? rc : await_taken(user);
}

static int ready(struct vdb__peer *peer)
{
	struct vdb__user *user = user_of(peer);

	return vdb__user_has(user, VDB__USER_P_STATUS)
	               ? set_status(user, STATUS_AGREED | VIRTIO_CONFIG_S_DRIVER_OK)
	               : 0;
}

static int reset(struct vdb__peer *peer)
{
	struct vdb__user *user = user_of(peer);

	if (vdb__user_has(user, VDB__USER_P_STATUS))
		return set_status(user, 0);
	if (vdb__user_has(user, VDB__USER_P_RESET_DEVICE))
		return vdb__user_say(user, VDB__USER_RESET_DEVICE, NULL, 0, NULL, 0);
	return 0;
}

static void forget(struct vdb__peer *peer)
{
	close_fd(&user_of(peer)->inflight_fd);
}

static bool resumes(const struct vdb__peer *peer)
{
	return ((const struct vdb__user *)peer)->inflight_fd >= 0;
}

/* ---- Queues ---- */

static int set_state(struct vdb__user *user, uint32_t request, uint32_t index, uint32_t num)
{
	const struct vdb__user_state state = {.index = index, .num = num};

	return vdb__user_say(user, request, &state, sizeof(state), NULL, 0);
}

static int set_fd(struct vdb__user *user, uint32_t request, uint32_t index, int fd)
{
	uint64_t value = index | (fd < 0 ? NO_FD : 0);

	return vdb__user_say(user, request, &value, sizeof(value), &fd, fd >= 0);
}

static int set_addr(struct vdb__user *user, const struct vdb__peer_queue *queue)
{
	const struct vdb__user_addr addr = {
	        .index = queue->index, .desc = queue->desc, .used = queue->device, .avail = queue->driver};

	return vdb__user_say(user, VDB__USER_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

static int start(struct vdb__peer *peer, const struct vdb__peer_queue *queue)
{
	struct vdb__user *user = user_of(peer);
	uint32_t index = queue->index;
	int rc = set_state(user, VDB__USER_SET_VRING_NUM, index, queue->entries);

	if (!rc)
		rc = set_state(user, VDB__USER_SET_VRING_BASE, index, queue->position);
	if (!rc)
		rc = set_addr(user, queue);
	if (!rc)
		rc = set_fd(user, VDB__USER_SET_VRING_CALL, index, queue->call_fd);
	if (!rc)
		rc = set_fd(user, VDB__USER_SET_VRING_ERR, index, queue->err_fd);
	if (!rc)
		rc = set_fd(user, VDB__USER_SET_VRING_KICK, index, queue->kick_fd);
	/* Without protocol features it is enabled by its kick fd. */
	if (!rc && user->features & VDB__USER_BIT(VDB__USER_F_PROTOCOL))
		rc = set_state(user, VDB__USER_SET_VRING_ENABLE, index, 1);
	return rc;
}

static int stop(struct vdb__peer *peer, uint32_t index, uint32_t *position)
{
	const struct vdb__user_state asked = {.index = index};
	struct vdb__user_state state;
	struct vdb__user *user = user_of(peer);
	int rc = vdb__user_ask(user, VDB__USER_GET_VRING_BASE, &asked, sizeof(asked), &state, sizeof(state),
	                       NULL);

	if (!rc && state.index != index)
		rc = vdb__fail(EPROTO, "%s: the back end was asked to stop queue %u, and has stopped %u",
		               user->name, index, state.index);
	if (!rc)
		*position = state.num;
	return rc;
}

/* ---- Config space, and what the back end says by itself ---- */

/* False: nothing was written. */
static bool take_written(struct vdb__user *user, struct vdb__user_config *config)
{
	bool any;

	pthread_mutex_lock(&user->lock);
	any = user->from < user->to;
	if (any) {
		config->offset = user->from;
		config->len = user->to - user->from;
		memcpy(config->bytes, user->written + user->from, config->len);
	}
	user->from = VDB__USER_CONFIG;
	user->to = 0;
	pthread_mutex_unlock(&user->lock);
	return any;
}

static int poked(struct vdb__peer *peer)
{
	struct vdb__user *user = user_of(peer);
	struct vdb__user_config config = {0};
	int rc = 0;

	if (take_written(user, &config)) {
		rc = vdb__user_say(user, VDB__USER_SET_CONFIG, &config,
		                   (uint32_t)offsetof(struct vdb__user_config, bytes) + config.len, NULL, 0);
		user->renewed = true;
	}
	if (!rc && user->renewed) {
		user->renewed = false;
		rc = renew_config(user);
	}
	return rc;
}

static unsigned watch(struct vdb__peer *peer, struct pollfd *fds)
{
	struct vdb__user *user = user_of(peer);

	fds[0] = (struct pollfd){.fd = user->sock, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = user->channel, .events = POLLIN};
	return 2;
}

/* It has no business on the socket when it was asked nothing. */
static int heard(struct vdb__peer *peer, const struct pollfd *fds, unsigned count)
{
	struct vdb__user *user = user_of(peer);
	uint64_t deadline = vdb__wire_deadline(user->timeout_ms);
	struct vdb__wire_message message;
	int rc = 0;

	(void)count;
	if (fds[1].revents)
		rc = vdb__user_channel(user, deadline);
	if (rc || !fds[0].revents)
		return rc;
	rc = vdb__wire_receive(user->sock, -1, &message, deadline);
	if (rc)
		return rc;
	vdb__wire_drop_fds(&message);
	return vdb__fail(EPROTO, "%s: the back end says %u, and was not asked", user->name,
	                 message.header.request);
}

/* ---- The end ---- */

void vdb__user_destroy(struct vdb__user *user)
{
	if (!user)
		return;
	disconnect(&user->peer);
	close_fd(&user->inflight_fd);
	pthread_mutex_destroy(&user->lock);
	free(user->config);
	free(user->path);
	free(user);
}

static void destroy(struct vdb__peer *peer)
{
	vdb__user_destroy(user_of(peer));
}

const struct vdb__peer_ops vdb__user_peer_ops = {
        .regions = VDB__USER_REGIONS,
        .needs_fds = true,
        .connect = connect_again,
        .disconnect = disconnect,
        .features = features,
        .memory = memory,
        .start = start,
        .ready = ready,
        .stop = stop,
        .reset = reset,
        .forget = forget,
        .resumes = resumes,
        .poked = poked,
        .watch = watch,
        .heard = heard,
        .destroy = destroy,
};
