/* SPDX-License-Identifier: Apache-2.0 */
#include "net/netsock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"

/* ---- Waiting packets ---- */

struct vdb_req *vdb__netsock_first(struct vdb__netsock *sock)
{
	return vdb__list_empty(&sock->waiting) ? NULL : vdb__netsock_packet(sock->waiting.next);
}

void vdb__netsock_sent(struct vdb__netsock *sock, struct vdb_req *packet, int result)
{
	vdb__list_remove(vdb__netsock_link(packet));
	sock->count--;
	vdb_net_sent(sock->pair, packet, result);
}

void vdb__netsock_stuck(struct vdb__netsock *sock)
{
	sock->stuck = true;
	vdb__await_start(sock->tx, POLLOUT);
}

void vdb__netsock_listen(struct vdb__netsock *sock)
{
	if (!sock->broken)
		vdb__await_start(sock->rx, POLLIN);
}

void vdb__netsock_lose(struct vdb__netsock *sock, int error)
{
	struct vdb_req *packet;

	if (sock->broken)
		return;
	sock->broken = true;
	vdb_netdev_link(sock->netdev, false);
	while ((packet = vdb__netsock_first(sock)))
		vdb__netsock_sent(sock, packet, -EPIPE);
	if (sock->config.closed)
		sock->config.closed(sock->config.arg, error);
}

static void flush(struct vdb__batch *batch)
{
	struct vdb__netsock *sock = vdb__container(batch, struct vdb__netsock, flush);

	if (sock->count && !sock->stuck)
		sock->ops->send(sock);
}

static void readable(void *arg, int error)
{
	struct vdb__netsock *sock = arg;

	if (error)
		vdb__netsock_lose(sock, -error);
	else if (!sock->broken)
		sock->ops->readable(sock);
}

static void writable(void *arg, int error)
{
	struct vdb__netsock *sock = arg;

	sock->stuck = false;
	if (error)
		vdb__netsock_lose(sock, -error);
	else if (!sock->broken)
		sock->ops->send(sock);
}

/* ---- Entries ---- */

int vdb__netsock_offload(void *ctx, uint32_t offloads)
{
	struct vdb__netsock *sock = ctx;

	vdb__store(&sock->offloads, offloads);
	if (sock->config.offload)
		sock->config.offload(sock->config.arg, offloads);
	return 0;
}

int vdb__netsock_open(void *ctx, uint32_t index, struct vdb_net_pair *pair, struct vdb_loop *loop)
{
	struct vdb__netsock *sock = ctx;
	int rc;

	(void)index; /* there is one */
	rc = vdb__await_create(loop, sock->fd, readable, sock, &sock->rx);
	if (rc)
		return rc;
	rc = vdb__await_create(loop, sock->fd, writable, sock, &sock->tx);
	if (rc) {
		vdb__await_drop(sock->rx);
		return rc;
	}
	sock->pair = pair;
	sock->loop = loop;
	sock->stuck = false;
	if (!sock->broken)
		sock->ops->opened(sock);
	return 0;
}

void vdb__netsock_close(void *ctx, uint32_t index)
{
	struct vdb__netsock *sock = ctx;

	(void)index;
	vdb__await_drop(sock->rx);
	vdb__await_drop(sock->tx);
	vdb__list_remove(&sock->flush.link);
	sock->rx = sock->tx = NULL;
	sock->pair = NULL;
	sock->loop = NULL;
}

/* Together with those that come right after it: `more` is a hint, the batch is there in any case. */
int vdb__netsock_transmit(void *ctx, uint32_t index, struct vdb_req *packet)
{
	struct vdb__netsock *sock = ctx;
	bool more = packet->more;

	(void)index;
	if (sock->broken)
		return -EPIPE;
	vdb__list_append(&sock->waiting, vdb__netsock_link(packet));
	sock->count++;
	if (sock->stuck)
		return VDB_REQ_PENDING;
	if (more && sock->count < VDB__NETSOCK_BURST)
		vdb__loop_batch(sock->loop, &sock->flush);
	else
		sock->ops->send(sock);
	return VDB_REQ_PENDING;
}

