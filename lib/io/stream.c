/* SPDX-License-Identifier: Apache-2.0 */
#include "io/stream.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

#define MEMORY_DEVICES 1u /* major: /dev/null, /dev/zero, ... */

static enum vdb__stream_kind kind_of(const struct stat *st)
{
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return VDB__STREAM_DISK;
	if (S_ISSOCK(st->st_mode))
		return VDB__STREAM_SOCKET;
	return S_ISFIFO(st->st_mode) ? VDB__STREAM_PIPE : VDB__STREAM_OTHER;
}

/* Of a device whose state is the description's (a pty's master), opening makes another. */
static bool may_reopen(int fd, const struct stat *st)
{
	unsigned number;

	if (S_ISFIFO(st->st_mode))
		return true;
	if (!S_ISCHR(st->st_mode))
		return false;
	return major(st->st_rdev) == MEMORY_DEVICES || (isatty(fd) && ioctl(fd, TIOCGPTN, &number));
}

static int reopen(int fd, int mode)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static int unblock(struct vdb__stream *s, int flags)
{
	if (flags & O_NONBLOCK || s->kind == VDB__STREAM_DISK || s->kind == VDB__STREAM_SOCKET)
		return 0;
	if (fcntl(s->fd, F_SETFL, flags | O_NONBLOCK))
		return vdb__fail_sys(errno, "chardev: fd %d cannot be made non-blocking", s->fd);
	s->restore = true;
	return 0;
}

int vdb__stream_open(struct vdb__stream *s, int fd, int mode)
{
	struct stat st;
	int flags;

	*s = (struct vdb__stream){.fd = -1};
	if (fd <= 0)
		return 0;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st))
		return vdb__fail_sys(errno, "chardev: fd %d", fd);
	if (flags & O_PATH || ((flags & O_ACCMODE) != O_RDWR && (flags & O_ACCMODE) != mode))
		return vdb__fail(EBADF, "chardev: fd %d is not open for %s", fd,
		                 mode == O_RDONLY ? "reading" : "writing");
	s->kind = kind_of(&st);
	if (may_reopen(fd, &st))
		s->fd = reopen(fd, mode);
	if (s->fd >= 0)
		return 0;
	s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (s->fd < 0)
		return vdb__fail_sys(errno, "chardev: cannot duplicate fd %d", fd);
	return unblock(s, flags);
}

void vdb__stream_close(struct vdb__stream *s)
{
	int flags;

	if (s->fd < 0)
		return;
	if (s->restore) {
		flags = fcntl(s->fd, F_GETFL);
		if (flags >= 0)
			(void)fcntl(s->fd, F_SETFL, flags & ~O_NONBLOCK);
	}
	close(s->fd);
	*s = (struct vdb__stream){.fd = -1};
}

/* A pipe without a reader raises SIGPIPE in the thread that writes, which may be the embedder's own. */
static ssize_t write_pipe(int fd, const struct iovec *iov, int niov)
{
	const struct timespec now = {0};
	sigset_t pipe, before, pending;
	ssize_t n;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	if (pthread_sigmask(SIG_BLOCK, &pipe, &before))
		return -EINVAL;
	sigpending(&pending);
	n = writev(fd, iov, niov);
	if (n < 0) {
		n = -errno;
		if (n == -EPIPE && !sigismember(&pending, SIGPIPE))
			(void)sigtimedwait(&pipe, NULL, &now);
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return n;
}

static ssize_t write_socket(int fd, struct iovec *iov, int niov)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)niov};
	ssize_t n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n < 0 ? -errno : n;
}

static ssize_t write_once(const struct vdb__stream *s, struct iovec *iov, int niov)
{
	ssize_t n;

	if (s->kind == VDB__STREAM_PIPE)
		return write_pipe(s->fd, iov, niov);
	if (s->kind == VDB__STREAM_SOCKET)
		return write_socket(s->fd, iov, niov);
	n = writev(s->fd, iov, niov);
	return n < 0 ? -errno : n;
}

ssize_t vdb__stream_write(const struct vdb__stream *s, struct iovec *iov, int niov)
{
	ssize_t n;

	do
		n = write_once(s, iov, niov);
	while (n == -EINTR);
	return n;
}

ssize_t vdb__stream_read(const struct vdb__stream *s, void *data, size_t len)
{
	ssize_t n;

	do {
		n = s->kind == VDB__STREAM_SOCKET ? recv(s->fd, data, len, MSG_DONTWAIT)
		                                  : read(s->fd, data, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}
