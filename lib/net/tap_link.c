/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tap_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/await.h"

#define MESSAGE_MAX 32768u /* an interface and all that it can say of itself */
#define AT_INDEX (sizeof(struct nlmsghdr) + offsetof(struct ifinfomsg, ifi_index))

struct vdb__tap_watch {
	struct vdb__netfd *fd;
	uint32_t index;
	pthread_mutex_t lock;
	/* Under the lock. */
	struct vdb__tap_link link;
	uint8_t message[MESSAGE_MAX];
};

/* ---- Messages ---- */

static void take_attribute(struct vdb__tap_link *link, uint16_t type, const uint8_t *data, size_t len)
{
	struct rtnl_link_stats64 stats = {0};

	if (type == IFLA_MTU && len >= sizeof(link->mtu))
		memcpy(&link->mtu, data, sizeof(link->mtu));
	if (type == IFLA_ADDRESS && len == sizeof(link->address))
		memcpy(link->address, data, len);
	if (type == IFLA_STATS64) {
		memcpy(&stats, data, len < sizeof(stats) ? len : sizeof(stats));
		link->missed = stats.tx_dropped;
	}
}

static void take_attributes(struct vdb__tap_link *link, const uint8_t *at, size_t len)
{
	struct rtattr head;

	while (len >= sizeof(head)) {
		memcpy(&head, at, sizeof(head));
		if (head.rta_len < sizeof(head) || head.rta_len > len)
			return;
		take_attribute(link, head.rta_type, at + sizeof(head), head.rta_len - sizeof(head));
		if (RTA_ALIGN((size_t)head.rta_len) >= len)
			return;
		at += RTA_ALIGN((size_t)head.rta_len);
		len -= RTA_ALIGN((size_t)head.rta_len);
	}
}

/* One message; its length is that of the packet, as the kernel sends them here. */
static void take_message(struct vdb__tap_watch *watch, const uint8_t *at, size_t len)
{
	struct nlmsghdr head;
	struct ifinfomsg info;

	if (len < sizeof(head) + sizeof(info))
		return;
	memcpy(&head, at, sizeof(head));
	memcpy(&info, at + sizeof(head), sizeof(info));
	if (info.ifi_index != (int)watch->index)
		return;
	if (head.nlmsg_type == RTM_DELLINK)
		watch->link.known = false;
	if (head.nlmsg_type != RTM_NEWLINK)
		return;
	watch->link.known = true;
	watch->link.up = info.ifi_flags & IFF_UP;
	watch->link.carrier = info.ifi_flags & IFF_RUNNING;
	take_attributes(&watch->link, at + sizeof(head) + sizeof(info), len - sizeof(head) - sizeof(info));
}

/* All that is there. Messages that were lost do not matter: the state comes last, by an answer. */
static void take_messages(struct vdb__tap_watch *watch)
{
	ssize_t len;

	do {
		len = recv(watch->fd->fd, watch->message, sizeof(watch->message), MSG_DONTWAIT);
		if (len > 0)
			take_message(watch, watch->message, (size_t)len);
	} while (len > 0 || (len < 0 && (errno == EINTR || errno == ENOBUFS)));
}

/* The kernel answers before it returns. */
static void ask(const struct vdb__tap_watch *watch)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg info;
	} request = {
	        .head = {.nlmsg_len = sizeof(request),
	                 .nlmsg_type = RTM_GETLINK,
	                 .nlmsg_flags = NLM_F_REQUEST},
	        .info = {.ifi_family = AF_UNSPEC, .ifi_index = (int)watch->index},
	};

	(void)send(watch->fd->fd, &request, sizeof(request), MSG_DONTWAIT);
}

struct vdb__tap_link vdb__tap_watch_ask(struct vdb__tap_watch *watch)
{
	struct vdb__tap_link link;

	pthread_mutex_lock(&watch->lock);
	take_messages(watch); /* room for the answer */
	ask(watch);
	take_messages(watch);
	link = watch->link;
	pthread_mutex_unlock(&watch->lock);
	return link;
}

/* ---- The socket ---- */

/* Other interfaces wake nobody: the kernel drops what is not of this one. */
static int of_this_one(int fd, uint32_t index)
{
	struct sock_filter code[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_INDEX),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(index), 0,
	                 1), /* loaded as of the network's order */
	        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	        BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static int open_socket(uint32_t index, struct vdb__netfd **out)
{
	const struct sockaddr_nl all = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE), err;

	if (fd < 0)
		return -errno;
	err = of_this_one(fd, index) || bind(fd, (const struct sockaddr *)&all, sizeof(all)) ? -errno : 0;
	if (!err)
		err = vdb__netfd_open(fd, out);
	close(fd);
	return err;
}

int vdb__tap_watch_open(uint32_t index, struct vdb__tap_watch **out)
{
	struct vdb__tap_watch *watch = calloc(1, sizeof(*watch));
	int err;

	if (!watch)
		return -ENOMEM;
	watch->index = index;
	err = open_socket(index, &watch->fd);
	if (err) {
		free(watch);
		return err;
	}
	pthread_mutex_init(&watch->lock, NULL); /* default attributes: cannot fail */
	*out = watch;
	return 0;
}

void vdb__tap_watch_close(struct vdb__tap_watch *watch)
{
	if (!watch)
		return;
	vdb__netfd_unref(watch->fd);
	pthread_mutex_destroy(&watch->lock);
	free(watch);
}

struct vdb__netfd *vdb__tap_watch_fd(const struct vdb__tap_watch *watch)
{
	return watch->fd;
}

uint32_t vdb__tap_watch_index(const struct vdb__tap_watch *watch)
{
	return watch->index;
}
