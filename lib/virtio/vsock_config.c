/* SPDX-License-Identifier: Apache-2.0 */
/* What the embedder gave, checked, and the socket that host programs connect to. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "virtio/vsock.h"

#define MAX_CONNECTIONS 65536u
#define MAX_BUFFER (16u << 20)
#define MAX_TIMEOUT_MS (24u * 3600 * 1000)
#define SUFFIX 11u /* "_4294967295", or SEQPACKET_SUFFIX */
#define SEQPACKET_SUFFIX "_seqpacket"
#define BACKLOG 128 /* host programs that wait to be accepted */
#define PATH_BYTES sizeof(((struct sockaddr_un *)0)->sun_path)
#define MESSAGE_STEP 64u /* of a message's bound: vsock_message.c counts in words */

static int check_cid(uint64_t cid)
{
	if (cid > UINT32_MAX)
		return vdb__fail(EINVAL, "vsock: CID %llu does not fit into 32 bits; give one from 3 to %u",
		                 (unsigned long long)cid, UINT32_MAX - 1);
	if (cid <= VDB__VSOCK_HOST || cid == UINT32_MAX)
		return vdb__fail(EINVAL, "vsock: CID %llu is reserved; give one from 3 to %u",
		                 (unsigned long long)cid, UINT32_MAX - 1);
	return 0;
}

static int check_path(const char *path)
{
	size_t len = path ? strlen(path) : 1, most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1 - SUFFIX;

	if (!len)
		return vdb__fail(EINVAL, "vsock: the path is empty");
	if (len > most)
		return vdb__fail(
		        ENAMETOOLONG,
		        "vsock: path of %zu bytes; a Unix socket's may have %zu, so that \"_<port>\" "
		        "fits behind it: %s",
		        len, most, path);
	return 0;
}

static int check_numbers(const struct vdb_vsock_config *c)
{
	if (c->max_connections > MAX_CONNECTIONS)
		return vdb__fail(EINVAL, "vsock: max_connections %u; at most %u", c->max_connections,
		                 MAX_CONNECTIONS);
	if (c->buf_bytes && (c->buf_bytes < VDB_VSOCK_MIN_BUFFER || c->buf_bytes > MAX_BUFFER))
		return vdb__fail(EINVAL, "vsock: buf_bytes %u; give %u to %u", c->buf_bytes,
		                 VDB_VSOCK_MIN_BUFFER, MAX_BUFFER);
	if (c->timeout_ms > MAX_TIMEOUT_MS)
		return vdb__fail(EINVAL, "vsock: timeout_ms %u; at most a day, %u", c->timeout_ms,
		                 MAX_TIMEOUT_MS);
	return 0;
}

static bool has_host_side(const struct vdb_vsock_config *c)
{
	return c->path || c->listen_fd > 0 || c->connect || c->listen_seqpacket_fd > 0 ||
	       c->connect_seqpacket;
}

int vdb__vsock_check(const struct vdb_vsock_config *c)
{
	int rc = check_cid(c->cid);

	if (!rc && (c->flags & ~VDB_VSOCK_SEQPACKET || c->reserved))
		rc = vdb__fail(EINVAL, "vsock: unknown flags %#x, or reserved is not 0", c->flags);
	if (!rc && !(c->flags & VDB_VSOCK_SEQPACKET) && (c->listen_seqpacket_fd > 0 || c->connect_seqpacket))
		rc = vdb__fail(EINVAL,
		               "vsock: sockets for SEQPACKET, and flags are without VDB_VSOCK_SEQPACKET");
	if (!rc && !has_host_side(c))
		rc = vdb__fail(EINVAL, "vsock: no host side; give a path, a listen_fd or connect()");
	if (!rc)
		rc = check_path(c->path);
	return rc ? rc : check_numbers(c);
}

static int check_buffered(const struct vdb_vsock_config *c, uint64_t least)
{
	if (c->max_buffered >= least)
		return 0;
	return vdb__fail(EINVAL, "vsock: max_buffered %llu; %u connections need at least %llu",
	                 (unsigned long long)c->max_buffered, c->max_connections, (unsigned long long)least);
}

int vdb__vsock_defaults(struct vdb_vsock_config *c)
{
	uint64_t least;

	c->max_connections = c->max_connections ? c->max_connections : 1024;
	c->buf_bytes = c->buf_bytes ? c->buf_bytes : 256 * 1024;
	c->timeout_ms = c->timeout_ms ? c->timeout_ms : 10000;
	least = (uint64_t)c->max_connections * VDB_VSOCK_MIN_BUFFER;
	if (!c->max_buffered)
		c->max_buffered = least > 64u << 20 ? least : 64u << 20;
	return check_buffered(c, least);
}

/* ---- A socket of the embedder's ---- */

static int type_of(const struct vdb__vsock_listener *l)
{
	return l->seqpacket ? SOCK_SEQPACKET : SOCK_STREAM;
}

