/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/wire.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

/* ---- Time ---- */

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t vdb__wire_deadline(uint32_t ms)
{
	return now() + ms * 1000000ull;
}

static int left_ms(uint64_t deadline)
{
	uint64_t at = now();
	uint64_t ms = deadline > at ? (deadline - at + 999999) / 1000000 : 0;

	return ms > 1000000 ? 1000000 : (int)ms;
}

/* 0: fd is ready; 1: it is not, but the other one. However much comes there, the deadline holds. */
static int wait_for(int fd, short events, int aside, uint64_t deadline)
{
	struct pollfd fds[] = {{.fd = aside, .events = POLLIN}, {.fd = fd, .events = events}};
	int rc;

	do
		rc = poll(fds, 2, left_ms(deadline));
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return vdb__fail_sys(errno, "vhost-user: poll");
	if (rc > 0 && fds[1].revents)
		return 0;
	if (rc > 0 && left_ms(deadline))
		return 1;
	return vdb__fail(ETIMEDOUT,
	                 "vhost-user: the back end does not answer in time; has another machine got it?");
}

/* ---- Connect ---- */

static int attempt(int fd, const struct sockaddr_un *addr, uint64_t deadline)
{
	while (connect(fd, (const struct sockaddr *)addr, sizeof(*addr))) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN) /* that is: too many are waiting */
			return -errno;
		if (!left_ms(deadline))
			return -ETIMEDOUT;
		(void)poll(NULL, 0, 5);
	}
	return 0;
}

int vdb__wire_connect(const char *name, const char *path, uint64_t deadline)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, rc;

	if (strlen(path) >= sizeof(addr.sun_path))
		return vdb__fail(ENAMETOOLONG, "%s: socket %s: its path is longer than %zu bytes", name, path,
		                 sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return vdb__fail_sys(errno, "%s: socket", name);
	rc = attempt(fd, &addr, deadline);
	if (!rc)
		return fd;
	close(fd);
	return vdb__fail_sys(-rc, "%s: cannot connect to %s; is its back end running, and free?", name, path);
}

/* ---- Send ---- */

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(VDB__WIRE_FDS * sizeof(int))];
};

static void attach_fds(struct msghdr *msg, union control *control, const struct vdb__wire_message *message)
{
	size_t len = message->nfds * sizeof(int);
	struct cmsghdr *cmsg = &control->header;

	if (!message->nfds)
		return;
	memset(control, 0, sizeof(*control));
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(cmsg), message->fds, len);
	msg->msg_control = control;
	msg->msg_controllen = CMSG_SPACE(len);
}

int vdb__wire_send(int fd, const struct vdb__wire_message *message, uint64_t deadline)
{
	/* Header and payload lie side by side. */
	const char *bytes = (const char *)&message->header;
	size_t len = sizeof(message->header) + message->header.size, done = 0;
	union control control;
	ssize_t n;
	int rc = 0;

	while (done < len && !rc) {
		struct iovec iov = {.iov_base = (char *)(uintptr_t)bytes + done, .iov_len = len - done};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

		if (!done)
			attach_fds(&msg, &control, message);
		n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			done += (size_t)n;
		else if (errno == EAGAIN)
			rc = wait_for(fd, POLLOUT, -1, deadline);
		else if (errno != EINTR)
			rc = vdb__fail_sys(errno, "vhost-user: the back end takes no messages");
	}
	return rc;
}

/* ---- Receive ---- */

/* All of them, or none. */
static bool take_fds(struct vdb__wire_message *message, struct msghdr *msg)
{
	struct cmsghdr *cmsg;
	bool fit = !(msg->msg_flags & MSG_CTRUNC);
	size_t n;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (message->nfds < VDB__WIRE_FDS) {
				message->fds[message->nfds++] = fd;
			} else {
				close(fd);
				fit = false;
			}
		}
	}
	return fit;
}

/* Exactly `len` bytes; what is beside any of them is taken. */
static int receive(int fd, int aside, struct vdb__wire_message *message, void *to, size_t len,
                   uint64_t deadline)
{
	size_t done = 0;
	ssize_t n;
	int rc;

	while (done < len) {
		struct iovec iov = {.iov_base = (char *)to + done, .iov_len = len - done};
		union control control;
		struct msghdr msg = {.msg_iov = &iov,
		                     .msg_iovlen = 1,
		                     .msg_control = &control,
		                     .msg_controllen = sizeof(control)};

		rc = wait_for(fd, POLLIN, done ? -1 : aside, deadline);
		if (rc)
			return rc;
		n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return vdb__fail_sys(errno, "vhost-user: the back end's socket");
		if (n == 0)
			return vdb__fail(ECONNRESET, "vhost-user: the back end has closed its socket");
		if (!take_fds(message, &msg))
			return vdb__fail(EPROTO, "vhost-user: the back end sends too many fds");
		done += (size_t)n;
	}
	return 0;
}

void vdb__wire_drop_fds(struct vdb__wire_message *message)
{
	for (uint32_t i = 0; i < message->nfds; i++) {
		if (message->fds[i] >= 0)
			close(message->fds[i]);
	}
	message->nfds = 0;
}

int vdb__wire_receive(int fd, int aside, struct vdb__wire_message *message, uint64_t deadline)
{
	struct vdb__wire_header *header = &message->header;
	int rc;

	message->nfds = 0;
	rc = receive(fd, aside, message, header, sizeof(*header), deadline);
	if (!rc && ((header->flags & VDB__WIRE_VERSION_MASK) != VDB__WIRE_VERSION ||
	            header->size > sizeof(message->payload)))
		rc = vdb__fail(EPROTO,
		               "vhost-user: what the back end sends is no message (flags %#x, size %u)",
		               header->flags, header->size);
	if (!rc)
		rc = receive(fd, -1, message, message->payload, header->size, deadline);
	if (rc)
		vdb__wire_drop_fds(message);
	return rc;
}