void vdb__netsock_cancel(void *ctx, uint32_t index, struct vdb_req *packet)
{
	(void)index;
	vdb__netsock_sent(ctx, packet, -ECANCELED);
}

/* ---- Life ---- */

static int check_config(const struct vdb_net_socket_config *config, const char *what)
{
	if (config->flags & ~VDB_NET_SOCKET_HEADER)
		return vdb__fail(EINVAL, "%s: unknown flags %#x; see VDB_NET_SOCKET_HEADER", what,
		                 config->flags);
	if (config->reserved)
		return vdb__fail(EINVAL, "%s: reserved must be 0", what);
	if (config->offloads && !(config->flags & VDB_NET_SOCKET_HEADER))
		return vdb__fail(EINVAL,
		                 "%s: offloads need headers that tell of them; see "
		                 "VDB_NET_SOCKET_HEADER",
		                 what);
	return 0;
}

static int option(int fd, int name, int *value, const char *what)
{
	socklen_t len = sizeof(*value);

	if (getsockopt(fd, SOL_SOCKET, name, value, &len))
		return vdb__fail_sys(errno, "%s: fd %d", what, fd);
	return 0;
}

static int check_peer(int fd, const char *what)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	if (getpeername(fd, (struct sockaddr *)&peer, &len))
		return vdb__fail_sys(errno, "%s: fd %d; connect it first", what, fd);
	return 0;
}

static int look_at(struct vdb__netsock *sock, int fd)
{
	const struct vdb__netsock_ops *ops = sock->ops;
	int rc = option(fd, SO_TYPE, &sock->type, ops->what);

	if (!rc)
		rc = option(fd, SO_DOMAIN, &sock->domain, ops->what);
	if (rc)
		return rc;
	if (sock->type != ops->types[0] && sock->type != ops->types[1])
		return vdb__fail(EPROTOTYPE, "%s: fd %d is not a %s socket", ops->what, fd,
		                 ops->types[0] == SOCK_STREAM ? "stream" : "datagram");
	return check_peer(fd, ops->what);
}

/* Frames are handed over when they are complete: there is nothing to be gained by waiting. */
static void hurry(const struct vdb__netsock *sock)
{
	int on = 1;

	if (sock->type == SOCK_STREAM && (sock->domain == AF_INET || sock->domain == AF_INET6))
		(void)setsockopt(sock->fd->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int vdb__netsock_init(struct vdb__netsock *sock, const struct vdb__netsock_ops *ops,
                      const struct vdb_net_socket_config *config)
{
	int rc = vdb__config_take(&sock->config, sizeof(sock->config), config, ops->what);

	sock->ops = ops;
	if (!rc)
		rc = check_config(&sock->config, ops->what);
	if (!rc)
		rc = look_at(sock, sock->config.fd);
	if (!rc)
		rc = vdb__netfd_open(sock->config.fd, &sock->fd);
	if (rc)
		return rc;
	vdb__list_init(&sock->waiting);
	vdb__list_init(&sock->flush.link);
	sock->flush.fn = flush;
	hurry(sock);
	return 0;
}

int vdb__netsock_netdev(struct vdb__netsock *sock, struct vdb_netdev **out)
{
	const struct vdb_netdev_info info = {
	        .size = sizeof(info),
	        .offloads = sock->config.offloads,
	        .pairs = 1,
	        .mtu = sock->config.mtu,
	};
	int rc = vdb_netdev_create(&sock->ops->netdev, sock, &info, &sock->netdev);

	if (!rc)
		*out = sock->netdev;
	return rc;
}

void vdb__netsock_fini(struct vdb__netsock *sock)
{
	vdb__netfd_unref(sock->fd);
}
