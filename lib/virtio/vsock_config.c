/* SPDX-License-Identifier: Apache-2.0 */
/* What the embedder gave, checked, and the socket that host programs connect to. */
#include <errno.h>
#include <fcntl.h>
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
#define SUFFIX 11u  /* "_4294967295" */
#define BACKLOG 128 /* host programs that wait to be accepted */

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

int vdb__vsock_check(const struct vdb_vsock_config *c)
{
	int rc = check_cid(c->cid);

	if (!rc && c->flags)
		rc = vdb__fail(EINVAL, "vsock: unknown flags %#x", c->flags);
	if (!rc && !c->path && c->listen_fd <= 0 && !c->connect)
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

static int take_fd(struct vdb__vsock *v, int fd)
{
	int type = 0, listens = 0, flags = fcntl(fd, F_GETFL);
	socklen_t len = sizeof(int), len_too = sizeof(int);

	if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len_too))
		return vdb__fail_sys(errno, "vsock: listen_fd %d", fd);
	if (type != SOCK_STREAM || !listens)
		return vdb__fail(EINVAL, "vsock: listen_fd %d is not a stream socket that listens", fd);
	v->listen_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (v->listen_fd < 0)
		return vdb__fail_sys(errno, "vsock: cannot duplicate listen_fd %d", fd);
	if (fcntl(v->listen_fd, F_SETFL, flags | O_NONBLOCK))
		return vdb__fail_sys(errno, "vsock: listen_fd %d cannot be made non-blocking", fd);
	return 0;
}

/* ---- A socket of our own ---- */

/* bind() says only that there is something. */
static int why_in_use(const char *path, const struct sockaddr_un *at)
{
	struct stat st;
	int fd, rc;

	if (!lstat(path, &st) && !S_ISSOCK(st.st_mode))
		return vdb__fail(EADDRINUSE, "vsock: %s exists and is not a socket; choose another path",
		                 path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
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

static int bind_path(struct vdb__vsock *v, const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct stat st;
	int err;

	memcpy(at.sun_path, path, strlen(path) + 1); /* the length has been checked */
	if (bind(v->listen_fd, (const struct sockaddr *)&at, sizeof(at))) {
		err = errno;
		return err == EADDRINUSE ? why_in_use(path, &at) : vdb__fail_sys(err, "vsock: %s", path);
	}
	if (!stat(path, &st)) {
		v->listen_dev = st.st_dev;
		v->listen_ino = st.st_ino;
	}
	if (listen(v->listen_fd, BACKLOG))
		return vdb__fail_sys(errno, "vsock: %s: listen", path);
	return 0;
}

int vdb__vsock_listen(struct vdb__vsock *v)
{
	if (v->config.listen_fd > 0)
		return take_fd(v, v->config.listen_fd);
	if (!v->config.path)
		return 0;
	v->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (v->listen_fd < 0)
		return vdb__fail_sys(errno, "vsock: %s: socket", v->config.path);
	return bind_path(v, v->config.path);
}

/* Somebody may have put his own there. */
void vdb__vsock_unlink(const struct vdb__vsock *v)
{
	struct stat st;

	if (v->listen_ino && !lstat(v->config.path, &st) && st.st_dev == v->listen_dev &&
	    st.st_ino == v->listen_ino)
		(void)unlink(v->config.path);
}