static int take_fd(struct vdb__vsock_listener *l, int fd)
{
	int type = 0, listens = 0, flags = fcntl(fd, F_GETFL);
	socklen_t len = sizeof(int), len_too = sizeof(int);

	if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len_too))
		return vdb__fail_sys(errno, "vsock: listen_fd %d", fd);
	if (type != type_of(l) || !listens)
		return vdb__fail(EINVAL, "vsock: listen_fd %d is not a %s socket that listens", fd,
		                 l->seqpacket ? "seqpacket" : "stream");
	l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (l->fd < 0)
		return vdb__fail_sys(errno, "vsock: cannot duplicate listen_fd %d", fd);
	if (fcntl(l->fd, F_SETFL, flags | O_NONBLOCK))
		return vdb__fail_sys(errno, "vsock: listen_fd %d cannot be made non-blocking", fd);
	return 0;
}

/* ---- A socket of our own ---- */

/* bind() says only that there is something. */
static int why_in_use(const char *path, const struct sockaddr_un *at, int type)
{
	struct stat st;
	int fd, rc;

	if (!lstat(path, &st) && !S_ISSOCK(st.st_mode))
		return vdb__fail(EADDRINUSE, "vsock: %s exists and is not a socket; choose another path",
		                 path);
	fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return vdb__fail_sys(errno, "vsock: %s: socket", path);
	rc = connect(fd, (const struct sockaddr *)at, sizeof(*at)) ? -errno : 0;
	close(fd);
	if (rc == -ECONNREFUSED)
		return vdb__fail(EADDRINUSE,
		                 "vsock: %s is a socket that nobody listens on, left by a program that has "
		                 "ended: remove it",
		                 path);
	return vdb__fail(EADDRINUSE, "vsock: %s is in use: another program listens there", path);
}

static int bind_path(struct vdb__vsock_listener *l, const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct stat st;
	int err;

	memcpy(at.sun_path, path, strlen(path) + 1); /* the length has been checked */
	if (bind(l->fd, (const struct sockaddr *)&at, sizeof(at))) {
		err = errno;
		return err == EADDRINUSE ? why_in_use(path, &at, type_of(l))
		                         : vdb__fail_sys(err, "vsock: %s", path);
	}
	if (!stat(path, &st)) {
		l->dev = st.st_dev;
		l->ino = st.st_ino;
	}
	if (listen(l->fd, BACKLOG))
		return vdb__fail_sys(errno, "vsock: %s: listen", path);
	return 0;
}

/* Its length has been checked. */
static void path_of(const struct vdb__vsock *v, const struct vdb__vsock_listener *l, char path[PATH_BYTES])
{
	(void)snprintf(path, PATH_BYTES, "%s%s", v->config.path, l->seqpacket ? SEQPACKET_SUFFIX : "");
}

static int listen_at(struct vdb__vsock *v, struct vdb__vsock_listener *l, int fd)
{
	char path[PATH_BYTES];

	if (fd > 0)
		return take_fd(l, fd);
	if (!v->config.path)
		return 0;
	path_of(v, l, path);
	l->fd = socket(AF_UNIX, type_of(l) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return vdb__fail_sys(errno, "vsock: %s: socket", path);
	return bind_path(l, path);
}

int vdb__vsock_listen(struct vdb__vsock *v)
{
	int rc = listen_at(v, &v->listeners[0], v->config.listen_fd);

	if (!rc && v->config.flags & VDB_VSOCK_SEQPACKET)
		rc = listen_at(v, &v->listeners[1], v->config.listen_seqpacket_fd);
	return rc;
}

/* Somebody may have put his own there. */
void vdb__vsock_unlink(const struct vdb__vsock *v)
{
	char path[PATH_BYTES];
	struct stat st;

	for (unsigned i = 0; i < VDB__VSOCK_LISTENERS; i++) {
		const struct vdb__vsock_listener *l = &v->listeners[i];

		if (!l->ino)
			continue;
		path_of(v, l, path);
		if (!lstat(path, &st) && st.st_dev == l->dev && st.st_ino == l->ino)
			(void)unlink(path);
	}
}

/* ---- Messages ---- */

int vdb__vsock_messages(struct vdb__vsock *v)
{
	uint32_t max = v->config.buf_bytes / 2 / MESSAGE_STEP * MESSAGE_STEP;
	int fd, rc;

	if (!(v->config.flags & VDB_VSOCK_SEQPACKET))
		return 0;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return vdb__fail_sys(errno, "vsock: a SEQPACKET socket");
	rc = vdb__vsock_widen(fd, max);
	close(fd);
	if (rc)
		return vdb__fail(
		        EINVAL,
		        "vsock: buf_bytes %u, half of which a SEQPACKET socket of this host does not take "
		        "at once; give less, or raise net.core.wmem_max to %u",
		        v->config.buf_bytes, max);
	v->message_max = max;
	v->spill = malloc(max);
	return v->spill ? 0 : vdb__fail(ENOMEM, "vsock: no memory");
}
